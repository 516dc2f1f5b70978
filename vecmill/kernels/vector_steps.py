"""One window of skip-gram or CBOW as vector instructions, made for a given number of output rows.

What ``skipgram`` and ``cbow`` do in plain loops, for float32 rows of a multiple of 16 numbers. All matrices are given
as addresses of rows, so that a row may lie anywhere. Three parts:

- scores: inputs two at a time against all output rows, all products in registers, sixteen sums at once;
- steps: sigmoid and loss of sixteen scores at once, see :meth:`~vecmill.kernels.vector_code.VectorCode.wrong_and_loss`;
- changes: for sixteen columns after another, the output rows and their changes stay in registers while all inputs
  of the window pass; each input is loaded once and stored once.

Per window of m inputs, R output rows and D columns that is 3·m·R·D multiply-adds, and nothing else that grows so fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from vecmill.kernels.vector_code import INT64, LANES, VectorCode

# Beyond this the changes no longer fit the registers several times over, and code and its compilation grow.
MAX_OUTPUTS = 32

_VECTOR_BYTES = LANES * 4


def scores_at_once(n_outputs: int) -> int:
    """Inputs of one block of scores: as many as sixteen sums allow, not more than an even window divides by."""
    return 2 if 2 * n_outputs <= LANES else 1


def steps_length(n_inputs: int, n_outputs: int) -> int:
    """float32 that a window's steps take: n_inputs * n_outputs, and what the last store writes beyond."""
    return n_inputs * n_outputs + LANES


def weights_length(n_outputs: int) -> int:
    """float32 of a window's weights: in step with the scores of one block, in whole vectors."""
    return -(-scores_at_once(n_outputs) * n_outputs // LANES) * LANES


@intrinsic(prefer_literal=True)
def prefetch_row(typing_context: Any, row: Any, n_vectors: Any) -> Any:
    """Ask for the cache lines of the row at an address; n_vectors times 16 float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row_at, count = arguments
        vectors = VectorCode(builder)
        with vectors.loop(count) as d:
            vectors.prefetch(vectors.add(row_at, vectors.times(d, _VECTOR_BYTES)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic(prefer_literal=True)
def skipgram_window(
    typing_context: Any,
    n_outputs: Any,
    input_rows: Any,
    n_inputs: Any,
    output_rows: Any,
    weights: Any,
    steps: Any,
    n_vectors: Any,
    learning_rate: Any,
) -> Any:
    """Learn from one window; returns its loss, float64.

    Parameters
    ----------
    n_outputs : a constant, 1 ... MAX_OUTPUTS
    input_rows : address of int64[n_inputs + 1], addresses of rows; the last one of a row that is only read
    output_rows : address of int64[n_outputs], addresses of different rows, the centre word's first
    weights : address of float32[weights_length], how often each output counts, for each input of a block
    steps : address of float32[steps_length], to be overwritten
    n_vectors : length of a row over 16
    learning_rate : float32
    """
    if not isinstance(n_outputs, types.IntegerLiteral):
        return None
    outputs = n_outputs.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, inputs_at, count, outputs_at, weights_at, steps_at, length, rate = arguments
        window = _Window(VectorCode(builder), outputs, outputs_at, weights_at, steps_at, length, rate)
        loss = window.score_inputs(inputs_at, count)
        window.change_rows(inputs_at, count)
        return loss

    return types.float64(n_outputs, *[types.int64] * 6, types.float32), code


@intrinsic(prefer_literal=True)
def cbow_window(
    typing_context: Any,
    n_outputs: Any,
    input_rows: Any,
    n_inputs: Any,
    output_rows: Any,
    weights: Any,
    steps: Any,
    n_vectors: Any,
    learning_rate: Any,
    mean: Any,
    share: Any,
    change_share: Any,
) -> Any:
    """Learn from the mean of one window; returns its loss, float64.

    Parameters are those of :func:`skipgram_window`, and:

    mean : address of a row, to be overwritten by share times the sum of the inputs
    share, change_share : float32, 1 / n_inputs; what of the mean's change each input gets
    """
    if not isinstance(n_outputs, types.IntegerLiteral):
        return None
    outputs = n_outputs.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, inputs_at, count, outputs_at, weights_at, steps_at, length, rate, mean_at, share, change_share = arguments
        window = _Window(VectorCode(builder), outputs, outputs_at, weights_at, steps_at, length, rate)
        loss = window.score_mean(inputs_at, count, mean_at, share)
        window.change_rows_by_mean(inputs_at, count, mean_at, change_share)
        return loss

    return types.float64(n_outputs, *[types.int64] * 6, types.float32, types.int64, *[types.float32] * 2), code


class _Window:
    """The code of one window's parts."""

    def __init__(
        self, code: VectorCode, n_outputs: int, outputs_at: Any, weights_at: Any, steps_at: Any, length: Any, rate: Any
    ) -> None:
        self.code, self.n_outputs, self.length = code, n_outputs, length
        self.weights_at, self.steps_at = weights_at, steps_at
        self.output_rows = [code.load_address(code.add(outputs_at, 8 * o)) for o in range(n_outputs)]
        self.rate = code.everywhere(rate)

    def score_inputs(self, inputs_at: Any, n_inputs: Any) -> Any:
        code, builder = self.code, self.code.builder
        at_once = scores_at_once(self.n_outputs)
        losses = code.variable(code.constant(0.0))
        n_blocks = builder.sdiv(code.add(n_inputs, at_once - 1), INT64(at_once))
        with code.loop(n_blocks) as block:
            first = code.times(block, at_once)
            here = code.add(inputs_at, code.times(first, 8))
            rows = [code.load_address(code.add(here, 8 * c)) for c in range(at_once)]
            products = self._products(lambda column: [code.load(code.add(row, column)) for row in rows], at_once)
            n_scores = code.times(builder.sub(n_inputs, first), self.n_outputs)
            steps_at = code.add(self.steps_at, code.times(first, 4 * self.n_outputs))
            self._store_steps(products, n_scores, steps_at, losses)
        return code.sum_float64(code.get(losses))

    def score_mean(self, inputs_at: Any, n_inputs: Any, mean_at: Any, share: Any) -> Any:
        code, builder = self.code, self.code.builder
        shares = code.everywhere(share)

        def mean_of(column: Any) -> list[Any]:
            total = code.variable(code.constant(0.0))
            with code.loop(n_inputs) as c:
                row = code.load_address(code.add(inputs_at, code.times(c, 8)))
                code.put(builder.fadd(code.get(total), code.load(code.add(row, column))), total)
            mean = builder.fmul(code.get(total), shares)
            code.store(mean, code.add(mean_at, column))
            return [mean]

        losses = code.variable(code.constant(0.0))
        self._store_steps(self._products(mean_of, 1), INT64(self.n_outputs), self.steps_at, losses)
        return code.sum_float64(code.get(losses))

    def _products(self, inputs: Callable[[Any], list[Any]], n_inputs: int) -> list[Any]:
        """Of each input with each output row, the products of columns; their lanes are not yet added."""
        code = self.code
        places = [code.variable(code.constant(0.0)) for _ in range(n_inputs * self.n_outputs)]
        with code.loop(self.length) as d:
            column = code.times(d, _VECTOR_BYTES)
            xs = inputs(column)
            for o, row in enumerate(self.output_rows):
                u = code.load(code.add(row, column))
                for c, x in enumerate(xs):
                    place = places[c * self.n_outputs + o]
                    code.put(code.multiply_add(x, u, code.get(place)), place)
        return [code.get(place) for place in places]

    def _store_steps(self, products: list[Any], n_scores: Any, steps_at: Any, losses: Any) -> None:
        """learning_rate * weight * (label - sigmoid(score)) of a block, in order of input and output; adds losses."""
        code, builder = self.code, self.code.builder
        for start in range(0, len(products), LANES):
            signs = [1.0 if lane % self.n_outputs == 0 else -1.0 for lane in range(start, start + LANES)]
            score = builder.fmul(code.sums(products[start : start + LANES]), code.constant(signs))
            wrong, loss = code.wrong_and_loss(score)
            weights = code.load(code.add(self.weights_at, 4 * start))
            step = builder.fmul(builder.fmul(wrong, code.constant(signs)), builder.fmul(weights, self.rate))
            code.store(step, code.add(steps_at, 4 * start))
            # the vector may be wider than its block, and the block than what is left of the window
            n_lanes = code.smaller(builder.sub(n_scores, INT64(start)), min(len(products) - start, LANES))
            counted = code.first_lanes(n_lanes, builder.fmul(loss, weights))
            code.put(builder.fadd(code.get(losses), counted), losses)

    def change_rows(self, inputs_at: Any, n_inputs: Any) -> None:
        """v_c += sum over o of step[c, o] * u_o, one c after another; u_o += sum over c of step[c, o] * v_c."""
        code = self.code
        with code.loop(self.length) as d:
            column = code.times(d, _VECTOR_BYTES)
            places = [code.add(row, column) for row in self.output_rows]
            outputs = [code.load(place) for place in places]
            changed = [code.variable(u) for u in outputs]
            with code.loop(n_inputs) as c:
                row = code.load_address(code.add(inputs_at, code.times(c, 8)))
                steps_at = code.add(self.steps_at, code.times(c, 4 * self.n_outputs))
                x = code.load(code.add(row, column))
                new = x
                for o, u in enumerate(outputs):
                    step = code.load_everywhere(code.add(steps_at, 4 * o))
                    new = code.multiply_add(step, u, new)
                    code.put(code.multiply_add(step, x, code.get(changed[o])), changed[o])
                code.store(new, code.add(row, column))
            for place, new in zip(places, changed, strict=True):
                code.store(code.get(new), place)

    def change_rows_by_mean(self, inputs_at: Any, n_inputs: Any, mean_at: Any, share: Any) -> None:
        """v_c += share * sum over o of step[o] * u_o;  u_o += step[o] * mean."""
        code, builder = self.code, self.code.builder
        shares = code.everywhere(share)
        steps = [code.load_everywhere(code.add(self.steps_at, 4 * o)) for o in range(self.n_outputs)]
        with code.loop(self.length) as d:
            column = code.times(d, _VECTOR_BYTES)
            mean = code.load(code.add(mean_at, column))
            change = code.constant(0.0)
            for row, step in zip(self.output_rows, steps, strict=True):
                u = code.load(code.add(row, column))
                change = code.multiply_add(step, u, change)
                code.store(code.multiply_add(step, mean, u), code.add(row, column))
            change = builder.fmul(change, shares)
            with code.loop(n_inputs) as c:
                place = code.add(code.load_address(code.add(inputs_at, code.times(c, 8))), column)
                code.store(builder.fadd(code.load(place), change), place)
