"""One block of skip-gram or CBOW with subwords, whose inputs are means of rows.

What ``vecmill.kernels.subword_skipgram`` and ``subword_cbow`` learn, with the negatives of ``vecmill.gpu.steps``. The
rows of a word are fetched once for a block, and changed once, however often the word occurs. Difference: all pairs of
a block start from the same rows, where there each pair starts from what the one before it left.

A row learns from all words that share it, from the first block on thousands of times in one. So vectors may go far in
one block, and a row is held back by a bound of its loss's second derivative, not by its value where the block begins,
which is next to nothing once scores are large; and each block looks anew for the directions of ``vecmill.gpu.rows``.

Which words a block has, and how many rows, only the device knows. So this is laid out for all blocks of a stretch at
once, for which the host waits, and no block makes it wait again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vecmill.gpu.block import Block
from vecmill.gpu.rows import Rows
from vecmill.gpu.steps import StepSettings, learn, learn_means

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


class BlockWords(NamedTuple):
    """The different words of a block.

    Attributes
    ----------
    place : int64[n_groups * words of a group], which of the n different words each is
    parts : float32[n, 1], one by the number of rows of each word
    begins : int64[n], where those of each word begin in ``rows``
    rows : int64[total], those of the first word, of the second …;  owners : int64[total], the word of each
    """

    place: torch.Tensor
    parts: torch.Tensor
    begins: torch.Tensor
    rows: torch.Tensor
    owners: torch.Tensor


def words_of_blocks(words: torch.Tensor, groups: int, subwords: DeviceSubwords, dtype: torch.dtype) -> list[BlockWords]:
    """The different words of each block of a stretch.

    Parameters
    ----------
    words : int64[n_groups, n], with n_groups > 0, the words of a group whose rows are inputs
    groups : of a block; the last one may have fewer
    dtype : of ``parts``
    """
    import torch

    n_words, n_blocks = subwords.offsets.shape[0] - 1, -(-words.shape[0] // groups)
    blocks = torch.arange(words.shape[0], device=words.device)[:, None] // groups
    different, place = torch.unique(words + blocks * n_words, return_inverse=True)
    first_words = torch.searchsorted(different, torch.arange(n_blocks + 1, device=words.device) * n_words)
    begin = subwords.offsets[different % n_words]
    n_rows = subwords.offsets[different % n_words + 1] - begin
    ends = torch.nn.functional.pad(n_rows.cumsum(0), (1, 0))
    first_rows = ends[first_words]
    word_cuts, row_cuts = torch.stack([first_words, first_rows]).tolist()
    owners = torch.repeat_interleave(n_rows, output_size=row_cuts[-1])
    rows = subwords.rows[torch.arange(row_cuts[-1], device=words.device) + (begin - ends[:-1])[owners]]
    block = different // n_words
    place = (place - first_words[blocks]).split(groups)
    owners = owners - first_words[block[owners]]
    begins, parts = ends[:-1] - first_rows[block], (1 / n_rows.to(dtype))[:, None]
    return [
        BlockWords(
            place[i].reshape(-1),
            parts[word_cuts[i] : word_cuts[i + 1]],
            begins[word_cuts[i] : word_cuts[i + 1]],
            rows[row_cuts[i] : row_cuts[i + 1]],
            owners[row_cuts[i] : row_cuts[i + 1]],
        )
        for i in range(n_blocks)
    ]


def subword_skipgram_step(
    block: Block, rows: Rows, learning_rate: float, settings: StepSettings, *, words: BlockWords, look: bool = False
) -> None:
    """Change rows, and write the scores of the block; ``look`` as in ``vecmill.gpu.steps.skipgram_step``.

    As in fastText the centre word is the input: the words of a group, against those in their windows.
    """
    shape = block.scores.shape[:2]
    x = _of_words(words, rows, "mean").view(*shape, -1).to(settings.dtype)
    u = rows.matrix.index_select(0, block.ids.view(-1)).view(*block.ids.shape, -1).to(settings.dtype)
    if look:
        rows.find_directions(u, x)
    input_changes, input_bends = x.new_empty(x.shape), block.weights.new_empty(shape)
    changes, bends = _room_for_all(block, rows, words)
    of_outputs = changes[words.rows.shape[0] :].view(*block.ids.shape, -1)
    output_bends = bends[words.rows.shape[0] :].view(block.ids.shape)
    learn(block, x, u, input_changes, of_outputs, input_bends, output_bends, bounds=True)
    _add_all(block, rows, words, (input_changes, input_bends, changes, bends), learning_rate, settings.exact_gradient)


def subword_cbow_step(
    block: Block, rows: Rows, learning_rate: float, settings: StepSettings, *, words: BlockWords, look: bool = False
) -> None:
    """Change rows, and write the scores of the block; ``look`` as in ``vecmill.gpu.steps.skipgram_step``.

    The input is the mean of the rows of all words of the window.
    """
    around = _of_words(words, rows, "sum").view(*block.pairs.shape[::2], -1)
    u = rows.matrix.index_select(0, block.ids.view(-1)).view(*block.ids.shape, -1)
    input_changes, input_bends = around.new_empty(around.shape), around.new_empty(around.shape[:2])
    changes, bends = _room_for_all(block, rows, words)
    of_outputs = changes[words.rows.shape[0] :].view(u.shape), bends[words.rows.shape[0] :].view(block.ids.shape)
    found = input_changes, of_outputs[0], input_bends, of_outputs[1]
    learn_means(block, rows, around, u, found, settings, look=look, bounds=True)
    # with the exact gradient a row's part is in the shares already
    _add_all(block, rows, words, (input_changes, input_bends, changes, bends), learning_rate, False)


def _of_words(words: BlockWords, rows: Rows, mode: str) -> torch.Tensor:
    """The sum or mean of the rows of each word, with its repetitions."""
    import torch

    different = torch.nn.functional.embedding_bag(words.rows, rows.matrix, words.begins, mode=mode)
    return different.index_select(0, words.place)


def _room_for_all(block: Block, rows: Rows, words: BlockWords) -> tuple[torch.Tensor, torch.Tensor]:
    """Uninitialised changes and bends, of the rows of all words and then of the outputs."""
    n = words.rows.shape[0] + block.ids.numel()
    return rows.matrix.new_empty(n, rows.matrix.shape[1]), rows.matrix.new_empty(n)


def _add_all(
    block: Block,
    rows: Rows,
    words: BlockWords,
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    learning_rate: float,
    parted: bool,
) -> None:
    """Change outputs, and all rows of each word by what its occurrences learned together, or by a row's part of it.

    Parameters
    ----------
    found : changes and bends of each occurrence; and room for those of all rows, where those of the outputs stand
    """
    import torch

    input_changes, input_bends, changes, bends = found
    length, n_rows = changes.shape[1], words.rows.shape[0]
    # changes of the different words, and behind them their bends
    total = changes.new_zeros(words.parts.shape[0], length + 1)
    total[:, :length].index_add_(0, words.place, input_changes.view(-1, length).to(total.dtype))
    total[:, length].index_add_(0, words.place, input_bends.view(-1))
    if parted:
        total.mul_(words.parts)
    torch.index_select(total[:, :length], 0, words.owners, out=changes[:n_rows])
    torch.index_select(total[:, length], 0, words.owners, out=bends[:n_rows])
    rows.add(torch.cat([words.rows, block.ids.view(-1)]), n_rows, changes, bends, learning_rate)
