"""Elementwise mathematics by name, and matrix products."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.tensor._arithmetic import Operators, _binary, shape_error
from tinygrad_llm.tensor._base import TensorBase, as_array, operands

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


class Elementwise(Operators):
    def add(self, other: Any, alpha: float = 1) -> Tensor:
        """self + alpha * other."""
        return self + (other if alpha == 1 else other * alpha)

    def sub(self, other: Any, alpha: float = 1) -> Tensor:
        """self - alpha * other."""
        return self - (other if alpha == 1 else other * alpha)

    def mul(self, other: Any) -> Tensor:
        return self * other

    def div(self, other: Any) -> Tensor:
        """self / other; integers divide to float32."""
        return self / other

    def pow(self, exponent: Any) -> Tensor:
        return self**exponent

    def remainder(self, other: Any) -> Tensor:
        """self - floor(self / other) * other: it has the sign of other."""
        return self % other

    def floor_divide(self, other: Any) -> Tensor:
        return self // other

    def neg(self) -> Tensor:
        return -self

    def abs(self) -> Tensor:
        return ops.Abs.apply(self)

    def maximum(self, other: Any) -> Tensor:
        return _binary(ops.Maximum, "maximum", self, other)

    def minimum(self, other: Any) -> Tensor:
        return _binary(ops.Minimum, "minimum", self, other)

    def eq(self, other: Any) -> Tensor:
        return self == other

    def ne(self, other: Any) -> Tensor:
        return self != other

    def lt(self, other: Any) -> Tensor:
        return self < other

    def le(self, other: Any) -> Tensor:
        return self <= other

    def gt(self, other: Any) -> Tensor:
        return self > other

    def ge(self, other: Any) -> Tensor:
        return self >= other

    def equal(self, other: Tensor) -> builtins.bool:
        """Whether shape and all elements are equal, as one Python bool."""
        return self.shape == other.shape and builtins.bool((self.array == other.array).all())

    def allclose(
        self, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
    ) -> builtins.bool:
        """Whether |self - other| <= atol + rtol |other| everywhere, as one Python bool."""
        return builtins.bool(
            np.allclose(self.array, as_array("allclose", other), rtol, atol, equal_nan)
        )

    def logical_not(self) -> Tensor:
        return self.from_op(np.logical_not(self.array))

    def logical_and(self, other: Any) -> Tensor:
        return self.from_op(np.logical_and(self.array, as_array("logical_and", other)))

    def logical_or(self, other: Any) -> Tensor:
        return self.from_op(np.logical_or(self.array, as_array("logical_or", other)))

    def logical_xor(self, other: Any) -> Tensor:
        return self.from_op(np.logical_xor(self.array, as_array("logical_xor", other)))

    def isnan(self) -> Tensor:
        return self.from_op(np.isnan(self.array))

    def isinf(self) -> Tensor:
        return self.from_op(np.isinf(self.array))

    def isfinite(self) -> Tensor:
        return self.from_op(np.isfinite(self.array))

    # -- one argument --

    def exp(self) -> Tensor:
        return ops.Exp.apply(self._floating())

    def log(self) -> Tensor:
        """The natural logarithm; -inf at 0."""
        return ops.Log.apply(self._floating())

    def sqrt(self) -> Tensor:
        return ops.Sqrt.apply(self._floating())

    def rsqrt(self) -> Tensor:
        """1 / sqrt(x)."""
        return ops.Rsqrt.apply(self._floating())

    def square(self) -> Tensor:
        x: Any = self.long() if self.array.dtype.kind == "b" else self  # type: ignore[attr-defined]
        return x * x

    def reciprocal(self) -> Tensor:
        return 1.0 / self  # type: ignore[return-value]

    def sin(self) -> Tensor:
        return ops.Sin.apply(self._floating())

    def cos(self) -> Tensor:
        return ops.Cos.apply(self._floating())

    def tanh(self) -> Tensor:
        return ops.Tanh.apply(self._floating())

    def sigmoid(self) -> Tensor:
        return ops.Sigmoid.apply(self._floating())

    def relu(self) -> Tensor:
        return ops.Relu.apply(self)

    def sign(self) -> Tensor:
        """-1, 0 or 1; its slope is 0, so there is no gradient."""
        return self.from_op(np.sign(self.array))

    def floor(self) -> Tensor:
        return self.from_op(np.floor(self.array))

    def ceil(self) -> Tensor:
        return self.from_op(np.ceil(self.array))

    def round(self) -> Tensor:
        """To the nearest integer, halves to the even one."""
        return self.from_op(np.round(self.array))

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """Values below min become min, above max become max; no gradient flows outside.

        The bounds are numbers, or tensors that are broadcast (and then get the gradient there).
        """
        if min is None and max is None:
            raise ValueError("clamp: at least one of min and max must be given")
        if isinstance(min, TensorBase) or isinstance(max, TensorBase):
            out: Any = self if min is None else self.maximum(min)
            return out if max is None else out.minimum(max)
        floats = isinstance(min, float) or isinstance(max, float)
        return ops.Clamp.apply(self._floating() if floats else self, min=min, max=max)

    clip = clamp

    # -- products --

    def matmul(self, other: Any) -> Tensor:
        """(..., M, K) @ (..., K, N) -> (..., M, N); a 1-d operand is a row or a column."""
        if not isinstance(other, TensorBase):
            _, other = operands("matmul", self, other)
            if not isinstance(other, TensorBase):
                raise TypeError("matmul: the other operand is a number; use *")
        a, b = self.array, other.array
        if a.dtype != b.dtype:
            raise TypeError(f"matmul: operands must have one dtype, not {a.dtype} and {b.dtype}")
        if a.ndim < 2 or b.ndim < 2:
            return self._vector_product(other)
        if a.shape[-1] != b.shape[-2]:
            raise _does_not_fit(a.shape, b.shape)
        try:
            return ops.MatMul.apply(self, other)
        except ValueError as error:
            raise shape_error("matmul", (self, other), error) from None

    def _vector_product(self, other: Any) -> Tensor:
        """matmul of a row and/or a column: an axis of length 1 comes and goes."""
        if not self.ndim or not other.ndim:
            raise ValueError(f"matmul: 0-d operand in shapes {self.shape} and {other.shape}; use *")
        row, column = self.ndim == 1, other.ndim == 1
        if self.shape[-1] != other.shape[0 if column else -2]:
            raise _does_not_fit(self.shape, other.shape)
        left = self.unsqueeze(0) if row else self  # type: ignore[attr-defined]
        out = left.matmul(other.unsqueeze(1) if column else other)
        out = out.squeeze(-2) if row else out
        return out.squeeze(-1) if column else out

    def mm(self, mat2: Tensor) -> Tensor:
        """Product of two matrices, (M, K) @ (K, N)."""
        return self._product_of_ndim("mm", 2, mat2)

    def bmm(self, mat2: Tensor) -> Tensor:
        """Products of two batches of matrices, (B, M, K) @ (B, K, N)."""
        return self._product_of_ndim("bmm", 3, mat2)

    def _product_of_ndim(self, name: str, ndim: int, other: Tensor) -> Tensor:
        if self.ndim != ndim or other.ndim != ndim or self.shape[:-2] != other.shape[:-2]:
            raise ValueError(
                f"{name}: shapes {self.shape} and {other.shape} are not accepted; both must have "
                f"{ndim} axes" + (" and one batch size" if ndim == 3 else "") + ", or use matmul"
            )
        return self.matmul(other)

    def dot(self, other: Tensor) -> Tensor:
        """Sum of the products of two 1-d tensors."""
        return self._product_of_ndim("dot", 1, other)


def _does_not_fit(a: tuple[int, ...], b: tuple[int, ...]) -> ValueError:
    rows = b[-2] if len(b) > 1 else b[0]
    return ValueError(f"matmul: shapes {a} and {b} do not fit: {a[-1]} columns meet {rows} rows")
