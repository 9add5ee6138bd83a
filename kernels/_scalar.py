"""exp and its relatives for Numba loops over float32, which LLVM turns into vector instructions.

`math.exp` and `math.tanh` are calls of a library, one element at a time: ten times slower than all
the rest of a kernel. The functions here are a dozen additions and multiplications without branches.
Numbers are float32 throughout; a plain Python constant would make the whole expression float64.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types

from .dropout.bits import M1, M2

intrinsic: Any = extending.intrinsic
_njit: Any = njit


def helper(**options: Any) -> Any:
    """A function that kernels call and Python does not: compiled without the way in from Python,
    which takes as long to compile as the function."""
    return _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", **options)


f32 = np.float32
ZERO, HALF, ONE, TWO = f32(0), f32(0.5), f32(1), f32(2)
LOWEST = f32(-np.inf)

_LOG2_E = f32(1.4426950408889634)
_LN_2_HIGH = f32(0.693359375)  # few bits: n times it is exact
_LN_2_LOW = f32(-2.1219444e-4)
# Adding 1.5 * 2^23 to a small float rounds it to an integer, which is then in its lowest bits.
_ROUND = f32(12582912.0)
_TOO_LOW, _TOO_HIGH = f32(-87.3), f32(89)  # beyond: 0 and inf
_LARGEST_POWER = f32(127)
# (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/2, fitted: exp is within 1.5e-7 of the truth, relatively.
_C0, _C1, _C2, _C3, _C4 = (
    f32(c) for c in (4.999999345e-1, 1.666652064e-1, 4.166838790e-2, 8.368715407e-3, 1.381460168e-3)
)

_INT = ir.IntType(32)
_FLOAT = ir.FloatType()


@intrinsic
def _two_to(typing_context: Any, t: Any) -> Any:
    """2^n of a float t = _ROUND + n: n is put where floats have their exponent."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _INT)
        biased = builder.add(bits, ir.Constant(_INT, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(_INT, 23)), _FLOAT)

    return types.float32(types.float32), generate


@helper(fastmath={"contract"})
def exp(x: Any) -> Any:
    """exp(x); 0 below -87.3, where float32 runs out of exponents; nan stays nan."""
    bounded = _TOO_HIGH if x > _TOO_HIGH else x
    n = bounded * _LOG2_E
    t = (_LARGEST_POWER if n > _LARGEST_POWER else n) + _ROUND
    n = t - _ROUND
    r = bounded - n * _LN_2_HIGH - n * _LN_2_LOW
    p = _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * r + _C1
    p = p * r + _C0
    p = p * (r * r) + r + ONE
    return ZERO if x < _TOO_LOW else p * _two_to(t)


@helper(fastmath={"contract"})
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return ONE / (ONE + exp(-x))


@intrinsic
def ordered(typing_context: Any, x: Any) -> Any:
    """An int32 that grows as the float does: -inf < ... < -0 < 0 < ... < inf < nan.

    The maximum of integers is vectorised as it stands; that of floats only if LLVM may assume that
    there is no NaN.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _flip(builder, builder.bitcast(args[0], _INT))

    return types.int32(types.float32), generate


@intrinsic
def unordered(typing_context: Any, i: Any) -> Any:
    """The float behind `ordered`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(_flip(builder, args[0]), _FLOAT)

    return types.float32(types.int32), generate


def _flip(builder: Any, bits: Any) -> Any:
    """Negative floats have their smallest bits where they are largest: turn those around."""
    sign = builder.ashr(bits, ir.Constant(_INT, 31))
    return builder.xor(bits, builder.lshr(sign, ir.Constant(_INT, 1)))


@helper()
def largest(x: Any) -> Any:
    """The maximum of a row, nan if there is one in it, -inf if it is empty."""
    most: Any = ordered(LOWEST)
    for i in range(x.size):
        each = ordered(x[i])
        most = each if each > most else most
    return unordered(most)


@intrinsic
def kept(typing_context: Any, start: Any, index: Any, key0: Any, key1: Any, limit: Any) -> Any:
    """Whether dropout keeps the element at position start + index (dropout/bits.py, for positions
    below 2^32). In Numba's arithmetic uint32 would become 64 bits wide at every operation."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start, index, key0, key1, limit = args
        x = builder.xor(builder.add(start, index), key0)
        x = builder.xor(x, builder.lshr(x, ir.Constant(_INT, 16)))
        x = builder.mul(x, ir.Constant(_INT, M1))
        x = builder.xor(x, key1)
        x = builder.xor(x, builder.lshr(x, ir.Constant(_INT, 15)))
        x = builder.mul(x, ir.Constant(_INT, M2))
        x = builder.xor(x, builder.lshr(x, ir.Constant(_INT, 16)))
        return builder.icmp_unsigned(">=", x, limit)

    word = types.uint32
    return types.boolean(word, word, word, word, word), generate
