"""What both vector kernels do around their arithmetic: windows of a chunk, and negatives drawn some windows ahead.

The draws are those of ``sampling``, bit for bit: the counters of a centre word depend on its position alone. Knowing
the next windows' rows early is what makes it possible to ask memory for them early.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import inlined_kernel, kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_below, draw_negative, gather_kept, mix64
from vecmill.kernels.vector_code import LANES
from vecmill.kernels.vector_steps import prefetch_row
from vecmill.kernels.vector_windows import MOST_IN_REGISTERS, padded_outputs, steps_length, weights_length

# Windows between asking for rows and using them, about a microsecond; a power of two more than that are remembered.
AHEAD = 3
REMEMBERED = 4


class VectorWorkspace(NamedTuple):
    """Memory of one thread of the vector kernels; addresses are those of rows.

    Attributes
    ----------
    kept_ids, kept_positions : int32 and int64[chunk tokens + 2 * window], see ``gather_windows``
    lefts, rights : int32 of the same length, bounds of each centre word's window in kept_ids
    output_rows : int64[REMEMBERED, padded outputs], addresses of a centre word's row, its negatives', spare rows
    weights : float32[REMEMBERED, weights length], how often each of them counts
    input_rows : int64[2 * window + 1], addresses of the window's rows
    steps : float32[steps length], see ``vector_windows``
    spare_row : float32[row length], zeros: stands for an output that does not count
    mean : float32[row length], CBOW's input
    changes : float32[padded outputs + 1, row length], what a window adds to rows, where they do not fit the registers
    own_rows : int64[3], how many of the first words have rows of the thread's own in place of the model's, and the
        addresses of its center and context vectors; see ``vecmill.words.own_rows``
    """

    kept_ids: npt.NDArray[np.int32]
    kept_positions: npt.NDArray[np.int64]
    lefts: npt.NDArray[np.int32]
    rights: npt.NDArray[np.int32]
    output_rows: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    input_rows: npt.NDArray[np.int64]
    steps: npt.NDArray[np.float32]
    spare_row: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    changes: npt.NDArray[np.float32]
    own_rows: npt.NDArray[np.int64]


def make_vector_workspace(*, chunk_tokens: int, window: int, n_negatives: int, row_length: int) -> VectorWorkspace:
    """Allocate the memory of one thread; the numbers are those that its kernel calls will be given."""
    n_kept, n_outputs = chunk_tokens + 2 * window, 1 + n_negatives
    spare_row = np.zeros(row_length, np.float32)
    return VectorWorkspace(
        kept_ids=np.empty(n_kept, np.int32),
        kept_positions=np.empty(n_kept, np.int64),
        lefts=np.empty(n_kept, np.int32),
        rights=np.empty(n_kept, np.int32),
        output_rows=np.full((REMEMBERED, padded_outputs(n_outputs)), spare_row.ctypes.data, np.int64),
        weights=np.zeros((REMEMBERED, weights_length(n_outputs)), np.float32),
        input_rows=np.empty(2 * window + 1, np.int64),
        steps=np.empty(steps_length(2 * window, n_outputs), np.float32),
        spare_row=spare_row,
        mean=np.empty(row_length, np.float32),
        changes=np.empty((padded_outputs(n_outputs) + 1, row_length), np.float32),
        own_rows=np.zeros(3, np.int64),
    )


@kernel
def gather_windows(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    sentence: int,
    first: int,
    last: int,
    window: int,
    dynamic_window: bool,
    draws: np.uint64,
    keep_key: np.uint64,
    draw_key: np.uint64,
    sampler: Sampler,
    work: VectorWorkspace,
) -> int:
    """Sub-sample the positions [first, last) and set the window of each centre word; returns their end.

    Centre words are kept_ids[window:end]; i's window is kept_ids[lefts[i]:rights[i]] with i itself.
    """
    end = window
    while first < last:
        sentence_start, sentence_end = sentence_offsets[sentence], sentence_offsets[sentence + 1]
        stop = min(last, sentence_end)
        if first < stop:
            # only the first sentence may reach back, only the last one forward; so nothing is overwritten
            shift = end - window
            begin, kept_end, centers_end = gather_kept(
                token_ids,
                sentence_start,
                sentence_end,
                first,
                stop,
                window,
                keep_key,
                sampler,
                work.kept_ids[shift:],
                work.kept_positions[shift:],
            )
            for i in range(end, shift + centers_end):
                reach = window
                if dynamic_window:
                    reach -= draw_below(mix64(draw_key + np.uint64(work.kept_positions[i]) * draws * GAMMA), window)
                work.lefts[i] = max(shift + begin, i - reach)
                work.rights[i] = min(shift + kept_end, i + reach + 1)
            end = shift + centers_end
        first = stop
        sentence += 1
    return end


@inlined_kernel
def look_ahead(
    i: int,
    end: int,
    n_outputs: int,
    n_vectors: int,
    differ: bool,
    window: int,
    draw_key: np.uint64,
    center_vectors: npt.NDArray[np.float32],
    context_vectors: npt.NDArray[np.float32],
    sampler: Sampler,
    work: VectorWorkspace,
) -> None:
    """Draw centre word i's negatives, ask for the rows that its window is the first to need, note what to learn from.

    A negative that is the centre word gives way to the spare row with weight 0. Where output rows have to ``differ``,
    since changes are written over them, so does a word drawn again, which adds one to the weight of its first draw.
    """
    place = i % REMEMBERED  # indexed in full below: array slices count references
    counter = draw_key + np.uint64(work.kept_positions[i]) * np.uint64(n_outputs) * GAMMA
    row_bytes = n_vectors * LANES * 4
    # Addresses, not arrays: handing an array on counts references, which takes a third of the speed.
    n_own = work.own_rows[0]
    newest = work.kept_ids[min(i + window, end - 1)]
    start = work.own_rows[1] if newest < n_own else center_vectors.ctypes.data
    prefetch_row(start + newest * row_bytes, n_vectors)
    shared, own = context_vectors.ctypes.data, work.own_rows[2]
    center = work.kept_ids[i]
    center_row = (own if center < n_own else shared) + center * row_bytes
    prefetch_row(center_row, n_vectors)
    work.output_rows[place, 0] = center_row
    repeated = False
    for o in range(1, n_outputs):
        counter += GAMMA
        word_id = draw_negative(mix64(counter), sampler)
        row = (own if word_id < n_own else shared) + word_id * row_bytes
        prefetch_row(row, n_vectors)
        work.output_rows[place, o] = row
        if n_outputs <= MOST_IN_REGISTERS:
            for p in range(o):
                repeated |= work.output_rows[place, p] == row
        else:
            repeated |= row == center_row
    for lane in range(n_outputs if n_outputs > MOST_IN_REGISTERS else -(-n_outputs // LANES) * LANES):
        work.weights[place, lane] = 1
    if repeated or (differ and n_outputs > MOST_IN_REGISTERS):
        _merge_repeated(place, n_outputs, differ, work)


@kernel
def _merge_repeated(place: int, n_outputs: int, differ: bool, work: VectorWorkspace) -> None:
    rows, weights = work.output_rows[place], work.weights[place]
    for o in range(1, n_outputs):
        for p in range(o if differ else 1):
            if rows[p] == rows[o]:
                rows[o] = work.spare_row.ctypes.data
                weights[o] = 0
                weights[p] += p != 0
                break
    if n_outputs <= MOST_IN_REGISTERS:
        for lane in range(n_outputs, weights.shape[0]):
            weights[lane] = weights[lane % n_outputs]


@inlined_kernel
def gather_inputs(i: int, n_vectors: int, center_vectors: npt.NDArray[np.float32], work: VectorWorkspace) -> int:
    """Write the addresses of the rows around centre word i, and a spare one after them; returns their number."""
    row_bytes = n_vectors * LANES * 4
    n_own, shared, own = work.own_rows[0], center_vectors.ctypes.data, work.own_rows[1]
    n = 0
    for j in range(work.lefts[i], work.rights[i]):
        word_id = work.kept_ids[j]
        work.input_rows[n] = (own if word_id < n_own else shared) + word_id * row_bytes
        n += j != i
    work.input_rows[n] = work.spare_row.ctypes.data
    return n
