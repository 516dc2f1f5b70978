"""What all trainers of blocks share: windows as masks, negatives of a group, and how a block's changes are added up.

A block is some groups of ``group`` neighbouring words. Around each group lie the words that its windows reach. All
scores of a group, of its words against those around it and against the negatives that it shares, are one product of
matrices; so are all changes of its rows. Everything in a block starts from the same vectors.

**Negatives.** A group draws M negatives, of which each counts K / M for each pair, K = ``negative_samples``. The
expected loss is that of K negatives for each centre word. As in the compiled kernels, a negative that is the word to
be told does not count.

**Rows that a block touches often.** The sum of n steps from one place overshoots where n steps one after another would
slow down as they come near the point where the row's loss is smallest. Near it the loss is a parabola, of curvature H
for all pairs of the row in the block together, and n small steps go the share 1 - exp(-b) of the way, b = learning rate
times H, where their sum from one place goes b of it. So the sum of a row's changes is multiplied by (1 - exp(-b)) / b:
nothing changes for a row that is hardly touched, and none overshoots however large the block. ``vecmill.distributed.
combine`` does the same with the changes of workers. H is taken for a share of the sum of

    weight * sigmoid(s) * sigmoid(-s) * (|x|² + 1)

over the vectors x that the row met with scores s: the trace of the second derivative, which no direction's curvature
exceeds, and something for the growth of x in the block itself, which is what matters while vectors are still short.

**What is held back comes later.** The share r of a row's changes that is kept is right for the direction in which the
row is pulled to the same point by all; in others 1 - r of them would be lost. So the rows of the most frequent words
add 1 - r of their last change to the new one, and in the long run every change comes to 1 times itself (as in
``vecmill.distributed.exchange``, after Chen and Huo 2016). What a stretch has not added at its end is forgotten.
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


def held_back(bends: torch.Tensor, step: float) -> torch.Tensor:
    """(1 - exp(-b)) / b, 1 where b = step * bends is 0; of the type of ``bends``.

    Parameters
    ----------
    bends : sums of the module's docstring, floating, >= 0
    step : learning rate times the share of them that counts, >= 0
    """
    x = bends * step
    return (-(-x).expm1() / x.clamp(min=1e-30)).where(x > 1e-6, 1 - x / 2)


class Rows:
    """A matrix whose rows a block changes.

    Parameters
    ----------
    matrix : floating[n_rows, row length], changed in place
    n_carried : the first so many rows add what was held back to their next change
    """

    def __init__(self, matrix: torch.Tensor, n_carried: int = 0) -> None:
        self.matrix = matrix
        self._first = matrix[:n_carried]
        self._last_changes = self._first.new_zeros(self._first.shape)
        self._bends = matrix.new_zeros(matrix.shape[0])

    def forget_changes(self) -> None:
        """Begin anew: nothing is to be added later."""
        self._last_changes.zero_()

    def add(
        self, ids: torch.Tensor, changes: torch.Tensor, bends: torch.Tensor, learning_rate: float, curvature: float
    ) -> None:
        """Add changes to rows, times the learning rate, held back as the module says.

        Parameters
        ----------
        ids : int64[...], rows, which may repeat;  changes : [..., row length];  bends : [...], sums of each
        curvature : the share of a sum that is taken for the curvature; 0 holds nothing back
        """
        ids = ids.reshape(-1)
        changes = changes.reshape(ids.shape[0], -1).to(self.matrix.dtype)
        if curvature == 0:
            self.matrix.index_add_(0, ids, changes, alpha=learning_rate)
            return
        step = learning_rate * curvature
        self._bends.zero_()
        self._bends.index_add_(0, ids, bends.reshape(-1).to(self._bends.dtype))
        changes = changes * held_back(self._bends[ids], step)[:, None]
        before = self._first.clone()
        self.matrix.index_add_(0, ids, changes, alpha=learning_rate)
        lost = 1 - held_back(self._bends[: before.shape[0]], step)
        self._first.addcmul_(lost[:, None], self._last_changes)
        self._last_changes = self._first - before
