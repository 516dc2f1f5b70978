"""What the word trainers can be told: one model a kind, told apart by ``kind``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.errors import ConfigError
from vecmill.words.distributed_config import DistributedConfig


class _Schedule(Config):
    """What all schedules have in common."""

    warmup_frac: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of the training over which the learning rate first rises from 0 on a straight line; the "
        "schedule runs over the rest (none in word2vec.c and gensim)",
    )


class LinearSchedule(_Schedule):
    """A straight line from ``learning_rate`` to ``min_learning_rate`` (word2vec.c, gensim)."""

    # The only one of the five with a default: a section that names no kind is linear, and fits one branch only.
    kind: Literal["linear"] = Field("linear", description="a straight line from learning_rate to min_learning_rate")


class ConstantSchedule(_Schedule):
    """``learning_rate`` all the way."""

    kind: Literal["constant"] = Field(description="learning_rate all the way; min_learning_rate plays no part")


class ExponentialSchedule(_Schedule):
    """Falls by the same factor in equal times."""

    kind: Literal["exponential"] = Field(
        description="falls by the same factor in equal times, from learning_rate to min_learning_rate, which must not "
        "be 0"
    )


class StepSchedule(_Schedule):
    """Falls at once after equal shares of the training."""

    kind: Literal["step"] = Field(description="multiplied by factor after each 1/n_steps of the training")
    n_steps: int = Field(
        4, ge=1, le=10_000, description="equal shares that the training is divided into, one rate each (our choice)"
    )
    factor: float = Field(
        0.5,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="ratio of one rate to the one before it; none is below min_learning_rate (our choice)",
    )


class CosineSchedule(_Schedule):
    """Half a period of a cosine (Loshchilov and Hutter 2017, "SGDR", without restarts)."""

    kind: Literal["cosine"] = Field(
        description="half a period of a cosine from learning_rate to min_learning_rate (Loshchilov and Hutter 2017)"
    )


def _kind_or_linear(value: Any) -> Any:
    return value.get("kind", "linear") if isinstance(value, dict) else getattr(value, "kind", None)


Schedule = Annotated[
    Annotated[LinearSchedule, Tag("linear")]
    | Annotated[ConstantSchedule, Tag("constant")]
    | Annotated[ExponentialSchedule, Tag("exponential")]
    | Annotated[StepSchedule, Tag("step")]
    | Annotated[CosineSchedule, Tag("cosine")],
    Discriminator(_kind_or_linear),
]


class NegativeSamplingConfig(Config):
    """What skip-gram and CBOW with negative sampling have in common."""

    dim: int = Field(100, ge=1, le=10_000, description="numbers in a word vector (word2vec.c: 100)")
    window: int = Field(
        5,
        ge=1,
        le=1_000,
        description="words to each side of the centre word, counted after sub-sampling (word2vec.c: 5)",
    )
    dynamic_window: bool = Field(
        True,
        description="draw the window of each centre word evenly from 1 to `window`, so that near words count more "
        "(Mikolov et al. 2013a, sec. 3.2); false: always `window`",
    )
    negative_samples: int = Field(
        5,
        ge=1,
        le=1_000,
        description="negatives drawn for each centre word and shared by its window, in subword_skipgram for each pair "
        "(5-20 for small corpora, Mikolov et al. 2013b, sec. 2.2; word2vec.c: 5)",
    )
    negative_exponent: float = Field(
        0.75,
        ge=-2,
        le=2,
        allow_inf_nan=False,
        description="negatives are drawn in proportion to count ** this (Mikolov et al. 2013b, sec. 2.2)",
    )
    sample: float = Field(
        1e-3,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="sub-sampling threshold, a relative frequency; words above it are dropped at random, "
        "0 drops none (word2vec.c: 1e-3)",
    )
    learning_rate: float = Field(
        0.025, gt=0, allow_inf_nan=False, description="learning rate at the start (word2vec.c: 0.025)"
    )
    min_learning_rate: float = Field(
        1e-4,
        ge=0,
        allow_inf_nan=False,
        description="learning rate at the end of the last epoch; `schedule` says on which way (gensim: 1e-4)",
    )
    schedule: Schedule = Field(
        LinearSchedule(),
        description="how the learning rate falls over the tokens of all epochs (word2vec.c, gensim: a straight line)",
    )
    l2: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="weight decay: a row that is changed also loses learning_rate * this times itself; 0: none "
        "(word2vec.c: none)",
    )
    gradient_clip: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="largest Euclidean norm of the gradient of one row from one window, before the learning rate; a "
        "longer one is scaled down to it; 0: none (word2vec.c: none)",
    )
    epochs: int = Field(5, ge=1, le=10_000, description="passes over the corpus (word2vec.c: 5)")
    mode: Literal["hogwild", "deterministic"] = Field(
        "hogwild",
        description="hogwild: `threads` threads share one model without locks (Recht et al. 2011), so two runs differ "
        "a little; deterministic: one thread, the same bytes from the same seed on the same kind of processor",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1_024,
        description="threads, 0 for one on each processor core this process may use; a corpus too small to share is "
        "trained on fewer",
        json_schema_extra=NOT_IN_KEY,
    )

    @model_validator(mode="after")
    def _fits_together(self) -> NegativeSamplingConfig:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate:g} is above learning_rate {self.learning_rate:g}; "
                "lower the first or raise the second"
            )
        if self.schedule.kind == "exponential" and self.min_learning_rate == 0:
            raise ValueError(
                "the exponential schedule never reaches min_learning_rate 0; raise it, for example to 1e-4"
            )
        if self.learning_rate * self.l2 >= 1:
            raise ValueError(
                f"learning_rate {self.learning_rate:g} times l2 {self.l2:g} is {self.learning_rate * self.l2:g}, which "
                "takes all of a row or more; lower l2, for example to 1e-4"
            )
        return self


class WordTrainerConfig(NegativeSamplingConfig):
    """What skip-gram and CBOW have in common, whole words and subwords."""

    mode: Literal["hogwild", "deterministic"] = Field(
        "hogwild",
        description="hogwild: `threads` threads share one model without locks (Recht et al. 2011), so two runs differ "
        "a little; deterministic: rounds of shards, trained apart and combined in order, the same bytes from the same "
        "seed on the same kind of processor with any number of threads",
    )
    round_shards: int = Field(
        4,
        ge=1,
        le=256,
        description="deterministic mode: shards of a round, hence the most threads that find work; each more makes "
        "the vectors that a shard starts from older (our choice, see vecmill.words.deterministic)",
    )
    shard_tokens: int = Field(
        2_048,
        ge=64,
        le=1 << 24,
        description="deterministic mode: tokens of a shard; fewer follow the other shards more closely and cost more "
        "time between rounds (our choice, see vecmill.words.deterministic)",
    )
    heldout_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="share of the sentences, drawn by seed, that is left out of training and whose loss is measured "
        "after each epoch (none, as in word2vec.c)",
    )
    patience: int = Field(
        0,
        ge=0,
        le=10_000,
        description="training ends early when the held-out loss has not improved for this many epochs on end, with the "
        "vectors of the last one; 0: never (our choice). Needs heldout_share",
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="an epoch improves the held-out loss where it is lower than the best before by more than this, in "
        "nats a pair (our choice)",
    )
    pretrained: str = Field(
        "",
        description="vectors to start from: the folder of a train artifact (continues its context vectors too), a "
        "saved WordVectors folder, or a word2vec file, binary if it ends in .bin; empty: random vectors",
    )
    checkpoint_minutes: float = Field(
        5.0,
        ge=0,
        allow_inf_nan=False,
        description="minutes between two checkpoints, from which a killed training goes on; 0: none by time (our "
        "choice: a fault costs minutes, a checkpoint seconds)",
        json_schema_extra=NOT_IN_KEY,
    )
    checkpoint_epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        description="epochs between two checkpoints, in addition to those by time; 0: none by epochs (our choice)",
        json_schema_extra=NOT_IN_KEY,
    )

    @model_validator(mode="after")
    def _patience_has_a_loss(self) -> WordTrainerConfig:
        if self.patience and not self.heldout_share:
            raise ValueError(
                f"patience {self.patience} has no held-out loss to look at; set heldout_share, for example to 0.01"
            )
        return self


class WholeWordConfig(WordTrainerConfig):
    """What the trainers of whole words have beyond those with subwords."""

    distributed: DistributedConfig = Field(
        DistributedConfig(),
        description="several workers that share the training, by default one process alone (our choice)",
    )


class SkipgramConfig(WholeWordConfig):
    """Skip-gram with negative sampling (Mikolov et al. 2013b)."""

    kind: Literal["skipgram"] = Field("skipgram", description="each word of the window tells the centre word by itself")


class CbowConfig(WholeWordConfig):
    """CBOW with negative sampling (Mikolov et al. 2013a), context gradient after Irsoy et al. 2021."""

    # Without a default on purpose: a section that names no kind is skip-gram, and fits one branch of the schema only.
    kind: Literal["cbow"] = Field(description="the mean of the window tells the centre word")
    learning_rate: float = Field(
        0.1,
        gt=0,
        allow_inf_nan=False,
        description="learning rate at the start (0.1 suits the exact gradient: against 0.05 higher on WordSim-353, "
        "SimLex-999 and MEN, one seed, 23 M words of reviews; with the word2vec gradient take 0.05, as word2vec.c)",
    )
    cbow_gradient: Literal["exact", "word2vec"] = Field(
        "exact",
        description="exact: each context word gets 1/n of the gradient of the mean of n (Irsoy et al. 2021); "
        "word2vec: each gets all of it, as word2vec.c and gensim do",
    )


def pretrained_files(config: WordTrainerConfig) -> list[Path]:
    """The files that ``pretrained`` stands for, in a fixed order; empty where it is not set.

    Raises
    ------
    ConfigError : there is no such file or folder, or the folder holds no vectors
    """
    if not config.pretrained:
        return []
    path = Path(config.pretrained)
    if path.is_file():
        return [path]
    files: list[Path] = []
    if (path / "vectors").is_dir():  # a train artifact
        context = path / "context_vectors.npy"
        files = sorted((path / "vectors").iterdir()) + ([context] if context.is_file() else [])
    elif path.is_dir():
        files = sorted(each for each in path.iterdir() if each.is_file())
    if not files:
        raise ConfigError(
            f"train.pretrained = {config.pretrained!r}: "
            + ("the folder is empty" if path.is_dir() else "no such file"),
            expected="the folder of a train artifact, a saved WordVectors folder, or a word2vec file",
            todo="correct the path, or leave train.pretrained empty to start from random vectors",
        )
    return files
