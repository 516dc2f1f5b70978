"""How far a training has come: everything beside the vectors that a resumed training needs.

Random numbers are functions of seed, epoch and position, the learning rate is one of epoch and position, and early
stopping one of the held-out losses, so this short record stands for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from vecmill.words.config import WordTrainerConfig


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the corpus came to.

    Attributes
    ----------
    loss : mean over pairs of -log sigmoid of the centre word's score and of minus its negatives' scores, float64 sums
    n_pairs : (context word, centre word) pairs for skip-gram, centre words with a context for CBOW
    learning_rate : at the end of the epoch
    heldout_loss : the same mean over pairs of the held-out sentences, after the epoch; None where there are none
    """

    loss: float
    n_pairs: int
    learning_rate: float
    heldout_loss: float | None = None


@dataclass
class Progress:
    """Where a training stands.

    Attributes
    ----------
    results : the epochs that are done
    cuts : int[n + 1], the slices of the corpus that the current epoch is trained in; empty before it begins
    positions : int[n], the position in each slice that comes next
    loss, n_pairs : sums of the current epoch so far
    """

    results: list[EpochResult] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    loss: float = 0.0
    n_pairs: int = 0

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return len(self.results)

    @property
    def in_epoch(self) -> bool:
        """Whether some of the current epoch is left to do."""
        return not self.cuts or any(at < end for at, end in zip(self.positions, self.cuts[1:], strict=True))

    @property
    def n_tokens_done(self) -> int:
        """Tokens done in the current epoch."""
        return sum(at - start for at, start in zip(self.positions, self.cuts, strict=False))

    def finish_epoch(self, result: EpochResult) -> None:
        """Go on to the next epoch."""
        self.results.append(result)
        self.cuts, self.positions, self.loss, self.n_pairs = [], [], 0.0, 0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; floats come back exactly, because Python writes the digits that tell them apart."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """The inverse of :meth:`as_json`."""
        return cls(**{**values, "results": [EpochResult(**each) for each in values["results"]]})


def stops_early(config: WordTrainerConfig, results: list[EpochResult]) -> bool:
    """Whether the held-out loss has failed to improve for ``patience`` epochs on end.

    An epoch improves it where its loss is lower than the best before by more than ``min_delta``; the first one does.
    """
    if config.patience == 0:
        return False
    losses = [float("inf") if each.heldout_loss is None else each.heldout_loss for each in results]
    return epochs_without_improvement(losses, config.min_delta) >= config.patience


def epochs_without_improvement(losses: Iterable[float], min_delta: float) -> int:
    """How many of the last losses in a row are not lower by more than ``min_delta`` than the best before them."""
    best, n_without = float("inf"), 0
    for loss in losses:
        if loss < best - min_delta:
            best, n_without = loss, 0
        else:
            n_without += 1
    return n_without
