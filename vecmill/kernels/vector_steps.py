"""One window of skip-gram or CBOW as vector instructions, for kernels to call: made for constants that numba passes.

The code itself is that of ``vector_windows``. Matrices are given as addresses of rows, so that a row may lie anywhere.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from vecmill.kernels.vector_code import VectorCode
from vecmill.kernels.vector_windows import VECTOR_BYTES, Changes, Scores

# Prefetches written one by one rather than in a loop.
_UNROLLED = 32


@intrinsic(prefer_literal=True)
def prefetch_row(typing_context: Any, row: Any, n_vectors: Any) -> Any:
    """Ask for the cache lines of the row at an address; n_vectors times 16 float32, better a constant."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row_at, count = arguments
        vectors = VectorCode(builder)
        if isinstance(n_vectors, types.IntegerLiteral) and n_vectors.literal_value <= _UNROLLED:
            for d in range(n_vectors.literal_value):
                vectors.prefetch(vectors.add(row_at, d * VECTOR_BYTES))
        else:
            with vectors.loop(count) as d:
                vectors.prefetch(vectors.add(row_at, vectors.times(d, VECTOR_BYTES)))
        return context.get_dummy_value()

    return types.void(types.int64, n_vectors), code


@intrinsic(prefer_literal=True)
def skipgram_scores(
    typing_context: Any,
    n_outputs: Any,
    n_vectors: Any,
    input_rows: Any,
    n_inputs: Any,
    output_rows: Any,
    weights: Any,
    steps: Any,
    learning_rate: Any,
) -> Any:
    """The steps of one window; returns its loss, float64.

    Parameters
    ----------
    n_outputs : a constant
    n_vectors : a constant, length of a row over 16
    input_rows : address of int64[n_inputs + 1], addresses of rows; the last one of a row that is only read
    output_rows : address of int64[padded_outputs], addresses of rows, the centre word's first
    weights : address of float32[weights_length], how often each output counts, for each input of a block
    steps : address of float32[steps_length], result: learning_rate * weight * (label - sigmoid(score)) by input and
        output
    learning_rate : float32
    """
    constants = _constants(n_outputs, n_vectors)
    if constants is None:
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inputs_at, count, outputs_at, weights_at, steps_at, rate = arguments[2:]
        window = Scores(VectorCode(builder), constants, outputs_at, weights_at, steps_at, rate)
        return window.of_inputs(inputs_at, count)

    return types.float64(n_outputs, n_vectors, *[types.int64] * 5, types.float32), code


@intrinsic(prefer_literal=True)
def cbow_scores(
    typing_context: Any,
    n_outputs: Any,
    n_vectors: Any,
    input_rows: Any,
    n_inputs: Any,
    output_rows: Any,
    weights: Any,
    steps: Any,
    learning_rate: Any,
    mean: Any,
    share: Any,
) -> Any:
    """The steps of the mean of one window; returns its loss, float64.

    Parameters are those of :func:`skipgram_scores`, and:

    mean : address of a row, result: share times the sum of the inputs
    share : float32, 1 / n_inputs
    """
    constants = _constants(n_outputs, n_vectors)
    if constants is None:
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inputs_at, count, outputs_at, weights_at, steps_at, rate, mean_at, share = arguments[2:]
        window = Scores(VectorCode(builder), constants, outputs_at, weights_at, steps_at, rate)
        return window.of_mean(inputs_at, count, mean_at, share)

    numbers = [*[types.int64] * 5, types.float32, types.int64, types.float32]
    return types.float64(n_outputs, n_vectors, *numbers), code


@intrinsic(prefer_literal=True)
def skipgram_changes(
    typing_context: Any,
    n_outputs: Any,
    n_vectors: Any,
    decays: Any,
    clips: Any,
    input_rows: Any,
    n_inputs: Any,
    output_rows: Any,
    steps: Any,
    changes: Any,
    keep: Any,
    limit: Any,
) -> Any:
    """Change the rows of one window by the steps of :func:`skipgram_scores`.

    v_c += sum over o of step[c, o] * u_o, one c after another;   u_o += sum over c of step[c, o] * v_c, v_c as it was
    when its turn came.

    Parameters (others as for :func:`skipgram_scores`)
    ----------
    decays, clips : constants, 0 or 1: whether ``keep`` and ``limit`` are looked at; then output rows must differ, but
        for a spare row
    changes : address of float32[padded_outputs + 1, row length], memory to work in
    keep : float32, a row that is changed is multiplied by it first
    limit : float32, a row's change is scaled down to this Euclidean norm
    """
    constants = _constants(n_outputs, n_vectors, decays, clips)
    if constants is None:
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inputs_at, count, outputs_at, steps_at, changes_at, keep, limit = arguments[4:]
        window = Changes(VectorCode(builder), constants, outputs_at, steps_at, keep, limit)
        window.by_inputs(inputs_at, count, changes_at)
        return context.get_dummy_value()

    numbers = [*[types.int64] * 5, types.float32, types.float32]
    return types.void(n_outputs, n_vectors, decays, clips, *numbers), code


@intrinsic(prefer_literal=True)
def cbow_changes(
    typing_context: Any,
    n_outputs: Any,
    n_vectors: Any,
    decays: Any,
    clips: Any,
    input_rows: Any,
    n_inputs: Any,
    output_rows: Any,
    steps: Any,
    mean: Any,
    change_share: Any,
    keep: Any,
    limit: Any,
) -> Any:
    """Change the rows of one window by the steps of :func:`cbow_scores`.

    v_c += change_share * sum over o of step[o] * u_o;   u_o += step[o] * mean

    Parameters are those of :func:`skipgram_changes`, and:

    mean : address of the row that :func:`cbow_scores` wrote
    change_share : float32, what of the mean's change each input gets
    """
    constants = _constants(n_outputs, n_vectors, decays, clips)
    if constants is None:
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inputs_at, count, outputs_at, steps_at, mean_at, share, keep, limit = arguments[4:]
        window = Changes(VectorCode(builder), constants, outputs_at, steps_at, keep, limit)
        window.by_mean(inputs_at, count, mean_at, share)
        return context.get_dummy_value()

    numbers = [*[types.int64] * 5, *[types.float32] * 3]
    return types.void(n_outputs, n_vectors, decays, clips, *numbers), code


def _constants(*arguments: Any) -> tuple[int, ...] | None:
    """The values of arguments that must be constants; None asks numba to try again with constants."""
    if not all(isinstance(each, types.IntegerLiteral) for each in arguments):
        return None
    return tuple(each.literal_value for each in arguments)
