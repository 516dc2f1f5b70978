"""The arithmetic of the subword kernels as vector instructions, made for a given length of row.

What ``subword_rows`` does in plain loops, for float32 rows of a multiple of 16 numbers. Matrices are given by the
address of their first row, rows by int32 numbers. Columns are taken in groups of up to eight vectors that stay in
registers while the rows pass, so that a row is read from its beginning to its end and its sum is stored once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from vecmill.kernels.vector_code import INT32, INT64, INT_VECTOR, LANES, VectorCode

# Outputs whose products are summed side by side, at most; a window has few more than twice as many.
LARGEST_BLOCK = 8

# Code is written out for each vector of a row, so its size grows with the row; longer rows are left to plain loops.
MOST_VECTORS = 64

VECTOR_BYTES = LANES * 4
_GROUP = 8


@intrinsic(prefer_literal=True)
def sum_rows_at(
    typing_context: Any, n_vectors: Any, matrix: Any, row_ids: Any, n_rows: Any, share: Any, total: Any
) -> Any:
    """total = share * sum of the rows.

    Parameters
    ----------
    n_vectors : a constant, length of a row over 16
    matrix : address of the first row;  row_ids : address of int32[n_rows];  share : float32
    total : address of a row, to be overwritten
    """
    if not isinstance(n_vectors, types.IntegerLiteral):
        return None
    length = n_vectors.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, matrix_at, ids_at, count, share, total_at = arguments
        rows = Rows(VectorCode(builder), length, matrix_at)
        shares = rows.code.everywhere(share)
        for columns in rows.groups():
            totals = [rows.code.variable(rows.code.constant(0.0)) for _ in columns]
            with rows.each(ids_at, count) as (row, _):
                for place, column in zip(totals, columns, strict=True):
                    summed = builder.fadd(rows.code.get(place), rows.code.load(rows.code.add(row, column)))
                    rows.code.put(summed, place)
            for place, column in zip(totals, columns, strict=True):
                rows.code.store(builder.fmul(rows.code.get(place), shares), rows.code.add(total_at, column))
        return context.get_dummy_value()

    return types.void(n_vectors, *[types.int64] * 3, types.float32, types.int64), code


@intrinsic(prefer_literal=True)
def add_to_rows_at(typing_context: Any, n_vectors: Any, matrix: Any, row_ids: Any, n_rows: Any, change: Any) -> Any:
    """Add the row at the address ``change`` to each of the rows, twice where a row comes twice.

    Others are those of :func:`sum_rows_at`.
    """
    if not isinstance(n_vectors, types.IntegerLiteral):
        return None
    length = n_vectors.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, matrix_at, ids_at, count, change_at = arguments
        rows = Rows(VectorCode(builder), length, matrix_at)
        for columns in rows.groups():
            changes = [rows.code.load(rows.code.add(change_at, column)) for column in columns]
            with rows.each(ids_at, count) as (row, _):
                for change, column in zip(changes, columns, strict=True):
                    place = rows.code.add(row, column)
                    rows.code.store(builder.fadd(rows.code.load(place), change), place)
        return context.get_dummy_value()

    return types.void(n_vectors, *[types.int64] * 4), code


@intrinsic(prefer_literal=True)
def add_multiples_at(
    typing_context: Any, n_vectors: Any, matrix: Any, row_ids: Any, n_rows: Any, factors: Any, change: Any
) -> Any:
    """Add ``change`` times factors[r] (address of float32[n_rows]) to row r; others as in :func:`sum_rows_at`."""
    if not isinstance(n_vectors, types.IntegerLiteral):
        return None
    length = n_vectors.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, matrix_at, ids_at, count, factors_at, change_at = arguments
        rows = Rows(VectorCode(builder), length, matrix_at)
        for columns in rows.groups():
            changes = [rows.code.load(rows.code.add(change_at, column)) for column in columns]
            with rows.each(ids_at, count) as (row, r):
                factor = rows.code.load_everywhere(rows.code.add(factors_at, rows.code.times(r, 4)))
                for change, column in zip(changes, columns, strict=True):
                    place = rows.code.add(row, column)
                    rows.code.store(rows.code.multiply_add(factor, change, rows.code.load(place)), place)
        return context.get_dummy_value()

    return types.void(n_vectors, *[types.int64] * 5), code


@intrinsic(prefer_literal=True)
def learn_outputs_at(
    typing_context: Any,
    n_vectors: Any,
    block: Any,
    matrix: Any,
    output_ids: Any,
    weights: Any,
    steps: Any,
    n_outputs: Any,
    learning_rate: Any,
    input_row: Any,
    input_change: Any,
) -> Any:
    """``subword_rows.learn_outputs`` by blocks of outputs; returns the loss, float64.

    Parameters
    ----------
    n_vectors, block : constants: length of a row over 16, outputs of a block, at most LARGEST_BLOCK
    matrix : address of the first output row
    output_ids, weights, steps : addresses of int32 and twice float32[outputs_length(n_outputs)]; what stands in the
        first two from n_outputs on, and in the last one, is overwritten
    n_outputs : at least 1
    learning_rate : float32
    input_row, input_change : addresses of rows, the second to be overwritten
    """
    if not (isinstance(n_vectors, types.IntegerLiteral) and isinstance(block, types.IntegerLiteral)):
        return None
    length, width = n_vectors.literal_value, block.literal_value

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, matrix_at, ids_at, weights_at, steps_at, count, rate, input_at, change_at = arguments
        rows = Rows(VectorCode(builder), length, matrix_at)
        outputs = _Outputs(rows, width, ids_at, weights_at, steps_at, input_at, change_at)
        outputs.fill_up(count)
        n_blocks = builder.sdiv(rows.code.add(count, width - 1), INT64(width))
        outputs.score(n_blocks)
        loss = outputs.take_steps(n_blocks, rate)
        outputs.change(n_blocks)
        return loss

    return types.float64(n_vectors, block, *[types.int64] * 5, types.float32, *[types.int64] * 2), code


def outputs_length(n_outputs: int) -> int:
    """Entries of each array of outputs that :func:`learn_outputs_at` needs for up to ``n_outputs`` of them."""
    return n_outputs + 2 * LANES


class Rows:
    """Rows of one matrix, all columns in groups."""

    def __init__(self, code: VectorCode, length: int, matrix_at: Any) -> None:
        self.code, self.length, self.matrix_at = code, length, matrix_at

    def groups(self) -> list[list[int]]:
        """Byte offsets of the vectors of a row, in groups as even as they come."""
        n_groups = -(-self.length // _GROUP)
        cuts = [self.length * i // n_groups for i in range(n_groups + 1)] if n_groups else []
        return [[VECTOR_BYTES * c for c in range(a, b)] for a, b in pairwise(cuts)]

    def address(self, ids_at: Any) -> Any:
        """The address of the row whose number stands at an address."""
        builder = self.code.builder
        row_id = builder.load(builder.inttoptr(ids_at, ir.PointerType()), align=4, typ=INT32)
        return builder.add(self.matrix_at, self.code.times(builder.sext(row_id, INT64), self.length * VECTOR_BYTES))

    @contextmanager
    def each(self, ids_at: Any, count: Any) -> Iterator[tuple[Any, Any]]:
        """Rows one after another: address and place in the list."""
        with self.code.loop(count) as r:
            yield self.address(self.code.add(ids_at, self.code.times(r, 4))), r


class _Outputs:
    """The three parts of learning from a list of outputs."""

    def __init__(
        self, rows: Rows, width: int, ids_at: Any, weights_at: Any, steps_at: Any, input_at: Any, change_at: Any
    ) -> None:
        self.rows, self.code, self.width = rows, rows.code, width
        self.ids_at, self.weights_at, self.steps_at = ids_at, weights_at, steps_at
        self.input_at, self.change_at = input_at, change_at

    def fill_up(self, count: Any) -> None:
        """The last block's missing outputs are the first one again, with weights of zero."""
        code, builder = self.code, self.code.builder
        after = code.times(count, 4)
        for beyond in (0, VECTOR_BYTES):  # the last block, and then the last vector, end less than 8 + 16 after them
            code.store(code.constant(0.0), code.add(code.add(self.weights_at, after), beyond))
        first = builder.load(builder.inttoptr(self.ids_at, ir.PointerType()), align=4, typ=INT32)
        one = builder.insert_element(ir.Constant(INT_VECTOR, ir.Undefined), first, INT32(0))
        zeros = ir.Constant(INT_VECTOR, [0] * LANES)
        filler = builder.shuffle_vector(one, ir.Constant(INT_VECTOR, ir.Undefined), zeros)
        builder.store(filler, builder.inttoptr(code.add(self.ids_at, after), ir.PointerType()), align=4)

    def _addresses(self, block: Any) -> list[Any]:
        ids_at = self.code.add(self.ids_at, self.code.times(block, 4 * self.width))
        return [self.rows.address(self.code.add(ids_at, 4 * o)) for o in range(self.width)]

    def score(self, n_blocks: Any) -> None:
        """steps[o] = input · u_o"""
        code = self.code
        with code.loop(n_blocks) as block:
            addresses = self._addresses(block)
            products = [code.constant(0.0)] * self.width
            for column in range(0, self.rows.length * VECTOR_BYTES, VECTOR_BYTES):
                x = code.load(code.add(self.input_at, column))
                products = [
                    code.multiply_add(x, code.load(code.add(row, column)), product)
                    for row, product in zip(addresses, products, strict=True)
                ]
            # what is stored beyond the block's own is written over by the next one, or never looked at
            code.store(code.sums(products), code.add(self.steps_at, code.times(block, 4 * self.width)))

    def take_steps(self, n_blocks: Any, rate: Any) -> Any:
        """steps[o] = learning_rate * weight_o * (1 - sigmoid(±score_o)); returns the loss."""
        code, builder = self.code, self.code.builder
        rates, zero = code.everywhere(rate), code.constant(0.0)
        losses = code.variable(zero)
        n_rounds = builder.sdiv(code.add(code.times(n_blocks, self.width), LANES - 1), INT64(LANES))
        with code.loop(n_rounds) as part:
            at = code.times(part, 4 * LANES)
            weights = code.load(code.add(self.weights_at, at))
            scores_at = code.add(self.steps_at, at)
            counts = builder.fcmp_unordered("!=", weights, zero)
            is_negative = builder.fcmp_ordered("<", weights, zero)
            score = builder.select(counts, code.load(scores_at), zero)
            flipped = builder.fsub(zero, score)
            wrong, loss = code.wrong_and_loss(builder.select(is_negative, flipped, score))
            sizes = builder.select(is_negative, builder.fsub(zero, weights), weights)
            code.store(builder.fmul(builder.fmul(wrong, weights), rates), scores_at)
            code.put(code.multiply_add(loss, sizes, code.get(losses)), losses)
        return code.sum_float64(code.get(losses))

    def change(self, n_blocks: Any) -> None:
        """input_change = sum of steps[o] * u_o;  u_o += steps[o] * input, one output after another."""
        code = self.code
        columns = range(0, self.rows.length * VECTOR_BYTES, VECTOR_BYTES)
        for column in columns:
            code.store(code.constant(0.0), code.add(self.change_at, column))
        with code.loop(n_blocks) as block:
            addresses = self._addresses(block)
            steps_at = code.add(self.steps_at, code.times(block, 4 * self.width))
            steps = [code.load_everywhere(code.add(steps_at, 4 * o)) for o in range(self.width)]
            for column in columns:
                x = code.load(code.add(self.input_at, column))
                change_at = code.add(self.change_at, column)
                change = code.load(change_at)
                for row, step in zip(addresses, steps, strict=True):
                    place = code.add(row, column)
                    u = code.load(place)  # after the store of the one before: it may be the same row
                    change = code.multiply_add(step, u, change)
                    code.store(code.multiply_add(step, x, u), place)
                code.store(change, change_at)
