"""The code of one window of skip-gram or CBOW, written for a number of output rows and a length of rows.

What ``skipgram`` and ``cbow`` do in plain loops, for float32 rows of a multiple of 16 numbers, in two steps. Between
them a kernel does what depends on neither, so that nothing waits for the last sigmoid.

- scores: inputs two at a time against all output rows, all products in registers, sixteen sums at once; then sigmoid
  and loss of sixteen at once, see :meth:`~vecmill.kernels.vector_code.VectorCode.wrong_and_loss`;
- changes: for sixteen columns after another, the output rows and their changes stay in registers while all inputs
  of the window pass; each input is loaded once and stored once.

Per window of m inputs, R output rows and D columns that is 3·m·R·D multiply-adds, and nothing else that grows so fast.
More than ``MOST_IN_REGISTERS`` output rows pass in blocks of sixteen, and their changes wait in memory for the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vecmill.kernels.vector_code import INT64, LANES, VectorCode

# Up to here blocks, which have rows to spare, are slower than registers that do not hold all rows and what becomes of
# them; code and its compilation grow with the number too.
MOST_IN_REGISTERS = 32

VECTOR_BYTES = LANES * 4


def scores_at_once(n_outputs: int) -> int:
    """Inputs of one block of scores: as many as sixteen sums allow, not more than an even window divides by."""
    return 2 if 2 * n_outputs <= LANES else 1


def padded_outputs(n_outputs: int) -> int:
    """Rows that stand for the outputs, those beyond them being spare rows: as they are, or in whole blocks."""
    return n_outputs if n_outputs <= MOST_IN_REGISTERS else -(-n_outputs // LANES) * LANES


def steps_length(n_inputs: int, n_outputs: int) -> int:
    """float32 that a window's steps take: one an input and output, and what the last store writes beyond."""
    return (n_inputs + scores_at_once(n_outputs)) * padded_outputs(n_outputs) + LANES


def weights_length(n_outputs: int) -> int:
    """float32 of a window's weights: in step with the scores of one block of inputs, in whole vectors."""
    return -(-n_outputs // LANES) * LANES


class _Rows:
    """The output rows of a window: all of them at hand, or in blocks of sixteen."""

    def __init__(self, code: VectorCode, n_outputs: int, n_vectors: int, outputs_at: Any) -> None:
        self.code, self.n_outputs, self.length = code, n_outputs, INT64(n_vectors)
        self.row_bytes = n_vectors * VECTOR_BYTES
        self.n_padded = padded_outputs(n_outputs)
        self.outputs_at = outputs_at
        self.in_blocks = n_outputs > MOST_IN_REGISTERS
        self.output_rows = [] if self.in_blocks else self.rows_of(INT64(0), n_outputs)

    def rows_of(self, first: Any, count: int) -> list[Any]:
        """Addresses of the output rows from ``first`` on."""
        code = self.code
        here = code.add(self.outputs_at, code.times(first, 8))
        return [code.load_address(code.add(here, 8 * o)) for o in range(count)]

    def each_block(self, write: Callable[[Any, list[Any]], None]) -> None:
        """``write(number of the first row, addresses of the rows)`` of each block; once where rows are at hand."""
        if not self.in_blocks:
            write(INT64(0), self.output_rows)
            return
        with self.code.loop(INT64(self.n_padded // LANES)) as block:
            first = self.code.times(block, LANES)
            write(first, self.rows_of(first, LANES))


class Scores(_Rows):
    """The code of a window's first step."""

    def __init__(
        self, code: VectorCode, constants: Sequence[int], outputs_at: Any, weights_at: Any, steps_at: Any, rate: Any
    ) -> None:
        n_outputs, n_vectors = constants
        super().__init__(code, n_outputs, n_vectors, outputs_at)
        self.weights_at, self.steps_at, self.rate = weights_at, steps_at, code.everywhere(rate)
        self.losses = code.variable(code.constant(0.0))

    def of_inputs(self, inputs_at: Any, n_inputs: Any) -> Any:
        code, builder = self.code, self.code.builder
        at_once = scores_at_once(self.n_outputs)
        with code.loop(builder.sdiv(code.add(n_inputs, at_once - 1), INT64(at_once))) as block:
            first = code.times(block, at_once)
            here = code.add(inputs_at, code.times(first, 8))
            rows = [code.load_address(code.add(here, 8 * c)) for c in range(at_once)]
            n_scores = code.times(builder.sub(n_inputs, first), self.n_padded)
            self._score(rows, n_scores, code.add(self.steps_at, code.times(first, 4 * self.n_padded)))
        return code.sum_float64(code.get(self.losses))

    def of_mean(self, inputs_at: Any, n_inputs: Any, mean_at: Any, share: Any) -> Any:
        code, builder = self.code, self.code.builder
        shares = code.everywhere(share)
        with code.loop(self.length) as d:
            column = code.times(d, VECTOR_BYTES)
            total = code.variable(code.constant(0.0))
            with code.loop(n_inputs) as c:
                row = code.load_address(code.add(inputs_at, code.times(c, 8)))
                code.put(builder.fadd(code.get(total), code.load(code.add(row, column))), total)
            code.store(builder.fmul(code.get(total), shares), code.add(mean_at, column))
        self._score([mean_at], INT64(self.n_padded), self.steps_at)
        return code.sum_float64(code.get(self.losses))

    def _score(self, rows: list[Any], n_scores: Any, steps_at: Any) -> None:
        """The steps of some inputs with all outputs, in order of input and output."""
        code, builder = self.code, self.code.builder

        def score_block(first: Any, output_rows: list[Any]) -> None:
            products = self._products(rows, output_rows)
            for start in range(0, len(products), LANES):
                lane = code.add(first, start)
                # the vector may be wider than its block, and the block than what is left of the window
                n_lanes = code.smaller(builder.sub(n_scores, lane), min(len(products) - start, LANES))
                weights = code.load(code.add(self.weights_at, code.times(lane, 4)))
                step = self._steps(products[start : start + LANES], self._signs(first, start), weights, n_lanes)
                code.store(step, code.add(steps_at, code.times(lane, 4)))

        self.each_block(score_block)

    def _products(self, rows: list[Any], output_rows: list[Any]) -> list[Any]:
        """Of each input with each output row, the products of columns; their lanes are not yet added."""
        code = self.code
        places = [code.variable(code.constant(0.0)) for _ in range(len(rows) * len(output_rows))]
        with code.loop(self.length) as d:
            column = code.times(d, VECTOR_BYTES)
            xs = [code.load(code.add(row, column)) for row in rows]
            for o, output_row in enumerate(output_rows):
                u = code.load(code.add(output_row, column))
                for c, x in enumerate(xs):
                    place = places[c * len(output_rows) + o]
                    code.put(code.multiply_add(x, u, code.get(place)), place)
        return [code.get(place) for place in places]

    def _signs(self, first: Any, start: int) -> Any:
        """1 in the lanes of the centre word, which is output 0, and -1 in those of negatives."""
        code = self.code
        if not self.in_blocks:
            return code.constant([1.0 if lane % self.n_outputs == 0 else -1.0 for lane in range(start, start + LANES)])
        is_first = code.builder.icmp_signed("==", first, INT64(0))
        return code.builder.select(is_first, code.constant([1.0] + [-1.0] * (LANES - 1)), code.constant(-1.0))

    def _steps(self, products: list[Any], signs: Any, weights: Any, n_lanes: Any) -> Any:
        """learning_rate * weight * (label - sigmoid(score)) of up to sixteen scores; adds their losses."""
        code, builder = self.code, self.code.builder
        wrong, loss = code.wrong_and_loss(builder.fmul(code.sums(products), signs))
        counted = code.first_lanes(n_lanes, builder.fmul(loss, weights))
        code.put(builder.fadd(code.get(self.losses), counted), self.losses)
        return builder.fmul(builder.fmul(wrong, signs), builder.fmul(weights, self.rate))


class Changes(_Rows):
    """The code of a window's second step."""

    def __init__(
        self, code: VectorCode, constants: Sequence[int], outputs_at: Any, steps_at: Any, keep: Any, limit: Any
    ) -> None:
        n_outputs, n_vectors, decays, clips = constants
        super().__init__(code, n_outputs, n_vectors, outputs_at)
        self.steps_at = steps_at
        self.keep = code.everywhere(keep) if decays else None
        self.limit = code.everywhere(limit) if clips else None
        self.mean_steps: list[Any] = []

    def by_inputs(self, inputs_at: Any, n_inputs: Any, changes_at: Any) -> None:
        if self.in_blocks or self.limit is not None:
            self._by_inputs_in_memory(inputs_at, n_inputs, changes_at)
        else:
            self._by_inputs_in_registers(inputs_at, n_inputs)

    def _by_inputs_in_registers(self, inputs_at: Any, n_inputs: Any) -> None:
        code = self.code
        with code.loop(self.length) as d:
            column = code.times(d, VECTOR_BYTES)
            places = [code.add(row, column) for row in self.output_rows]
            outputs = [code.load(place) for place in places]
            changed = [code.variable(self._kept(u)) for u in outputs]
            with code.loop(n_inputs) as c:
                row = code.load_address(code.add(inputs_at, code.times(c, 8)))
                steps_at = code.add(self.steps_at, code.times(c, 4 * self.n_outputs))
                x = code.load(code.add(row, column))
                new = self._kept(x)
                for o, u in enumerate(outputs):
                    step = code.load_everywhere(code.add(steps_at, 4 * o))
                    new = code.multiply_add(step, u, new)
                    code.put(code.multiply_add(step, x, code.get(changed[o])), changed[o])
                code.store(new, code.add(row, column))
            for place, new in zip(places, changed, strict=True):
                code.store(code.get(new), place)

    def _by_inputs_in_memory(self, inputs_at: Any, n_inputs: Any, changes_at: Any) -> None:
        """One input after another, all columns of it; what the outputs gain waits in ``changes``."""
        code, builder = self.code, self.code.builder
        n_outputs = INT64(self.n_padded)
        change_at = code.add(changes_at, self.n_padded * self.row_bytes)
        with code.loop(builder.mul(n_outputs, self.length)) as d:
            code.store(code.constant(0.0), code.add(changes_at, code.times(d, VECTOR_BYTES)))
        with code.loop(n_inputs) as c:
            row = code.load_address(code.add(inputs_at, code.times(c, 8)))
            input_steps_at = code.add(self.steps_at, code.times(c, 4 * self.n_padded))
            with code.loop(self.length) as d:
                code.store(code.constant(0.0), code.add(change_at, code.times(d, VECTOR_BYTES)))

            def change_block(
                first: Any, output_rows: list[Any], row: Any = row, input_steps_at: Any = input_steps_at
            ) -> None:
                steps_at = code.add(input_steps_at, code.times(first, 4))
                steps = [code.load_everywhere(code.add(steps_at, 4 * o)) for o in range(len(output_rows))]
                block_at = code.add(changes_at, code.times(first, self.row_bytes))
                with code.loop(self.length) as d:
                    column = code.times(d, VECTOR_BYTES)
                    x, change = code.load(code.add(row, column)), code.load(code.add(change_at, column))
                    for o, (step, output_row) in enumerate(zip(steps, output_rows, strict=True)):
                        change = code.multiply_add(step, code.load(code.add(output_row, column)), change)
                        place = code.add(code.add(block_at, o * self.row_bytes), column)
                        code.store(code.multiply_add(step, x, code.load(place)), place)
                    code.store(change, code.add(change_at, column))

            self.each_block(change_block)
            self._change_row(row, change_at)
        with code.loop(n_outputs) as o:
            row = code.load_address(code.add(self.outputs_at, code.times(o, 8)))
            self._change_row(row, code.add(changes_at, code.times(o, self.row_bytes)))

    def by_mean(self, inputs_at: Any, n_inputs: Any, mean_at: Any, share: Any) -> None:
        code, builder = self.code, self.code.builder
        shares = code.everywhere(share)
        output_factor = None
        self.mean_steps = [] if self.in_blocks else self._steps(INT64(0), self.n_outputs)
        if self.limit is not None:
            shares, output_factor = self._clip_by_mean(mean_at, shares)

        def output_steps(first: Any, count: int) -> list[Any]:
            steps = self._steps(first, count)
            return steps if output_factor is None else [builder.fmul(step, output_factor(step)) for step in steps]

        at_hand = [] if self.in_blocks else output_steps(INT64(0), self.n_outputs)
        with code.loop(self.length) as d:
            column = code.times(d, VECTOR_BYTES)
            mean = code.load(code.add(mean_at, column))
            change = builder.fmul(self._mean_change(column), shares)

            def change_block(first: Any, output_rows: list[Any], column: Any = column, mean: Any = mean) -> None:
                places = [code.add(row, column) for row in output_rows]
                old = [] if self.in_blocks else [code.load(place) for place in places]
                for o, (place, step) in enumerate(zip(places, at_hand or output_steps(first, LANES), strict=True)):
                    u = code.load(place) if self.in_blocks else old[o]  # in blocks a row may stand twice
                    code.store(code.multiply_add(step, mean, self._kept(u)), place)

            self.each_block(change_block)
            with code.loop(n_inputs) as c:
                place = code.add(code.load_address(code.add(inputs_at, code.times(c, 8))), column)
                code.store(builder.fadd(self._kept(code.load(place)), change), place)

    def _steps(self, first: Any, count: int) -> list[Any]:
        """Steps of the mean, each in all lanes of a vector."""
        code = self.code
        steps_at = code.add(self.steps_at, code.times(first, 4))
        return [code.load_everywhere(code.add(steps_at, 4 * o)) for o in range(count)]

    def _mean_change(self, column: Any) -> Any:
        """The sum over o of step[o] * u_o in some columns."""
        code = self.code
        total = code.variable(code.constant(0.0))

        def add_block(first: Any, output_rows: list[Any]) -> None:
            change = code.get(total)
            for step, row in zip(self.mean_steps or self._steps(first, LANES), output_rows, strict=True):
                change = code.multiply_add(step, code.load(code.add(row, column)), change)
            code.put(change, total)

        self.each_block(add_block)
        return code.get(total)

    def _clip_by_mean(self, mean_at: Any, shares: Any) -> tuple[Any, Callable[[Any], Any]]:
        """Shares scaled down so that no input changes by more than the limit, and what scales down an output's step."""
        code, builder = self.code, self.code.builder
        squares = [code.variable(code.constant(0.0)) for _ in range(2)]
        with code.loop(self.length) as d:
            column = code.times(d, VECTOR_BYTES)
            change = builder.fmul(self._mean_change(column), shares)
            for x, place in zip((change, code.load(code.add(mean_at, column))), squares, strict=True):
                code.put(code.multiply_add(x, x, code.get(place)), place)
        change_norm, mean_norm = (self._norm(code.get(place)) for place in squares)

        def output_factor(step: Any) -> Any:
            return self._factor(builder.fmul(mean_norm, code.absolute(step)))

        return builder.fmul(shares, self._factor(change_norm)), output_factor

    def _change_row(self, row: Any, change_at: Any) -> None:
        """row = keep * row + change, the change scaled down to the limit."""
        code = self.code
        factor = None
        if self.limit is not None:
            squares = code.variable(code.constant(0.0))
            with code.loop(self.length) as d:
                change = code.load(code.add(change_at, code.times(d, VECTOR_BYTES)))
                code.put(code.multiply_add(change, change, code.get(squares)), squares)
            factor = self._factor(self._norm(code.get(squares)))
        with code.loop(self.length) as d:
            column = code.times(d, VECTOR_BYTES)
            place = code.add(row, column)
            change, old = code.load(code.add(change_at, column)), self._kept(code.load(place))
            new = code.builder.fadd(change, old) if factor is None else code.multiply_add(factor, change, old)
            code.store(new, place)

    def _norm(self, squares: Any) -> Any:
        """In all lanes, the square root of the sum of the lanes."""
        code = self.code
        return code.square_root(code.everywhere(code.first_lane(code.sums([squares]))))

    def _factor(self, norm: Any) -> Any:
        """What scales a change of this norm down to the limit."""
        builder = self.code.builder
        is_longer = builder.fcmp_ordered(">", norm, self.limit)
        return builder.select(is_longer, builder.fdiv(self.limit, norm), self.code.constant(1.0))

    def _kept(self, x: Any) -> Any:
        return x if self.keep is None else self.code.builder.fmul(self.keep, x)
