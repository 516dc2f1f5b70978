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
    ids : int64[n_groups, n_inputs + m], rows of :class:`~vecmill.gpu.rows.Rows`: of the inputs, words or ``around``
        (none with subwords, which have rows of their own), then of the outputs, the words to be told and the negatives
    pairs : float32[n_groups, group, group + 2 * window], 1 where a word and one around it are a pair, else 0
    shares : float32 of the same shape, the same divided by the rows of all words of the window; where inputs are no
        means, ``pairs``
    weights : float32[n_groups, group, m], how often each word of the group meets each output, negatives times K / M.
        Where words of the group are told a word meets no other of these than itself
    told : float32 of the same shape, the same of outputs to be told, 0 of negatives
    scores : float32 of the same shape, not yet known: those of the inputs with the outputs, which a step finds
    n_terms : int64[n_groups], pairs, or where words of the group are told those that have a window
    """

    ids: torch.Tensor
    pairs: torch.Tensor
    shares: torch.Tensor
    weights: torch.Tensor
    told: torch.Tensor
    scores: torch.Tensor
    n_terms: torch.Tensor

    def split(self, n_groups: int) -> Iterator[Block]:
        """Blocks of so many groups, the last one of fewer."""
        return (
            Block(*parts)
            for parts in zip(*(each.split(n_groups) for each in self), strict=True)  # type: ignore[no-untyped-call]
        )


class Shape(NamedTuple):
    """What makes the blocks of one kind of training unlike those of another.

    Attributes
    ----------
    n_input_rows : rows of inputs of the matrix
    reach_of_word : a pair lies in the window of the group's word; else in that of the word around it
    tells_words : the words of the group are told from negatives, and the means of their windows are inputs; else those
        around them are told, and they are the inputs
    n_rows : int64[n_words], with subwords the rows of each word
    dtype : of pairs, weights and scores
    """

    n_input_rows: int
    reach_of_word: bool
    tells_words: bool
    n_rows: torch.Tensor | None
    dtype: torch.dtype


def cut_block(
    stretch: Stretch,
    first: int,
    last: int,
    window: int,
    negatives: torch.Tensor,
    negative_weight: float,
    shape: Shape,
) -> Block:
    """Groups [first, last) of a stretch.

    Parameters
    ----------
    negatives : int64[n_groups of the stretch, n_negatives]
    negative_weight : K / M, what one of the shared negatives counts
    """
    import torch

    dtype = shape.dtype
    around, sentences, reaches = (each[first:last] for each in stretch[:3])
    negatives = negatives[first:last]
    width = around.shape[1]
    group = width - 2 * window
    middle = slice(window, window + group)
    device = around.device
    places = torch.arange(width, device=device, dtype=reaches.dtype)
    distances = (places - places[middle, None]).abs()
    reach = reaches[:, middle, None] if shape.reach_of_word else reaches[:, None, :]
    own = sentences[:, middle]
    # behind the last word of the stretch come those of its margin, which the next stretch trains
    number = torch.arange(first * group, last * group, device=device).view(-1, group)
    own = own.where(number < stretch.n_words, -1)
    near = (distances <= reach) & (distances > 0) & (own[:, :, None] == sentences[:, None, :]) & (own >= 0)[:, :, None]
    words, pairs = around[:, middle], near.to(dtype)
    if shape.tells_words:
        inputs, outputs, shares = around, words, pairs / _rows_of_windows(pairs, around, shape)
        has_window = near.any(2)
        own_weights = torch.diag_embed(has_window.to(dtype))
        meets = ((words[:, :, None] != negatives[:, None, :]) & has_window[:, :, None]).to(dtype)
        n_terms = has_window.sum(1)
    else:
        inputs, outputs, shares, own_weights = words, around, pairs, pairs
        meets = pairs @ (around[:, :, None] != negatives[:, None, :]).to(dtype)
        n_terms = near.sum((1, 2))
    weights = torch.cat([own_weights, meets * negative_weight], 2)
    told = torch.cat([own_weights, torch.zeros_like(meets)], 2)
    ids = torch.cat([outputs, negatives], 1) + shape.n_input_rows
    if shape.n_rows is None:
        ids = torch.cat([inputs, ids], 1)
    return Block(ids, pairs, shares, weights, told, torch.empty_like(weights), n_terms)


def _rows_of_windows(pairs: torch.Tensor, around: torch.Tensor, shape: Shape) -> torch.Tensor:
    """floating[n_groups, group, 1], rows of all words of each window, at least 1."""
    if shape.n_rows is None:
        n_rows = pairs.sum(2, keepdim=True)
    else:
        n_rows = pairs @ shape.n_rows[around].to(pairs.dtype)[:, :, None]
    return n_rows.clamp_(min=1)


def loss_of(block: Block, n_negatives: int) -> torch.Tensor:
    """The sum of weights * -log sigmoid(scores), float64; not finite where a score is not. Scores are overwritten.

    Once for all blocks that were laid out together: what a block does least of is work for itself.
    """
    import torch

    block.scores[:, :, -n_negatives:].neg_()  # 1 - sigmoid(z) = sigmoid(-z)
    return -(torch.nn.functional.logsigmoid(block.scores) * block.weights).sum(dtype=torch.float64)


def negatives_of(n_groups: int, n_negatives: int, first: int, key: np.uint64, sampler: DeviceSampler) -> torch.Tensor:
    """int64[n_groups, n_negatives], those of the stretch that begins at position ``first``.

    Counters begin at first * n_negatives. A stretch has no more groups than positions, so none is used twice.
    """
    import torch

    numbers = torch.arange(n_groups * n_negatives, device=sampler.aliases.device) + first * n_negatives
    return draw_negatives(draws_at(key, numbers), sampler).view(n_groups, n_negatives)
