"""What all trainers of blocks share: windows as masks, negatives of a group, and how a block's changes are added up.

A block is some groups of ``group`` neighbouring words. Around each group lie the words that its windows reach. All
scores of a group, of its words against those around it and against the negatives that it shares, are one product of
matrices; so are all changes of its rows. Everything in a block starts from the same vectors.

**Negatives.** A group draws M negatives, of which each counts K / M for each pair, K = ``negative_samples``. The
expected loss is that of K negatives for each centre word. As in the compiled kernels, a negative that is the word to
be told does not count.

**Rows that a block touches often.** One after another, n steps towards the point where a row's loss is smallest go the
share 1 - exp(-a n) of the way, a = learning rate times curvature; n steps from the same place go a n of it, and beyond
it from a n = 1 on. So the sum of a row's changes is multiplied by g = (1 - exp(-a n)) / (a n): nothing changes for
rows that are touched once, and no row overshoots however large the block. It is what ``vecmill.distributed.combine``
does with the changes of workers. n is what the outputs that a row meets count together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vecmill.gpu.draws import DeviceSampler, draw_negatives, draws_at
from vecmill.gpu.stretch import Stretch

if TYPE_CHECKING:
    import torch


class Block(NamedTuple):
    """Some groups of a stretch.

    Attributes
    ----------
    words : int64[n_groups, group];  around : int64[n_groups, group + 2 * window], with the words themselves
    pairs : bool[n_groups, group, group + 2 * window], whether a word and one around it are a pair
    negatives : int64[n_groups, n_negatives]
    """

    words: torch.Tensor
    around: torch.Tensor
    pairs: torch.Tensor
    negatives: torch.Tensor


def cut_block(
    stretch: Stretch, first: int, last: int, window: int, negatives: torch.Tensor, *, reach_of_word: bool
) -> Block:
    """Groups [first, last) of a stretch.

    Parameters
    ----------
    negatives : int64[n_groups of the stretch, n_negatives]
    reach_of_word : a pair lies in the window of the group's word; else in that of the word around it
    """
    import torch

    around, sentences, reaches = (each[first:last] for each in stretch[:3])
    width = around.shape[1]
    group = width - 2 * window
    middle = slice(window, window + group)
    device = around.device
    places = torch.arange(width, device=device, dtype=reaches.dtype)
    distances = (places - places[middle, None]).abs()
    reach = reaches[:, middle, None] if reach_of_word else reaches[:, None, :]
    own = sentences[:, middle]
    # behind the last word of the stretch come those of its margin, which the next stretch trains
    number = torch.arange(first * group, last * group, device=device).view(-1, group)
    own = own.where(number < stretch.n_words, -1)
    pairs = (distances <= reach) & (distances > 0) & (own[:, :, None] == sentences[:, None, :]) & (own >= 0)[:, :, None]
    return Block(around[:, middle], around, pairs, negatives[first:last])


def negatives_of(n_groups: int, n_negatives: int, first: int, key: np.uint64, sampler: DeviceSampler) -> torch.Tensor:
    """int64[n_groups, n_negatives], those of the stretch that begins at position ``first``.

    Counters begin at first * n_negatives. A stretch has no more groups than positions, so none is used twice.
    """
    import torch

    numbers = torch.arange(n_groups * n_negatives, device=sampler.aliases.device) + first * n_negatives
    return draw_negatives(draws_at(key, numbers), sampler).view(n_groups, n_negatives)


def held_back(touches: torch.Tensor, step: float) -> torch.Tensor:
    """g = (1 - exp(-a n)) / (a n), 1 where a n is 0; of the type of ``touches``.

    Parameters
    ----------
    touches : n, floating, >= 0
    step : a, learning rate times curvature, >= 0
    """
    x = touches * step
    return (-(-x).expm1() / x.clamp(min=1e-30)).where(x > 1e-6, 1 - x / 2)


class Rows:
    """A matrix whose rows a block changes.

    Parameters
    ----------
    matrix : float32[n_rows, row length], changed in place
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix
        self._touches = matrix.new_zeros(matrix.shape[0])

    def add(
        self, ids: torch.Tensor, changes: torch.Tensor, touches: torch.Tensor, learning_rate: float, curvature: float
    ) -> None:
        """Add learning_rate * g * changes to rows; g as the module says.

        Parameters
        ----------
        ids : int64[...], rows, which may repeat;  changes : [..., row length];  touches : [...], what each counts
        """
        ids, touches = ids.reshape(-1), touches.reshape(-1).to(self._touches.dtype)
        factor = learning_rate
        changes = changes.reshape(ids.shape[0], -1).to(self.matrix.dtype)
        if curvature > 0:
            self._touches.zero_()
            self._touches.index_add_(0, ids, touches)
            changes = changes * held_back(self._touches[ids], learning_rate * curvature)[:, None]
        self.matrix.index_add_(0, ids, changes, alpha=factor)
