"""What the GloVe trainer can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vecmill.config.base import NOT_IN_KEY, Config


class GloveConfig(Config):
    """GloVe (Pennington et al. 2014): vectors from counts of words that stand near each other."""

    # Without a default on purpose: a section that names no kind is skip-gram, and fits one branch of the schema only.
    kind: Literal["glove"] = Field(description="products of vectors learn the logarithms of co-occurrence counts")
    dim: int = Field(100, ge=1, le=10_000, description="numbers in a word vector (Pennington et al. 2014: 50 to 300)")
    window: int = Field(
        10,
        ge=1,
        le=1_000,
        description="words to each side that count as near, each for 1 over its distance; ends with the sentence "
        "(Pennington et al. 2014, sec. 4.2: 10)",
    )
    symmetric: bool = Field(
        True,
        description="count words on both sides of a word; false: on its left only (Pennington et al. 2014, sec. 4.4: "
        "both, for tasks of meaning)",
    )
    x_max: float = Field(
        100.0,
        gt=0,
        allow_inf_nan=False,
        description="co-occurrence count from which on all pairs weigh the same (Pennington et al. 2014, sec. 3)",
    )
    alpha: float = Field(
        0.75,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="a pair below x_max weighs (count / x_max) ** this (Pennington et al. 2014, sec. 3: 3/4)",
    )
    learning_rate: float = Field(
        0.05,
        gt=0,
        allow_inf_nan=False,
        description="AdaGrad's step at the start; falls for each number as its gradients add up "
        "(Pennington et al. 2014, sec. 4.2: 0.05)",
    )
    bias_learning_rate: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="AdaGrad's step at the start for the biases (the authors' program today: 1; the paper: as "
        "learning_rate, with which vectors take on what biases are too slow to learn, and rank words worse)",
    )
    epochs: int = Field(
        25,
        ge=1,
        le=10_000,
        description="passes over the counted pairs (the authors' program: 25; the paper: 50 below 300 dimensions, "
        "then 100)",
    )
    patience: int = Field(
        0,
        ge=0,
        le=10_000,
        description="training ends early when the training loss has not improved for this many epochs on end; 0: never "
        "(our choice)",
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="an epoch improves the training loss where its mean over pairs is lower than the best before by "
        "more than this; as that loss keeps falling a little, patience needs it, for example 1e-4 (our choice)",
    )
    combine: Literal["sum", "center"] = Field(
        "sum",
        description="the word vectors are sum: center plus context vectors (Pennington et al. 2014, sec. 4.2); "
        "center: the center vectors alone",
    )
    mode: Literal["hogwild", "deterministic"] = Field(
        "hogwild",
        description="hogwild: `threads` threads share one model without locks (Recht et al. 2011), so two runs differ "
        "a little; deterministic: one thread trains, the same bytes from the same seed on the same kind of processor "
        "(counting is exact, and the same with any number of threads)",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1_024,
        description="threads that count, and that train in hogwild mode; 0 for one on each processor core this "
        "process may use",
        json_schema_extra=NOT_IN_KEY,
    )
    memory_bytes: int = Field(
        1 << 27,
        ge=1 << 20,
        description="memory that counting and shuffling pairs may take, in bytes (128 MiB); what does not fit goes to "
        "temporary files in the artifact's folder. About 100 bytes a word of the vocabulary are taken in any case",
        json_schema_extra=NOT_IN_KEY,
    )
    checkpoint_minutes: float = Field(
        5.0,
        ge=0,
        allow_inf_nan=False,
        description="minutes between two checkpoints, from which a killed training goes on; 0: none by time (our "
        "choice: a fault costs minutes, a checkpoint seconds). Counted pairs are kept in any case",
        json_schema_extra=NOT_IN_KEY,
    )
    checkpoint_epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        description="epochs between two checkpoints, in addition to those by time; 0: none by epochs (our choice)",
        json_schema_extra=NOT_IN_KEY,
    )
