"""Small corpora for the kernel tests, and one way to call a kernel on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reference.negative_sampling import Example, examples
from vecmill.kernels.negative_sampling import Workspace, make_workspace
from vecmill.kernels.sampling import Sampler, make_sampler
from vecmill.kernels.sigmoid import SigmoidTable, exact_sigmoid

KEEP_KEY, DRAW_KEY = np.uint64(0xFEDCBA9876543210), np.uint64(0x0123456789ABCDEF)


@dataclass
class Case:
    """A corpus, a model and settings; the words of a sentence are never at the position of their own id."""

    sentences: list[list[int]]
    n_words: int
    dim: int = 5
    window: int = 3
    dynamic_window: bool = True
    n_negatives: int = 4
    sample: float = 0.05
    dtype: Any = np.float64
    token_ids: np.ndarray = field(init=False)
    sentence_offsets: np.ndarray = field(init=False)
    sampler: Sampler = field(init=False)
    center_vectors: np.ndarray = field(init=False)
    context_vectors: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.token_ids = np.array([w for sentence in self.sentences for w in sentence], np.int32)
        self.sentence_offsets = np.cumsum([0, *map(len, self.sentences)]).astype(np.int64)
        counts = np.maximum(np.bincount(self.token_ids, minlength=self.n_words), 1)
        self.sampler = make_sampler(counts, sample=self.sample, negative_exponent=0.75)
        rng = np.random.default_rng(11)
        # larger than at the start of a training, so that sigmoids are not all near one half
        self.center_vectors = rng.normal(0, 0.7, (self.n_words, self.dim)).astype(self.dtype)
        self.context_vectors = rng.normal(0, 0.7, (self.n_words, self.dim)).astype(self.dtype)

    def examples(self, n_negatives: int | None = None) -> list[Example]:
        return examples(
            self.token_ids,
            self.sentence_offsets,
            self.sampler,
            window=self.window,
            dynamic_window=self.dynamic_window,
            n_negatives=self.n_negatives if n_negatives is None else n_negatives,
            keep_key=KEEP_KEY,
            draw_key=DRAW_KEY,
        )

    def workspace(self) -> Workspace:
        """Memory of one thread."""
        return make_workspace(
            chunk_tokens=self.token_ids.size,
            window=self.window,
            n_negatives=self.n_negatives,
            row_length=self.dim,
            dtype=self.dtype,
        )

    def run(
        self,
        kernel: Callable[..., tuple[float, int]],
        *extra: Any,
        rates: tuple[float, float],
        first: int = 0,
        last: int | None = None,
        table: SigmoidTable | None = None,
        work: Workspace | None = None,
    ) -> tuple[float, int]:
        """Train this case's model in place on the positions [first, last)."""
        last = self.token_ids.size if last is None else last
        work = work or self.workspace()
        return kernel(
            self.token_ids,
            self.sentence_offsets,
            int(np.searchsorted(self.sentence_offsets, first, side="right")) - 1,
            first,
            last,
            self.center_vectors,
            self.context_vectors,
            self.sampler,
            exact_sigmoid(self.dtype) if table is None else table,
            work,
            self.window,
            self.dynamic_window,
            self.n_negatives,
            *rates,
            KEEP_KEY,
            DRAW_KEY,
            *extra,
        )


def zipf_case(n_sentences: int = 6, n_words: int = 12, **settings: Any) -> Case:
    """Sentences of 0 to 17 Zipf-distributed words, an empty one first, last and in the middle."""
    rng = np.random.default_rng(5)
    weights = 1 / np.arange(1, n_words + 1)
    lengths = [0, *rng.integers(1, 18, n_sentences // 2), 0, 0, *rng.integers(1, 18, n_sentences - n_sentences // 2), 0]
    names = rng.permutation(n_words)
    sentences = [names[rng.choice(n_words, length, p=weights / weights.sum())].tolist() for length in lengths]
    return Case(sentences, n_words, **settings)


def numeric_gradient(case: Case, loss: Callable[[], float], matrix: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of ``loss`` by every number of ``matrix``."""
    gradient = np.empty_like(matrix)
    for place in np.ndindex(matrix.shape):
        kept = matrix[place]
        matrix[place] = kept + step
        above = loss()
        matrix[place] = kept - step
        below = loss()
        matrix[place] = kept
        gradient[place] = (above - below) / (2 * step)
    return gradient
