"""Held-out validation: can the vectors tell words that stood near each other from words that did not?

A *true* pair is a word and one of its neighbours in text that the model was not trained on
(:mod:`vecmill.evaluation.context_pairs`). Its *sampled* partner keeps the word and draws the neighbour in proportion to
count ** 0.75, as negative sampling does (Mikolov et al. 2013b, section 2.2). Both get a score: the cosine of the two
vectors, which is how vectors are used, or the product with the context vector, which is what the trainer maximised.

The threshold from which a pair counts as true is chosen on one half of the sentences (most right answers) and judged
on the other. The area under the ROC curve (AUC) needs none: it is the probability that a true pair scores higher than a
sampled one, ties counting half (Hanley and McNeil 1982). Frequency alone tells some of the pairs apart, because true
neighbours are commoner than sampled ones; ``auc_by_frequency`` says how many.

Pairs with an unknown word have no score. ``auc_all_pairs`` counts them as undecided, so that losing vocabulary costs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError, VocabularyError
from vecmill.evaluation.config import ValidationConfig
from vecmill.evaluation.context_pairs import ContextPairs, Ids
from vecmill.evaluation.quality_score import quality_score
from vecmill.evaluation.statistics import Floats, mean_ranks
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.word_vectors import WordVectors

_LEAST_PAIRS = 10
_MOST_REDRAWS = 100


@dataclass(frozen=True)
class ValidationScore:
    """What a model made of held-out text.

    Attributes
    ----------
    accuracy, precision, recall, f1 : of "true" at ``threshold``, on the scored half, which holds as many sampled pairs
        as true ones; precision is None where nothing reaches the threshold
    auc : area under the ROC curve on the scored half, 0.5 for random vectors
    auc_all_pairs : the same with pairs of unknown words as undecided: coverage * auc + (1 - coverage) / 2
    auc_by_frequency : AUC of the neighbour's count in the text as the score, with no vectors at all
    mean_true, mean_sampled : mean score of either kind on the scored half
    quality : max(0, 2 auc_all_pairs - 1), 0 to 1, see :mod:`vecmill.evaluation.quality_score`
    threshold : chosen on the other half
    pair_coverage : share of the drawn pairs of which both words have a vector; token_coverage : of the text's words
    n_pairs, n_tuned, n_scored : true pairs drawn, and those of them behind the threshold and the scores
    n_pairs_in_text, n_documents, n_tokens : what was drawn from
    score, window : as configured
    """

    accuracy: float
    precision: float | None
    recall: float
    f1: float
    auc: float
    auc_all_pairs: float
    auc_by_frequency: float
    mean_true: float
    mean_sampled: float
    quality: float
    threshold: float
    pair_coverage: float
    token_coverage: float
    n_pairs: int
    n_tuned: int
    n_scored: int
    n_pairs_in_text: int
    n_documents: int
    n_tokens: int
    score: str
    window: int

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, numbers with six digits, which hide in what order a processor added them up."""
        return {
            name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in asdict(self).items()
        }


def validate_pairs(
    vectors: WordVectors,
    pairs: ContextPairs,
    config: ValidationConfig,
    *,
    context_vectors: npt.NDArray[np.floating[Any]] | None = None,
    seed: int = 0,
) -> ValidationScore:
    """Score a model on pairs of held-out text; the method stands in the module's docstring.

    Parameters
    ----------
    pairs : drawn with the model's words
    context_vectors : float[n_words, dim], needed where ``config.score`` is dot
    seed : integer >= 0, of the sampled words and the halves

    Raises
    ------
    FormatError : ``score`` is dot and there are no context vectors of the vectors' shape
    VocabularyError : too few pairs of known words to choose a threshold and score
    """
    if config.score == "dot" and (context_vectors is None or context_vectors.shape != vectors.vectors.shape):
        found = "there are none" if context_vectors is None else f"they have the shape {context_vectors.shape}"
        raise FormatError(
            f"the score dot multiplies with context vectors, and {found}",
            expected=f"context vectors of the shape {vectors.vectors.shape}, as a train artifact keeps them",
            todo="name the train artifact's folder as the model, or take the score cosine",
        )
    covered = pairs.covered
    centers, contexts, sentences = pairs.centers[covered], pairs.contexts[covered], pairs.sentences[covered]
    if len(centers) < _LEAST_PAIRS or (pairs.counts > 0).sum() < 3:
        raise VocabularyError(
            f"the text of {pairs.n_documents:,} documents and {pairs.n_tokens:,} words has {len(centers):,} pairs of "
            f"neighbouring words that the model knows (it knows {pairs.n_known:,} of the words)",
            expected=f"at least {_LEAST_PAIRS} pairs, of three different words or more",
            todo="give more text, text in the model's language, or the token rules that the model was made with",
        )
    rng = np.random.default_rng([seed, 2])
    sampled = _sampled_contexts(centers, contexts, pairs.counts, config.negative_exponent, rng)
    true_scores = _scores(vectors, context_vectors, config.score, centers, contexts)
    sampled_scores = _scores(vectors, context_vectors, config.score, centers, sampled)
    tuned = _half(sentences, rng)
    threshold = best_threshold(true_scores[tuned], sampled_scores[tuned])
    right, wrong = true_scores[~tuned], sampled_scores[~tuned]
    n_right, n_wrong = int((right >= threshold).sum()), int((wrong >= threshold).sum())
    coverage = float(covered.mean())
    auc = area_under_curve(right, wrong)
    all_pairs = coverage * auc + (1.0 - coverage) / 2.0
    counts = pairs.counts.astype(np.float64)
    return ValidationScore(
        accuracy=(n_right + len(wrong) - n_wrong) / (len(right) + len(wrong)),
        precision=n_right / (n_right + n_wrong) if n_right + n_wrong else None,
        recall=n_right / len(right),
        f1=2 * n_right / (len(right) + n_right + n_wrong),
        auc=auc,
        auc_all_pairs=all_pairs,
        auc_by_frequency=area_under_curve(counts[contexts[~tuned]], counts[sampled[~tuned]]),
        mean_true=float(right.mean()),
        mean_sampled=float(wrong.mean()),
        quality=quality_score(auc_all_pairs=all_pairs).quality or 0.0,
        threshold=threshold,
        pair_coverage=coverage,
        token_coverage=pairs.n_known / pairs.n_tokens,
        n_pairs=len(covered),
        n_tuned=int(tuned.sum()),
        n_scored=len(right),
        n_pairs_in_text=pairs.n_pairs_in_text,
        n_documents=pairs.n_documents,
        n_tokens=pairs.n_tokens,
        score=config.score,
        window=config.window,
    )


def best_threshold(right: Floats, wrong: Floats) -> float:
    """The score from which pairs count as true so that most answers are right; of several, the lowest.

    Parameters
    ----------
    right, wrong : float64[n], float64[m], scores of true and of other pairs, not both empty

    Returns
    -------
    One of the scores; or a number above all of them, where calling everything false is best.
    """
    scores = np.concatenate([right, wrong])
    gains = np.concatenate([np.ones(len(right)), -np.ones(len(wrong))])
    order = np.argsort(-scores, kind="stable")
    scores, gained = scores[order], np.cumsum(gains[order])
    # Equal scores are on the same side of any threshold, so only the last of each run counts.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    best = ends[len(ends) - 1 - int(np.argmax(gained[ends][::-1]))]
    return float(scores[best]) if gained[best] >= 0 else float(np.nextafter(scores[0], np.inf))


def area_under_curve(right: Floats, wrong: Floats) -> float:
    """Probability that one of ``right`` is above one of ``wrong``, ties counting half; both non-empty.

    AUC = (sum of the ranks of ``right`` among all - n (n + 1) / 2) / (n m)      (Mann and Whitney 1947)
    """
    n, m = len(right), len(wrong)
    ranks = mean_ranks(np.concatenate([right, wrong]))
    return float((ranks[:n].sum() - n * (n + 1) / 2.0) / (float(n) * m))


def _sampled_contexts(centers: Ids, contexts: Ids, counts: Ids, exponent: float, rng: np.random.Generator) -> Ids:
    """A drawn word for each pair, neither its centre nor its true neighbour; of the words that the text has."""
    present = np.flatnonzero(counts)
    ends = np.cumsum(counts[present].astype(np.float64) ** exponent)
    drawn = np.full(len(centers), -1, np.int64)
    left = np.arange(len(centers))
    for _ in range(_MOST_REDRAWS):
        places = np.searchsorted(ends, rng.random(len(left)) * ends[-1], side="right")
        drawn[left] = present[np.minimum(places, len(present) - 1)]
        left = left[(drawn[left] == centers[left]) | (drawn[left] == contexts[left])]
        if not len(left):
            return drawn
    for at in left.tolist():  # two words make up nearly all of the text: any third
        drawn[at] = next(word for word in present.tolist() if word not in (centers[at], contexts[at]))
    return drawn


def _scores(
    vectors: WordVectors, context_vectors: npt.NDArray[np.floating[Any]] | None, kind: str, centers: Ids, contexts: Ids
) -> Floats:
    if kind == "cosine" or context_vectors is None:
        return vectors.similarities(centers, contexts)
    found = np.empty(len(centers))
    for rows in row_blocks(len(centers), vectors.dim):
        left = vectors.vectors[centers[rows]].astype(np.float64)
        found[rows] = np.einsum("ij,ij->i", left, context_vectors[contexts[rows]].astype(np.float64))
    return found


def _half(sentences: Ids, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """bool[n]: pairs of half of the sentences; of half of the pairs where those of one sentence are most of them."""
    _, numbers = np.unique(sentences, return_inverse=True)
    chosen: npt.NDArray[np.bool_] = (rng.random(int(numbers.max()) + 1) < 0.5)[numbers]
    if not 0.25 <= chosen.mean() <= 0.75:
        chosen = np.arange(len(sentences)) % 2 == 0  # pairs are in random order
    return chosen
