"""One word against the words around it, pair by pair, as vector instructions: the inner loop of ``subword_skipgram``.

The word's vector h and the sum of its changes stay in registers from pair to pair. A pair's right word and negatives
are scored side by side, their sigmoids are one vector, and their rows are changed in one pass.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from vecmill.kernels.subword_steps import VECTOR_BYTES, Rows
from vecmill.kernels.vector_code import INT_VECTOR, LANES, VectorCode

# A right word and its negatives, at most: their scores are the lanes of one vector.
MOST_OUTPUTS = LANES


@intrinsic(prefer_literal=True)
def learn_pairs_at(
    typing_context: Any,
    n_vectors: Any,
    n_outputs: Any,
    matrix: Any,
    output_ids: Any,
    weights: Any,
    n_pairs: Any,
    learning_rate: Any,
    part: Any,
    input_row: Any,
    total_change: Any,
) -> Any:
    """Let h learn one pair after another; returns the loss, float64.

    For each pair: steps[o] = learning_rate * weight_o * (1 - sigmoid(±h · u_o));  change = part * sum steps[o] * u_o;
    u_o += steps[o] * h;  h += change;  total_change += change

    Parameters
    ----------
    n_vectors, n_outputs : constants: length of a row over 16, outputs of a pair, at most MOST_OUTPUTS
    matrix : address of the first output row
    output_ids : address of int32[n_pairs, n_outputs];  weights : address of float32[n_pairs * n_outputs + 16], above 0
        where a word is right, below 0 where it is not, 0 where it does not count
    n_pairs : int64;  learning_rate, part : float32
    input_row, total_change : addresses of rows, the second to be overwritten
    """
    if not (isinstance(n_vectors, types.IntegerLiteral) and isinstance(n_outputs, types.IntegerLiteral)):
        return None
    length, width = n_vectors.literal_value, n_outputs.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, matrix_at, ids_at, weights_at, count, rate, share, input_at, total_at = arguments
        code = VectorCode(builder)
        rows = Rows(code, length, matrix_at)
        columns = [VECTOR_BYTES * column for column in range(length)]
        zero, rates, shares = code.constant(0.0), code.everywhere(rate), code.everywhere(share)
        inputs = [code.variable(code.load(code.add(input_at, column))) for column in columns]
        totals = [code.variable(zero) for _ in columns]
        losses = code.variable(zero)
        with code.loop(count) as pair:
            at = code.times(pair, 4 * width)
            places = [code.add(code.add(ids_at, at), 4 * o) for o in range(width)]
            addresses = [rows.address(place) for place in places]
            products = [zero] * width
            for place, column in zip(inputs, columns, strict=True):
                x = code.get(place)
                products = [
                    code.multiply_add(x, code.load(code.add(row, column)), product)
                    for row, product in zip(addresses, products, strict=True)
                ]
            lanes = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [int(lane < width) for lane in range(LANES)])
            weight = builder.select(lanes, code.load(code.add(weights_at, at)), zero)
            counts = builder.fcmp_unordered("!=", weight, zero)
            is_negative = builder.fcmp_ordered("<", weight, zero)
            score = builder.select(counts, code.sums(products), zero)
            wrong, loss = code.wrong_and_loss(builder.select(is_negative, builder.fsub(zero, score), score))
            sizes = builder.select(is_negative, builder.fsub(zero, weight), weight)
            code.put(code.multiply_add(loss, sizes, code.get(losses)), losses)
            step = builder.fmul(builder.fmul(wrong, weight), rates)
            steps = [
                builder.shuffle_vector(step, ir.Constant(step.type, ir.Undefined), ir.Constant(INT_VECTOR, [o] * LANES))
                for o in range(width)
            ]
            for place, total, column in zip(inputs, totals, columns, strict=True):
                x, change = code.get(place), zero
                for row, each in zip(addresses, steps, strict=True):
                    spot = code.add(row, column)
                    u = code.load(spot)  # after the store of the one before: it may be the same row
                    change = code.multiply_add(each, u, change)
                    code.store(code.multiply_add(each, x, u), spot)
                change = builder.fmul(change, shares)
                code.put(builder.fadd(x, change), place)
                code.put(builder.fadd(code.get(total), change), total)
        for total, column in zip(totals, columns, strict=True):
            code.store(code.get(total), code.add(total_at, column))
        return code.sum_float64(code.get(losses))

    return types.float64(n_vectors, n_outputs, *[types.int64] * 4, *[types.float32] * 2, *[types.int64] * 2), code
