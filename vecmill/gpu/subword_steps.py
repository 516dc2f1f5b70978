"""One block of skip-gram or CBOW with subwords, whose inputs are means of rows.

What ``vecmill.kernels.subword_skipgram`` and ``subword_cbow`` learn, with the negatives of ``vecmill.gpu.steps``. The
rows of a word are fetched once for a block, and changed once, however often the word occurs. Difference: all pairs of
a block start from the same rows, where there each pair starts from what the one before it left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vecmill.gpu.block import Block
from vecmill.gpu.rows import Rows
from vecmill.gpu.steps import StepSettings, find_directions, learn_means, learn_pairs

if TYPE_CHECKING:
    import torch

    from vecmill.kernels.subword_rows import SubwordRows


class DeviceSubwords(NamedTuple):
    """Which rows make up each word, on a device.

    Attributes
    ----------
    offsets : int64[n_words + 1];  rows : int64[n_entries], see :class:`~vecmill.kernels.subword_rows.SubwordRows`
    """

    offsets: torch.Tensor
    rows: torch.Tensor


def device_subwords(subwords: SubwordRows, device: torch.device) -> DeviceSubwords:
    """Bring the lists of rows to a device."""
    import torch

    return DeviceSubwords(
        torch.from_numpy(subwords.offsets).to(device), torch.from_numpy(subwords.rows).to(device).long()
    )


class _Words(NamedTuple):
    """The different words of a block.

    Attributes
    ----------
    place : int64, of the shape of the words: which of the n different words each is
    n_rows : int64[n], of each
    rows : int64[total], those of the first word, of the second …;  owners : int64[total], the word of each
    sums : float32[n, row length], the sum of each word's rows
    """

    place: torch.Tensor
    n_rows: torch.Tensor
    rows: torch.Tensor
    owners: torch.Tensor
    sums: torch.Tensor


def _fetch(words: torch.Tensor, subwords: DeviceSubwords, inputs: Rows) -> _Words:
    import torch

    different, place = torch.unique(words, return_inverse=True)
    begin = subwords.offsets[different]
    n_rows = subwords.offsets[different + 1] - begin
    owners = torch.repeat_interleave(n_rows)
    ends = n_rows.cumsum(0)
    rows = subwords.rows[torch.arange(owners.shape[0], device=words.device) + (begin - ends + n_rows)[owners]]
    sums = inputs.matrix.new_zeros(different.shape[0], inputs.matrix.shape[1])
    return _Words(place, n_rows, rows, owners, sums.index_add_(0, owners, inputs.matrix[rows]))


def _give_back(found: _Words, changes: torch.Tensor, bends: torch.Tensor, inputs: Rows, learning_rate: float) -> None:
    """Add to all rows of a word what its occurrences are to change by; ``bends`` : see ``Learned``, of each."""
    place = found.place.reshape(-1)
    total = inputs.matrix.new_zeros(found.n_rows.shape[0], changes.shape[-1])
    total.index_add_(0, place, changes.reshape(place.shape[0], -1).to(total.dtype))
    together = total.new_zeros(total.shape[0])
    together.index_add_(0, place, bends.reshape(-1).to(together.dtype))
    inputs.add(found.rows, total[found.owners], together[found.owners], learning_rate)


def subword_skipgram_step(
    block: Block,
    inputs: Rows,
    contexts: Rows,
    learning_rate: float,
    settings: StepSettings,
    *,
    subwords: DeviceSubwords,
    look: bool = False,
) -> torch.Tensor:
    """Change both matrices; returns the loss (float64); ``look`` as in ``vecmill.gpu.steps.skipgram_step``.

    As in fastText the centre word is the input: the words of a group, against those in their windows.
    """
    full = inputs.matrix.dtype
    found = _fetch(block.words, subwords, inputs)
    shares = (1 / found.n_rows.to(full))[found.place]
    learned = learn_pairs(found.sums[found.place] * shares[:, :, None], block, contexts, settings)
    if look:
        find_directions(learned, inputs, contexts)
    changes, bends = learned.inputs.to(full), learned.input_bends
    if settings.exact_gradient:
        changes, bends = changes * shares[:, :, None], bends * shares
    _give_back(found, changes, bends, inputs, learning_rate)
    contexts.add(block.outputs, learned.outputs, learned.output_bends, learning_rate)
    return learned.loss


def subword_cbow_step(
    block: Block,
    inputs: Rows,
    contexts: Rows,
    learning_rate: float,
    settings: StepSettings,
    *,
    subwords: DeviceSubwords,
    look: bool = False,
) -> torch.Tensor:
    """Change both matrices; returns the loss (float64); ``look`` as in ``vecmill.gpu.steps.skipgram_step``.

    The input is the mean of the rows of all words of the window.
    """
    full, dtype = inputs.matrix.dtype, settings.dtype
    found = _fetch(block.around, subwords, inputs)
    pairs = block.pairs.to(full)
    n_rows = (pairs @ found.n_rows.to(full)[found.place][:, :, None]).clamp_(min=1)
    shares = pairs / n_rows
    means = shares.to(dtype) @ found.sums[found.place].to(dtype)
    learned = learn_means(means, block, contexts, settings)
    if look:
        find_directions(learned, inputs, contexts)
    reaching = (shares if settings.exact_gradient else pairs).transpose(1, 2)
    changes = reaching.to(dtype) @ learned.inputs
    bends = (reaching @ learned.input_bends[:, :, None]).squeeze(2)
    _give_back(found, changes, bends, inputs, learning_rate)
    contexts.add(block.outputs, learned.outputs, learned.output_bends, learning_rate)
    return learned.loss
