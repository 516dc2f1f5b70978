"""One number a model: the mean of what it was measured on, each part 0 for random vectors and 1 for perfect ones.

    similarity = mean over benchmarks of max(0, Spearman's coefficient on all pairs)
    analogies  = mean over files of questions of (right answers / all questions)
    contexts   = max(0, 2 AUC - 1), AUC of true against sampled context pairs of held-out text, all pairs
    quality    = mean of the parts that were measured, 0 to 1

Each part counts what the model does not know against it (a pair without vectors is undecided, a question without
answer is wrong, a benchmark without a score is 0), so lost vocabulary pulls the number towards 0. It is for looking at
a list of models; the gate does not read it, because a mean over unlike things has no interval that could be trusted.
Two numbers compare only where the same parts were measured on the same data, so the parts are kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class QualityScore:
    """The parts (None where not measured), 0 to 1, and their mean (None without parts)."""

    similarity: float | None = None
    analogies: float | None = None
    contexts: float | None = None

    @property
    def quality(self) -> float | None:
        """Mean of the parts that were measured."""
        parts = [each for each in (self.similarity, self.analogies, self.contexts) if each is not None]
        return fmean(parts) if parts else None


def quality_score(
    spearman_all_pairs: Sequence[float | None] = (),
    analogy_accuracy_all: Sequence[float] = (),
    auc_all_pairs: float | None = None,
) -> QualityScore:
    """The score of the module's docstring.

    Parameters
    ----------
    spearman_all_pairs : of each benchmark, -1 to 1; None counts as 0
    analogy_accuracy_all : of each file of questions, 0 to 1
    auc_all_pairs : of held-out text, 0 to 1; None where there is none
    """
    return QualityScore(
        similarity=fmean(max(0.0, each or 0.0) for each in spearman_all_pairs) if spearman_all_pairs else None,
        analogies=fmean(analogy_accuracy_all) if analogy_accuracy_all else None,
        contexts=None if auc_all_pairs is None else max(0.0, 2.0 * auc_all_pairs - 1.0),
    )
