"""A stretch of the text on the device: the words that sub-sampling leaves, each with its sentence and its window.

Stretches lie on a fixed grid of positions, and what is drawn for a token depends on its position alone. So words,
windows and pairs are those of the compiled kernels, wherever the text is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.gpu.draws import DeviceSampler, are_kept, draws_at, draws_below
from vecmill.kernels.sampling import gather_kept
from vecmill.words.run import StreamKeys, TrainingRun

if TYPE_CHECKING:
    import torch

_NOWHERE = -1  # the sentence of what only fills up


class Stretch(NamedTuple):
    """Kept words in groups, and up to ``window`` of the words before the first and after the last one.

    Attributes
    ----------
    word_ids : int64[n_groups, group + 2 * window]; row g holds group g and ``window`` words to each side of it
    sentences : int32 of the same shape, a number for each sentence; -1 where there is no word
    reaches : int32 of the same shape, words to each side that a word's window has
    n_words : kept words of the groups; in the last group words of the margin may follow them
    """

    word_ids: torch.Tensor
    sentences: torch.Tensor
    reaches: torch.Tensor
    n_words: int


def load_stretch(
    run: TrainingRun,
    sampler: DeviceSampler,
    keys: StreamKeys,
    first: int,
    last: int,
    *,
    group: int,
    window_draws: int,
) -> Stretch:
    """Bring the positions [first, last), last > first, to the sampler's device.

    Parameters
    ----------
    group : words of a group; the last one is filled up
    window_draws : draws that the compiled kernel takes for each position, the window's first
    """
    import torch

    device, window = sampler.aliases.device, run.config.window
    before, after = _margin(run, keys, first)[0], _margin(run, keys, last)[1]
    begin = int(before[0]) if before.size else first
    end = int(after[-1]) + 1 if after.size else last
    offsets = run.sentence_offsets
    first_sentence = int(np.searchsorted(offsets, begin, side="right")) - 1
    last_sentence = int(np.searchsorted(offsets, end - 1, side="right"))
    heldout = np.zeros(last_sentence - first_sentence, np.bool_)
    from_heldout, to_heldout = np.searchsorted(run.heldout, (first_sentence, last_sentence))
    heldout[run.heldout[from_heldout:to_heldout] - first_sentence] = True

    margins = (torch.from_numpy(each).to(device) for each in (before, after))
    positions = torch.cat([next(margins), torch.arange(first, last, device=device), next(margins)])
    # as they lie in the file, four bytes each: a copy, since a mapped file is not to be written to
    ids = torch.from_numpy(np.array(run.token_ids[begin:end])).to(device)
    ids = ids[positions - begin].long()
    starts = torch.from_numpy(offsets[first_sentence + 1 : last_sentence].astype(np.int64)).to(device)
    sentences = torch.searchsorted(starts, positions, right=True)
    kept = are_kept(ids, positions, keys.keep, sampler) & ~torch.from_numpy(heldout).to(device)[sentences]
    # a margin's words are all kept, or all of a sentence that is held out, and then there is nothing they are next to
    n_before = 0 if heldout[0] else before.size
    n_after = 0 if heldout[-1] else after.size
    kept = kept.nonzero().squeeze(1)  # the host waits for the device, here and nowhere else in a stretch's layout
    n_words = int(kept.shape[0]) - n_before - n_after
    n_groups = -(-n_words // group)

    positions, ids, sentences = positions[kept], ids[kept], sentences[kept].int()
    reaches = torch.full_like(sentences, window)
    if run.config.dynamic_window:
        reaches -= draws_below(draws_at(keys.draw, positions, window_draws), window).int()
    size, shift = n_groups * group + 2 * window, window - n_before
    rows = []
    for values, filler in ((ids, 0), (sentences, _NOWHERE), (reaches, 0)):
        row = torch.full((size,), filler, dtype=values.dtype, device=device)
        row[shift : shift + values.shape[0]] = values
        rows.append(row.unfold(0, group + 2 * window, group) if n_groups else row.new_empty(0, group + 2 * window))
    word_ids, sentence_rows, reach_rows = rows
    return Stretch(word_ids, sentence_rows, reach_rows, n_words)


def _margin(run: TrainingRun, keys: StreamKeys, cut: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The positions of up to ``window`` kept tokens before and from ``cut``, of the sentence that is cut there."""
    offsets, window = run.sentence_offsets, run.config.window
    sentence = int(np.searchsorted(offsets, cut, side="right")) - 1
    nothing = np.empty(0, np.int64)
    if sentence >= offsets.size - 1 or offsets[sentence] == cut:
        return nothing, nothing
    ids, positions = np.empty(2 * window, np.int32), np.empty(2 * window, np.int64)
    begin, end, _ = gather_kept(
        run.token_ids,
        int(offsets[sentence]),
        int(offsets[sentence + 1]),
        cut,
        cut,
        window,
        keys.keep,
        run.sampler,
        ids,
        positions,
    )
    return positions[begin:window], positions[window:end]
