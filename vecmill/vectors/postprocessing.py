"""What is done to finished vectors: separate pure functions, each from word vectors to new word vectors.

=========================  ===========================================================================================
``l2_normalise``           v / |v|
``center``                 v - m, m the mean of all rows
``all_but_the_top``        v - m, without its parts along the first principal components
``whiten``                 (v - m) W, so that the covariance becomes the identity
``power_normalise``        sign(x) |x|^p, number by number
``average_with_context``   (v + c) / 2, c the word's context vector
=========================  ===========================================================================================

Words, counts and the order of rows stay. Sums run in float64, block by block, so that the memory is that of the result.

The space: dividing rows by their norms leaves every cosine as it is, and the vectors stay in their space. All others
move directions by different amounts, which makes another space: the result's ``space_id`` is derived from its content.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from vecmill.errors import ConfigError, FormatError
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.word_vectors import WordVectors

Floats = npt.NDArray[np.float64]
Whitening = Literal["zca", "pca"]


def l2_normalise(vectors: WordVectors) -> WordVectors:
    """Divide every row by its Euclidean norm; rows of zeros stay.

    Frequent words have long vectors, so inner products and Euclidean distances mix frequency with meaning; afterwards
    both order words as cosines do (Levy, Goldberg and Dagan 2015, section 3.4, "row"). The space stays the same.
    """
    scales = np.where(vectors.norms > 0, vectors.norms, 1.0)
    rows = np.empty_like(vectors.vectors)
    for block in row_blocks(*rows.shape):
        rows[block] = vectors.vectors[block].astype(np.float64) / scales[block, None]
    return WordVectors(vectors.words, rows, vectors.counts, vectors.space_id)


def center(vectors: WordVectors) -> WordVectors:
    """Subtract the mean of all rows, which points the same way in most models and says nothing of a word.

    Source: Mu and Viswanath 2018, section 2.1; it is the first half of :func:`all_but_the_top`.
    """
    return _mapped(vectors, _mean(vectors), None)


def all_but_the_top(vectors: WordVectors, n_components: int | None = None) -> WordVectors:
    """Subtract the mean, then the projections on the first principal components.

    v' = v - m - sum over i <= D of ((v - m) · u_i) u_i,    u_i the i-th eigenvector of the covariance

    Parameters
    ----------
    n_components : D, from 0 (the mean alone) to less than the dimension; None: a hundredth of the dimension, rounded,
        at least 1, as the paper advises

    Raises
    ------
    ConfigError : D is negative, or would leave nothing

    Source: Mu and Viswanath 2018, algorithm 1. What is subtracted here are the projections of v - m, so that the mean
    stays 0; projections of v itself would move all rows by one vector.
    """
    if n_components is None:
        n_components = min(max(1, round(vectors.dim / 100)), vectors.dim - 1)
    if not 0 <= n_components < vectors.dim:
        raise ConfigError(
            f"all_but_the_top is to remove {n_components} components of vectors with {vectors.dim} dimensions",
            expected=f"0 to {vectors.dim - 1}",
            todo="leave the number out for a hundredth of the dimension",
        )
    mean = _mean(vectors)
    _, components = principal_components(vectors, mean)
    top = components[:, :n_components]
    return _mapped(vectors, mean, np.eye(vectors.dim) - top @ top.T)


def whiten(vectors: WordVectors, method: Whitening = "zca", epsilon: float = 1e-3) -> WordVectors:
    """Subtract the mean and rotate and stretch the space, so that all directions have variance 1 and none goes along.

    zca: (v - m) U (L + e I)^(-1/2) U^T        pca: (v - m) U (L + e I)^(-1/2)

    with U the eigenvectors of the covariance and L its eigenvalues, largest first. The two differ by a rotation, so
    their cosines are equal. ZCA stays closest to the vectors given (Kessy, Lewin and Strimmer 2018); after PCA the
    columns are the components by falling variance, signed so that the largest weight of each is positive.

    Parameters
    ----------
    method : zca or pca
    epsilon : e as a share of the mean eigenvalue. It keeps directions in which nearly nothing varies from being blown
        up to noise of the same size as the rest; 0 for none

    Raises
    ------
    ConfigError : another method, epsilon negative or no number, or 0 where a direction has no variance at all
    """
    if method not in ("zca", "pca"):
        raise ConfigError(f"whitening by the method {method!r}", expected="zca or pca")
    if not (0 <= epsilon < np.inf):
        raise ConfigError(f"whitening with epsilon {epsilon}", expected="a number of 0 or more, such as 0.001")
    mean = _mean(vectors)
    variances, components = principal_components(vectors, mean)
    smallest = variances[0] * np.finfo(np.float64).eps * vectors.dim
    if variances[0] == 0 or (epsilon == 0 and variances[-1] <= smallest):
        n_flat = int((variances <= smallest).sum())
        raise ConfigError(
            f"{n_flat} of {vectors.dim} directions of these {len(vectors)} vectors have no variance",
            expected="vectors that vary in every direction",
            todo="whiten more words than there are dimensions, or set epsilon, for example to 0.001",
        )
    scales = 1.0 / np.sqrt(variances + epsilon * variances.mean())
    transform = components * scales
    return _mapped(vectors, mean, transform if method == "pca" else transform @ components.T)


def power_normalise(vectors: WordVectors, exponent: float = 0.5) -> WordVectors:
    """Raise the absolute value of every number to ``exponent``, keeping its sign.

    Exponents below 1 bring large numbers nearer to small ones, so that a few dimensions decide less. Usually followed
    by :func:`l2_normalise`.

    Raises
    ------
    ConfigError : the exponent is not above 0 and at most 1

    Source: Perronnin, Sánchez and Mensink 2010, section 3.2, who take 0.5.
    """
    if not 0 < exponent <= 1:
        raise ConfigError(f"power_normalise with the exponent {exponent}", expected="above 0, at most 1, such as 0.5")
    rows = np.empty_like(vectors.vectors)
    for block in row_blocks(*rows.shape):
        values = vectors.vectors[block].astype(np.float64)
        rows[block] = np.copysign(np.abs(values) ** exponent, values)
    return WordVectors(vectors.words, rows, vectors.counts)


def average_with_context(vectors: WordVectors, context_vectors: npt.NDArray[np.floating]) -> WordVectors:
    """The mean of each word's vector and its context vector, (v + c) / 2.

    Cosines then also hold v·c, how well each word predicts the other (Levy, Goldberg and Dagan 2015, section 3.3,
    "w+c"). Pennington, Socher and Manning 2014 take the sum, which has the same cosines; vectors of our GloVe trainer
    are such sums already, unless it was told otherwise.

    Parameters
    ----------
    context_vectors : float[n_words, dim], row by row those of ``vectors``; ``context_vectors.npy`` of a train artifact

    Raises
    ------
    FormatError : another shape, or numbers that are not finite
    """
    if context_vectors.shape != vectors.vectors.shape:
        raise FormatError(
            f"the context vectors have the shape {context_vectors.shape}",
            expected=f"{vectors.vectors.shape}, a row a word",
            todo="take context_vectors.npy of the train artifact that the vectors are from",
        )
    rows = np.empty_like(vectors.vectors)
    for block in row_blocks(*rows.shape):
        rows[block] = (vectors.vectors[block].astype(np.float64) + context_vectors[block]) / 2
    return WordVectors(vectors.words, rows, vectors.counts)


def principal_components(vectors: WordVectors, mean: Floats | None = None) -> tuple[Floats, Floats]:
    """Variances along the principal components, and the components.

    Parameters
    ----------
    mean : float64[dim], of all rows; None: worked out here

    Returns
    -------
    float64[dim], by falling variance, divided by the number of rows, none negative; float64[dim, dim], a component a
    column, of length 1, signed so that its largest number is positive
    """
    mean = _mean(vectors) if mean is None else mean
    covariance = np.zeros((vectors.dim, vectors.dim))
    for block in row_blocks(*vectors.vectors.shape):
        centered = vectors.vectors[block].astype(np.float64) - mean
        covariance += centered.T @ centered
    variances, components = np.linalg.eigh(covariance / len(vectors))
    variances, components = np.maximum(variances[::-1], 0.0), components[:, ::-1]
    largest = np.abs(components).argmax(axis=0)
    return variances, components * np.where(components[largest, np.arange(vectors.dim)] < 0, -1.0, 1.0)


def _mean(vectors: WordVectors) -> Floats:
    total = np.zeros(vectors.dim)
    for block in row_blocks(*vectors.vectors.shape):
        total += vectors.vectors[block].sum(axis=0, dtype=np.float64)
    return total / len(vectors)


def _mapped(vectors: WordVectors, mean: Floats, transform: Floats | None) -> WordVectors:
    """(v - mean) transform for every row, in a space of its own."""
    rows = np.empty_like(vectors.vectors)
    for block in row_blocks(*rows.shape):
        centered = vectors.vectors[block].astype(np.float64) - mean
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such by WordVectors
            rows[block] = centered if transform is None else centered @ transform
    return WordVectors(vectors.words, rows, vectors.counts)
