"""Small matrix products inside kernels: a tile of the result stays in vector registers.

c (+)= a b is made in tiles of ROWS x 2 LANES elements. For every k the tile needs two vectors of a
row of b, and ROWS single elements of a column of a; from those 2 + ROWS loads it makes 2 ROWS fused
multiply-adds, so that arithmetic, not loading, is the limit (Goto and van de Geijn, "Anatomy of
high-performance matrix multiplication", 2008). LLVM does not find this form in plain loops, so the
instructions are written out here.
"""

from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, types
from numba.core import cgutils

from ._scalar import helper, intrinsic

# Numba compiles a helper anew for each plain integer that it is called with; not for NumPy's.
FIRST, UNIT = np.int64(0), np.int64(1)
ROWS = np.int64(4)
# The tile takes 2 ROWS registers; an AVX2 processor has 16 of 8 floats, AVX512 32 of 16.
_WIDTH = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
LANES = np.int64(_WIDTH)
PANEL = np.int64(2 * _WIDTH)

_INT = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), _WIDTH)
_CONTRACT = ("contract",)


def _tile(vectors: int, accumulate: bool) -> Any:
    """An intrinsic for one tile of ROWS x (vectors LANES); it adds to c or overwrites it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_step, depth = args
        c, a, b = (
            context.make_array(kind)(context, builder, x).data
            for kind, x in zip((signature.args[i] for i in (0, 3, 7)), (c, a, b), strict=True)
        )

        def number(i: int) -> Any:
            return ir.Constant(_INT, i)

        def at(base: Any, index: Any) -> Any:
            return builder.gep(base, [index])

        def vector(pointer: Any) -> Any:
            return builder.bitcast(pointer, _VECTOR.as_pointer())

        zero = ir.Constant(_VECTOR, [0.0] * _WIDTH)
        tile = [
            (
                cgutils.alloca_once(builder, _VECTOR),
                vector(
                    at(
                        c,
                        builder.add(
                            builder.add(c_at, number(v * _WIDTH)), builder.mul(c_row, number(r))
                        ),
                    )
                ),
            )
            for r in range(int(ROWS))
            for v in range(vectors)
        ]
        for register, memory in tile:
            builder.store(builder.load(memory, align=4) if accumulate else zero, register)
        with cgutils.for_range(builder, depth, intp=_INT) as loop:
            b_here = builder.add(b_at, builder.mul(loop.index, b_step))
            a_here = builder.add(a_at, builder.mul(loop.index, a_step))
            bs = [
                builder.load(vector(at(b, builder.add(b_here, number(v * _WIDTH)))), align=4)
                for v in range(vectors)
            ]
            for r in range(int(ROWS)):
                element = builder.load(
                    at(a, builder.add(a_here, builder.mul(a_row, number(r)))), align=4
                )
                spread = builder.shuffle_vector(
                    builder.insert_element(
                        ir.Constant(_VECTOR, ir.Undefined), element, ir.IntType(32)(0)
                    ),
                    ir.Constant(_VECTOR, ir.Undefined),
                    ir.Constant(ir.VectorType(ir.IntType(32), _WIDTH), [0] * _WIDTH),
                )
                for v in range(vectors):
                    register, _ = tile[r * vectors + v]
                    product = builder.fmul(spread, bs[v], flags=_CONTRACT)
                    builder.store(
                        builder.fadd(builder.load(register), product, flags=_CONTRACT), register
                    )
        for register, memory in tile:
            builder.store(builder.load(register), memory, align=4)
        return context.get_dummy_value()

    def tile(
        typing_context: Any, c: Any, c_at: Any, c_row: Any, a: Any, a_at: Any, a_row: Any,
        a_step: Any, b: Any, b_at: Any, b_step: Any, depth: Any,
    ) -> Any:  # fmt: skip
        n = types.intp
        return types.void(c, n, n, a, n, n, n, b, n, n, n), generate

    return intrinsic(tile)


_set_two, _set_one = _tile(2, False), _tile(1, False)
_add_two, _add_one = _tile(2, True), _tile(1, True)


@helper()
def product(c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_step, columns, depth):  # type: ignore[no-untyped-def]
    """ROWS rows of c = a b: c[c_at + i c_row + j] = sum_k a[a_at + i a_row + k a_step] *
    b[b_at + k b_step + j], for j < columns, a multiple of LANES. All arrays are flat."""
    whole = columns // PANEL * PANEL
    for j in range(0, whole, PANEL):
        _set_two(c, c_at + j, c_row, a, a_at, a_row, a_step, b, b_at + j, b_step, depth)
    if whole < columns:
        _set_one(c, c_at + whole, c_row, a, a_at, a_row, a_step, b, b_at + whole, b_step, depth)


@helper()
def add_product(c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_step, columns, depth):  # type: ignore[no-untyped-def]
    """The same, added to c."""
    whole = columns // PANEL * PANEL
    for j in range(0, whole, PANEL):
        _add_two(c, c_at + j, c_row, a, a_at, a_row, a_step, b, b_at + j, b_step, depth)
    if whole < columns:
        _add_one(c, c_at + whole, c_row, a, a_at, a_row, a_step, b, b_at + whole, b_step, depth)


@intrinsic
def _as_pointer(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(types.intp), generate


@helper()
def memory(address, size):  # type: ignore[no-untyped-def]
    """The floats at an address, as a flat array: strided arrays are walked through by hand."""
    return carray(_as_pointer(address), size, np.float32)
