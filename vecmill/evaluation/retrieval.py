"""Ranked lists, nearest-neighbour classes and rated sentence pairs: what sentence models are judged by.

Everything works on plain arrays, so that it serves vectors of words, sentences and documents alike.

For a query with the ranked list d_1, d_2, … and the set R of relevant documents:

    precision@k = |{d_1 … d_k} ∩ R| / k            recall@k = |{d_1 … d_k} ∩ R| / |R|
    MRR         = mean of 1 / rank of the first relevant document, 0 if none is in the list
    MAP         = mean of (sum of precision@r over ranks r of relevant documents in the list) / |R|
    nDCG@k      = DCG@k / best possible DCG@k,   DCG@k = sum over ranks r <= k of grade / log2(r + 1)

Queries without relevant documents have no score and are left out, and counted. Sources: Manning, Raghavan and Schütze
2008, chapter 8; Järvelin and Kekäläinen 2002 with the linear gain of trec_eval and scikit-learn.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.errors import ConfigError, FormatError
from vecmill.evaluation.statistics import Floats, pearson, spearman
from vecmill.vectors.neighbours import nearest_rows, row_norms

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RetrievalScore:
    """Means over the queries that have relevant documents; None where there is no such query.

    Attributes
    ----------
    precision, recall, ndcg : at each cut-off k
    mrr, mean_average_precision : over the whole lists
    n_queries, n_unjudged : queries scored, and those left out
    """

    precision: Mapping[int, float | None]
    recall: Mapping[int, float | None]
    ndcg: Mapping[int, float | None]
    mrr: float | None
    mean_average_precision: float | None
    n_queries: int
    n_unjudged: int


def retrieval_score(
    rankings: Sequence[Sequence[Hashable]],
    grades: Sequence[Mapping[Hashable, float]],
    cutoffs: Sequence[int] = (1, 5, 10),
) -> RetrievalScore:
    """Score ranked lists.

    Parameters
    ----------
    rankings : for each query the documents found, best first, none twice
    grades : for each query the relevant documents and how relevant they are, above 0 (1 where only yes or no is known);
        whatever is not named, or has the grade 0, is irrelevant
    cutoffs : the k, each at least 1; a list shorter than k counts as if irrelevant documents followed

    Raises
    ------
    ConfigError : a cut-off below 1
    FormatError : numbers of lists and of judgements differ, a document stands twice in a list, or a grade is negative
        or no number
    """
    if any(k < 1 for k in cutoffs):
        raise ConfigError(f"the cut-offs {list(cutoffs)}", expected="ranks of 1 or more")
    if len(rankings) != len(grades):
        raise FormatError(
            f"{len(rankings)} ranked lists and judgements of {len(grades)} queries", expected="one of each"
        )
    rows = []
    for number, (ranking, judged) in enumerate(zip(rankings, grades, strict=True)):
        if len(set(ranking)) != len(ranking):
            raise FormatError(f"the ranked list of query {number} holds a document twice", expected="each once")
        if not all(0 <= grade < np.inf for grade in judged.values()):
            raise FormatError(
                f"query {number} has a grade that is negative or no number", expected="grades of 0 or more"
            )
        relevant = {document: grade for document, grade in judged.items() if grade > 0}
        if relevant:
            rows.append(_figures(ranking, relevant, cutoffs))
    n_cutoffs = len(cutoffs)
    means = np.mean(rows, axis=0).tolist() if rows else [None] * (3 * n_cutoffs + 2)
    return RetrievalScore(
        precision=dict(zip(cutoffs, means, strict=False)),
        recall=dict(zip(cutoffs, means[n_cutoffs:], strict=False)),
        ndcg=dict(zip(cutoffs, means[2 * n_cutoffs :], strict=False)),
        mrr=means[-2],
        mean_average_precision=means[-1],
        n_queries=len(rows),
        n_unjudged=len(rankings) - len(rows),
    )


def rank_by_cosine(queries: Floats32, documents: Floats32, n: int) -> list[list[int]]:
    """The ``n`` documents of highest cosine to each query, by exact search: row ids, best first, ties by id.

    Parameters
    ----------
    queries : float32[n_queries, dim], finite;  documents : float32[n_documents, dim], finite
    """
    return [ids.tolist() for ids, _ in nearest_rows(documents, row_norms(documents), queries, n)]


def knn_accuracy(
    train: Floats32, train_labels: Sequence[Hashable], test: Floats32, test_labels: Sequence[Hashable], *, n: int = 5
) -> float:
    """Share of test rows whose label is the commonest among the ``n`` nearest train rows by cosine.

    Of labels that are equally common, the one with the nearer row wins. A row without direction is always wrong.

    Raises
    ------
    FormatError : as many labels as rows are needed on both sides, and at least one row
    """
    if not len(train) or not len(test) or (len(train), len(test)) != (len(train_labels), len(test_labels)):
        raise FormatError(
            f"{len(train)} rows with {len(train_labels)} labels to learn from, {len(test)} with {len(test_labels)} to "
            "predict",
            expected="a label for each row, and a row at least",
        )
    right = 0
    for ids, expected in zip(rank_by_cosine(test, train, n), test_labels, strict=True):
        votes: dict[Hashable, int] = {}
        for row in ids:
            votes[train_labels[row]] = votes.get(train_labels[row], 0) + 1
        right += bool(votes) and max(votes, key=lambda label: votes[label]) == expected
    return right / len(test)


def sts_correlation(left: Floats32, right: Floats32, ratings: Sequence[float]) -> tuple[float | None, float | None]:
    """Spearman and Pearson correlation of the cosines of row pairs with ratings (STS: Cer et al. 2017).

    Parameters
    ----------
    left, right : float32[n, dim]; row k of one is compared with row k of the other. Rows of zeros have the cosine 0
    ratings : n finite numbers

    Returns
    -------
    Both coefficients, None where one is undefined: fewer than two pairs, or nothing but equal ratings or cosines.

    Raises
    ------
    FormatError : the three differ in length, or a rating is not finite
    """
    rated = np.asarray(ratings, dtype=np.float64)
    if left.shape != right.shape or rated.shape != (len(left),) or not np.isfinite(rated).all():
        raise FormatError(
            f"vectors of the shapes {left.shape} and {right.shape} with {rated.size} ratings",
            expected="equal shapes, and a finite rating a row",
        )
    norms = row_norms(left) * row_norms(right)
    dots = np.einsum("ij,ij->i", left.astype(np.float64), right.astype(np.float64))
    cosines: Floats = np.where(norms > 0, dots / np.where(norms > 0, norms, 1.0), 0.0)
    return spearman(cosines, rated), pearson(cosines, rated) if len(rated) else None


def _figures(ranking: Sequence[Hashable], relevant: Mapping[Hashable, float], cutoffs: Sequence[int]) -> list[float]:
    """precision, recall and nDCG at each cut-off, then the reciprocal rank and the average precision."""
    gains = np.array([relevant.get(document, 0.0) for document in ranking], dtype=np.float64)
    ideal = np.sort(np.array(list(relevant.values()), dtype=np.float64))[::-1]
    hits = gains > 0
    ranks = np.flatnonzero(hits) + 1
    found = [int(hits[:k].sum()) for k in cutoffs]
    return [
        *(n / k for n, k in zip(found, cutoffs, strict=True)),
        *(n / len(relevant) for n in found),
        *(_dcg(gains[:k]) / _dcg(ideal[:k]) for k in cutoffs),
        1.0 / float(ranks[0]) if len(ranks) else 0.0,
        float((np.arange(1, len(ranks) + 1) / ranks).sum()) / len(relevant),
    ]


def _dcg(gains: Floats) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())
