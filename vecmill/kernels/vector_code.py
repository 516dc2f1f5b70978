"""Vectors of 16 float32 as LLVM instructions: what numba's own loops cannot be made to do.

A vector is one AVX-512 register; elsewhere LLVM splits it into as many registers as it takes. Written by hand because
the automatic vectoriser sums each dot product by itself, and computes sigmoids one at a time from a table: sixteen
sums at once take three instructions each rather than eight, and sixteen sigmoids about as many as two look-ups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils

LANES = 16

FLOAT, DOUBLE, INT32, INT64 = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)
VECTOR, INT_VECTOR = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)

# Fits on Chebyshev nodes: 2**f on [-1/2, 1/2] within 1.1e-7; log1p(e) / e on [0, 1], so that log1p is within 1.4e-7
_EXP2 = (1.00000008, 0.693147207, 0.240221074, 0.0555032721, 0.0096760371, 0.00134004322)
_LOG1P = (0.99999981, -0.499974494, 0.332761766, -0.244996117, 0.17757024, -0.107853679, 0.0442141922, -0.00857467618)
_LOG2_E = 1.4426950408889634
_LARGEST_EXPONENT = 87.0  # exp(-87) is still a normal float32


class VectorCode:
    """Writes vector instructions where an LLVM builder stands. Addresses are 64-bit integers, in bytes.

    The flags of ``jit.FASTMATH_FLAGS`` are added by numba to whatever is written here: that is what makes one
    instruction of :meth:`multiply_add`, and why nothing may rest on the order of additions.
    """

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    # memory

    def load(self, address: Any) -> Any:
        return self.builder.load(self._pointer(address), align=4, typ=VECTOR)

    def store(self, vector: Any, address: Any) -> None:
        self.builder.store(vector, self._pointer(address), align=4)

    def load_everywhere(self, address: Any) -> Any:
        """One float32 in all lanes."""
        return self.everywhere(self.builder.load(self._pointer(address), align=4, typ=FLOAT))

    def load_address(self, address: Any) -> Any:
        return self.builder.load(self._pointer(address), align=8, typ=INT64)

    def prefetch(self, address: Any) -> None:
        function_type = ir.FunctionType(ir.VoidType(), [ir.PointerType(), INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, "llvm.prefetch.p0")
        # to be written, in all cache levels, data
        self.builder.call(function, [self._pointer(address), INT32(1), INT32(3), INT32(1)])

    def _pointer(self, address: Any) -> Any:
        return self.builder.inttoptr(address, ir.PointerType())

    # numbers and loops

    def add(self, address: Any, n_bytes: Any) -> Any:
        return self.builder.add(address, INT64(n_bytes) if isinstance(n_bytes, int) else n_bytes)

    def times(self, number: Any, factor: int) -> Any:
        return self.builder.mul(number, INT64(factor))

    def smaller(self, number: Any, limit: int) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", number, INT64(limit)), number, INT64(limit))

    @contextmanager
    def loop(self, count: Any) -> Iterator[Any]:
        with cgutils.for_range(self.builder, count) as loop:
            yield loop.index

    def variable(self, value: Any) -> Any:
        """A place for a value that changes in a loop; becomes a register."""
        place = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, place)
        return place

    def get(self, place: Any, of: Any = VECTOR) -> Any:
        return self.builder.load(place, typ=of)

    def put(self, value: Any, place: Any) -> None:
        self.builder.store(value, place)

    # arithmetic

    def everywhere(self, scalar: Any) -> Any:
        one = self.builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, INT32(0))
        return self.builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), ir.Constant(INT_VECTOR, [0] * LANES))

    def constant(self, numbers: float | Sequence[float]) -> Any:
        values = [numbers] * LANES if isinstance(numbers, float) else list(numbers)
        return ir.Constant(VECTOR, [FLOAT(value) for value in values])

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c"""
        return self.builder.fadd(self.builder.fmul(a, b), c)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """The coefficients from the constant upwards; Horner's scheme."""
        value = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            value = self.multiply_add(value, x, self.constant(coefficient))
        return value

    def sums(self, vectors: Sequence[Any]) -> Any:
        """A vector whose lane k is the sum of the lanes of vectors[k]; up to 16 of them, other lanes mean nothing.

        Each round adds the halves of two vectors at once, first inside quarters of a register and then across.
        """
        left: list[Any] = list(vectors)
        for low, high in _ROUNDS:
            left = [
                self._add_halves(left[i], left[i + 1] if i + 1 < len(left) else None, low, high)
                for i in range(0, len(left), 2)
            ]
        return left[0]

    def _add_halves(self, a: Any, b: Any, low: list[int], high: list[int]) -> Any:
        b = ir.Constant(VECTOR, ir.Undefined) if b is None else b
        halves = [self.builder.shuffle_vector(a, b, ir.Constant(INT_VECTOR, lanes)) for lanes in (low, high)]
        return self.builder.fadd(*halves)

    def first_lane(self, vector: Any) -> Any:
        return self.builder.extract_element(vector, INT32(0))

    def square_root(self, vector: Any) -> Any:
        function_type = ir.FunctionType(VECTOR, [VECTOR])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, "llvm.sqrt.v16f32")
        return self.builder.call(function, [vector])

    def sum_float64(self, vector: Any) -> Any:
        """The sum of all lanes, added in float64."""
        wide = self.builder.fpext(vector, ir.VectorType(DOUBLE, LANES))
        length = LANES
        while length > 1:
            length //= 2
            lanes_type = ir.VectorType(INT32, length)
            low, high = (
                self.builder.shuffle_vector(
                    wide,
                    ir.Constant(wide.type, ir.Undefined),
                    ir.Constant(lanes_type, list(range(start, start + length))),
                )
                for start in (0, length)
            )
            wide = self.builder.fadd(low, high)
        return self.builder.extract_element(wide, INT32(0))

    def first_lanes(self, count: Any, vector: Any) -> Any:
        """The vector with zeros from lane ``count`` (int64) on."""
        count = self.builder.trunc(count, INT32)
        one = self.builder.insert_element(ir.Constant(INT_VECTOR, ir.Undefined), count, INT32(0))
        counts = self.builder.shuffle_vector(
            one, ir.Constant(INT_VECTOR, ir.Undefined), ir.Constant(INT_VECTOR, [0] * LANES)
        )
        inside = self.builder.icmp_signed("<", ir.Constant(INT_VECTOR, list(range(LANES))), counts)
        return self.builder.select(inside, vector, self.constant(0.0))

    def wrong_and_loss(self, score: Any) -> tuple[Any, Any]:
        """1 - sigmoid(score) within 2e-7, and -log sigmoid(score) within 3e-7, which is not finite where score is not.

        With e = exp(-|z|): sigmoid(-z) = e / (1 + e) or 1 / (1 + e), -log sigmoid(z) = log1p(e) + max(-z, 0).
        """
        builder = self.builder
        size = self.absolute(score)
        e = self._exp_of_minus(size)
        is_right = builder.fcmp_ordered(">=", score, self.constant(0.0))
        wrong = builder.fdiv(builder.select(is_right, e, self.constant(1.0)), builder.fadd(e, self.constant(1.0)))
        # max(-z, 0) in a form that lets NaN through, and makes NaN of infinity
        beyond = builder.fmul(builder.fsub(size, score), self.constant(0.5))
        return wrong, self.multiply_add(e, self.polynomial(e, _LOG1P), beyond)

    def absolute(self, x: Any) -> Any:
        bits = self.builder.and_(self.builder.bitcast(x, INT_VECTOR), ir.Constant(INT_VECTOR, [0x7FFFFFFF] * LANES))
        return self.builder.bitcast(bits, VECTOR)

    def _exp_of_minus(self, size: Any) -> Any:
        """exp(-size) for size >= 0: 2**n times a polynomial of the rest, n the nearest whole number.

        NaN is taken for a large number, as turning it into a whole number is undefined.
        """
        builder = self.builder
        limit = self.constant(_LARGEST_EXPONENT)
        size = builder.select(builder.fcmp_ordered("<", size, limit), size, limit)
        power = builder.fmul(size, self.constant(-_LOG2_E))
        round_type = ir.FunctionType(VECTOR, [VECTOR])
        n = builder.call(cgutils.get_or_insert_function(builder.module, round_type, "llvm.rint.v16f32"), [power])
        biased = builder.add(builder.fptosi(n, INT_VECTOR), ir.Constant(INT_VECTOR, [127] * LANES))
        scale = builder.bitcast(builder.shl(biased, ir.Constant(INT_VECTOR, [23] * LANES)), VECTOR)
        return builder.fmul(self.polynomial(builder.fsub(power, n), _EXP2), scale)


def _by_quarters(lanes: Sequence[int]) -> list[int]:
    """The same four lanes of each quarter; 4 to 7 are those of the second vector."""
    return [(lane % 4) + 4 * quarter + LANES * (lane // 4) for quarter in range(4) for lane in lanes]


def _whole_quarters(quarters: Sequence[int]) -> list[int]:
    """Whole quarters; 4 to 7 are those of the second vector."""
    return [4 * quarter + lane for quarter in quarters for lane in range(4)]


_ROUNDS = (
    (_by_quarters((0, 4, 1, 5)), _by_quarters((2, 6, 3, 7))),
    (_by_quarters((0, 1, 4, 5)), _by_quarters((2, 3, 6, 7))),
    (_whole_quarters((0, 1, 4, 5)), _whole_quarters((2, 3, 6, 7))),
    (_whole_quarters((0, 2, 4, 6)), _whole_quarters((1, 3, 5, 7))),
)
