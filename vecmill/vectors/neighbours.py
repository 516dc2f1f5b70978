"""Exact nearest rows by cosine, in bounded memory.

Every row is compared with every query, block by block; nothing is approximated and no normalised copy of the matrix is
made, so vectors larger than memory (memory-mapped) work.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Floats in one block of rows or of scores (16 MiB as float32): small beside a large model, and few products, since the
# threads of each product wait for one another.
BLOCK_FLOATS = 1 << 22

# A float32 product of two directions is off by at most about dim roundings of 2⁻²⁴, enough to swap near ties. Every row
# within twice that of the n-th best stays a candidate, and the candidates' cosines are computed again in float64.
COSINE_SLACK_PER_DIMENSION = 2.0**-22

# Between these norms a float32 product can neither overflow nor lose digits to underflow.
_SAFE_NORMS = (1e-15, 1e15)


def row_blocks(n_rows: int, floats_per_row: int) -> list[slice]:
    """Slices that cover ``range(n_rows)``, each of about :data:`BLOCK_FLOATS` floats and of one row at least."""
    step = max(1, BLOCK_FLOATS // max(1, floats_per_row))
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def row_norms(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Euclidean norm of every row, summed in float64."""
    norms = np.empty(len(vectors), dtype=np.float64)
    for rows in row_blocks(len(vectors), vectors.shape[1]):
        block = vectors[rows].astype(np.float64)
        norms[rows] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return norms


def nearest_rows(
    vectors: npt.NDArray[np.float32],
    norms: npt.NDArray[np.float64],
    queries: npt.NDArray[np.float32],
    n: int,
    excluded: Sequence[Sequence[int]] | None = None,
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """The ``n`` rows of highest cosine to each query.

    cos(q, v) = q·v / (|q| |v|)

    Parameters
    ----------
    vectors : float32[n_rows, dim], finite
    norms : float64[n_rows], the rows' norms; a row of norm 0 has no direction and is nobody's neighbour
    queries : float32[n_queries, dim], finite
    n : how many rows are wanted, at least 1
    excluded : row ids to leave out, per query

    Returns
    -------
    One pair (row ids, cosines) per query, by falling cosine, ties by row id; up to ``n`` long. A query of norm 0 gets
    an empty pair.
    """
    if len(queries) == 0:
        return []
    left_out = [np.asarray(each, dtype=np.int64) for each in (excluded or [()] * len(queries))]
    query_norms = row_norms(queries)
    # A query of norm 0 stays 0 and is answered with nothing at the end.
    directions = (queries / np.where(query_norms > 0, query_norms, 1.0)[:, None]).astype(np.float32)

    slack = COSINE_SLACK_PER_DIMENSION * (vectors.shape[1] + 8)
    best_ids: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(queries)
    best_scores: list[npt.NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(queries)
    for rows in row_blocks(len(vectors), max(vectors.shape[1], len(queries))):
        products = _approximate_cosines(directions, vectors[rows], norms[rows])
        products[:, norms[rows] == 0] = -np.inf
        for query_id, scores in enumerate(products):
            here = left_out[query_id]
            scores[here[(here >= rows.start) & (here < rows.stop)] - rows.start] = -np.inf
            candidates = _within_slack(scores, n, slack)
            ids = np.concatenate([best_ids[query_id], candidates + rows.start])
            merged = np.concatenate([best_scores[query_id], scores[candidates]])
            kept = _within_slack(merged, n, slack)
            best_ids[query_id], best_scores[query_id] = ids[kept], merged[kept]

    answers = []
    for query_id, ids in enumerate(best_ids):
        if query_norms[query_id] == 0:
            ids = ids[:0]
        query = queries[query_id].astype(np.float64)
        cosines = np.empty(len(ids), dtype=np.float64)
        for part in row_blocks(len(ids), vectors.shape[1]):
            # einsum, not BLAS: its sum does not depend on how many threads share the work
            cosines[part] = np.einsum("ij,j->i", vectors[ids[part]].astype(np.float64), query)
        cosines = np.clip(cosines / (norms[ids] * query_norms[query_id]), -1.0, 1.0)
        order = np.lexsort((ids, -cosines))[:n]
        answers.append((ids[order], cosines[order]))
    return answers


def _within_slack(scores: npt.NDArray[np.float32], n: int, slack: float) -> npt.NDArray[np.int64]:
    """Positions of all finite scores that are at least the n-th best minus ``slack``, in order."""
    threshold = np.partition(scores, len(scores) - n)[len(scores) - n] - slack if len(scores) > n else -np.inf
    return np.flatnonzero((scores >= threshold) & (scores > -np.inf))


def _approximate_cosines(
    directions: npt.NDArray[np.float32], block: npt.NDArray[np.float32], norms: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """float32[n_queries, n_rows]; whatever comes out for rows of norm 0 is the caller's to leave out."""
    products: npt.NDArray[np.float32]
    with np.errstate(divide="ignore", invalid="ignore"):
        if _SAFE_NORMS[0] < norms.min() and norms.max() < _SAFE_NORMS[1]:
            products = np.matmul(directions, block.T)
            products /= norms.astype(np.float32)
        else:
            # Dividing first is slower, but rows of huge or tiny norm then neither overflow nor vanish in the product.
            products = np.matmul(directions, (block / norms[:, None]).astype(np.float32).T)
    return products
