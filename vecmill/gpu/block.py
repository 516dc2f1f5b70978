"""What all trainers of blocks share: windows as masks, the negatives of a group, and what its words are told from.

A block is some groups of ``group`` neighbouring words. Around each group lie the words that its windows reach. All
scores of a group, of its words against those around it and against the negatives that it shares, are one product of
matrices; so are all changes of its rows. Everything in a block starts from the same vectors.

**Negatives.** A group draws M negatives, of which each counts K / M for each pair, K = ``negative_samples``. The
expected loss is that of K negatives for each centre word. As in the compiled kernels, a negative that is the word to
be told does not count.

**Rows that a block touches often.** See ``vecmill.gpu.rows``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vecmill.gpu.draws import DeviceSampler, draw_negatives, draws_at
from vecmill.gpu.stretch import Stretch

if TYPE_CHECKING:
    import torch


class Block(NamedTuple):
    """Some groups of a stretch, with all that follows from their words alone.

    Attributes
    ----------
    words : int64[n_groups, group];  around : int64[n_groups, group + 2 * window], with the words themselves
    pairs : float32[n_groups, group, group + 2 * window], 1 where a word and one around it are a pair, else 0
    outputs : int64[n_groups, n + n_negatives], the words to be told, ``around`` or ``words``, and the negatives
    weights : float32[n_groups, group, m], how often each word of the group meets each output, negatives times K / M.
        Where ``outputs`` begins with ``words`` a word meets its own alone: column 0, negatives behind it
    n_terms : int64[n_groups], pairs, or where ``outputs`` begins with ``words`` those that have a window
    """

    words: torch.Tensor
    around: torch.Tensor
    pairs: torch.Tensor
    outputs: torch.Tensor
    weights: torch.Tensor
    n_terms: torch.Tensor

    def split(self, n_groups: int) -> Iterator[Block]:
        """Blocks of so many groups, the last one of fewer."""
        return (
            Block(*parts)
            for parts in zip(*(each.split(n_groups) for each in self), strict=True)  # type: ignore[no-untyped-call]
        )


def cut_block(
    stretch: Stretch,
    first: int,
    last: int,
    window: int,
    negatives: torch.Tensor,
    negative_weight: float,
    *,
    reach_of_word: bool,
    tells_words: bool,
    dtype: torch.dtype | None = None,
) -> Block:
    """Groups [first, last) of a stretch.

    Parameters
    ----------
    negatives : int64[n_groups of the stretch, n_negatives]
    negative_weight : K / M, what one of the shared negatives counts
    reach_of_word : a pair lies in the window of the group's word; else in that of the word around it
    tells_words : the words of the group are told from negatives; else those around them
    dtype : of pairs and weights; None: float32
    """
    import torch

    dtype = dtype or torch.float32
    around, sentences, reaches = (each[first:last] for each in stretch[:3])
    negatives = negatives[first:last]
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
    near = (distances <= reach) & (distances > 0) & (own[:, :, None] == sentences[:, None, :]) & (own >= 0)[:, :, None]
    words, pairs = around[:, middle], near.to(dtype)
    if tells_words:
        has_window = near.any(2, keepdim=True)
        counts = (words[:, :, None] != negatives[:, None, :]) & has_window
        weights = torch.cat([has_window.to(dtype), counts.to(dtype) * negative_weight], 2)
        return Block(words, around, pairs, torch.cat([words, negatives], 1), weights, has_window.squeeze(2).sum(1))
    differ = (around[:, :, None] != negatives[:, None, :]).to(dtype)
    weights = torch.cat([pairs, (pairs @ differ) * negative_weight], 2)
    return Block(words, around, pairs, torch.cat([around, negatives], 1), weights, near.sum((1, 2)))


def negatives_of(n_groups: int, n_negatives: int, first: int, key: np.uint64, sampler: DeviceSampler) -> torch.Tensor:
    """int64[n_groups, n_negatives], those of the stretch that begins at position ``first``.

    Counters begin at first * n_negatives. A stretch has no more groups than positions, so none is used twice.
    """
    import torch

    numbers = torch.arange(n_groups * n_negatives, device=sampler.aliases.device) + first * n_negatives
    return draw_negatives(draws_at(key, numbers), sampler).view(n_groups, n_negatives)
