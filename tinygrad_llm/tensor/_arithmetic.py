"""Operators and elementwise mathematics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.tensor._base import TensorBase, as_array, operands

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


def _binary(function: Any, name: str, a: Any, b: Any) -> Any:
    try:
        return function.apply(*operands(name, a, b))
    except ValueError as error:
        raise _shape_error(name, a, b, error) from None


def _shape_error(name: str, a: Any, b: Any, error: ValueError) -> ValueError:
    """NumPy speaks of operands; say which operation, and both shapes."""
    if "broadcast" not in str(error):
        return error
    return ValueError(
        f"{name}: shapes {np.shape(a)} and {np.shape(b)} cannot be broadcast together; counted "
        f"from the last, sizes must be equal or one of them 1"
    )


class Arithmetic(TensorBase):
    def __add__(self, other: Any) -> Tensor:
        return _binary(ops.Add, "add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _binary(ops.Add, "add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _binary(ops.Sub, "sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _binary(ops.Sub, "sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _binary(ops.Mul, "mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary(ops.Mul, "mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self.div(other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary(ops.Div, "div", other, self._floating())

    def __pow__(self, other: Any) -> Tensor:
        return _binary(ops.Pow, "pow", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _binary(ops.Pow, "pow", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return _binary(ops.Remainder, "remainder", self, other)

    def __floordiv__(self, other: Any) -> Tensor:
        a, b = operands("floor_divide", self, other)
        return self.from_op(np.floor_divide(_raw(a), _raw(b)))

    def __rfloordiv__(self, other: Any) -> Tensor:
        a, b = operands("floor_divide", other, self)
        return self.from_op(np.floor_divide(_raw(a), _raw(b)))

    def __neg__(self) -> Tensor:
        return ops.Neg.apply(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return ops.Abs.apply(self)

    def __matmul__(self, other: Any) -> Tensor:
        return self.matmul(other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self.from_op(as_array("matmul", other)).matmul(self)

    add, sub, mul, pow = __add__, __sub__, __mul__, __pow__
    neg, abs, remainder, floor_divide = __neg__, __abs__, __mod__, __floordiv__

    def div(self, other: Any) -> Tensor:
        """self / other; integers divide to float32."""
        if isinstance(other, TensorBase) and other.dtype.kind != "f":
            other = other._floating() if self.dtype.kind != "f" else other
        return _binary(ops.Div, "div", self._floating(), other)

    def maximum(self, other: Any) -> Tensor:
        return _binary(ops.Maximum, "maximum", self, other)

    def minimum(self, other: Any) -> Tensor:
        return _binary(ops.Minimum, "minimum", self, other)

    # -- comparisons: bool tensors, without gradient --

    def _compare(self, name: str, compare: Any, other: Any) -> Tensor:
        a, b = operands(name, self, other)
        try:
            return self.from_op(compare(_raw(a), _raw(b)))
        except ValueError as error:
            raise _shape_error(name, self, other, error) from None

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self._compare("eq", np.equal, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self._compare("ne", np.not_equal, other)

    def __lt__(self, other: Any) -> Tensor:
        return self._compare("lt", np.less, other)

    def __le__(self, other: Any) -> Tensor:
        return self._compare("le", np.less_equal, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._compare("gt", np.greater, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._compare("ge", np.greater_equal, other)

    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__
    __hash__ = object.__hash__  # by identity: == compares elements

    def _logic(self, name: str, function: Any, other: Any) -> Tensor:
        for x in (self, other):
            if getattr(x, "dtype", np.dtype(type(x))).kind not in "biu":
                raise TypeError(f"{name}: operands are bool or integer, not {x.dtype}")
        a, b = operands(name, self, other)
        return self.from_op(function(_raw(a), _raw(b)))

    def __and__(self, other: Any) -> Tensor:
        return self._logic("and", np.bitwise_and, other)

    def __or__(self, other: Any) -> Tensor:
        return self._logic("or", np.bitwise_or, other)

    def __xor__(self, other: Any) -> Tensor:
        return self._logic("xor", np.bitwise_xor, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    logical_and, logical_or = __and__, __or__

    def __invert__(self) -> Tensor:
        return self.from_op(np.invert(self.array))

    logical_not = __invert__

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
        return ops.Log.apply(self._floating())

    def sqrt(self) -> Tensor:
        return ops.Sqrt.apply(self._floating())

    def rsqrt(self) -> Tensor:
        return ops.Rsqrt.apply(self._floating())

    def square(self) -> Tensor:
        return self * self

    def reciprocal(self) -> Tensor:
        return 1.0 / self

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

    def clamp(self, min: float | None = None, max: float | None = None) -> Tensor:
        """Values below min become min, above max become max; no gradient flows outside."""
        if min is None and max is None:
            raise ValueError("clamp: at least one of min and max must be given")
        floats = isinstance(min, float) or isinstance(max, float)
        return ops.Clamp.apply(self._floating() if floats else self, min=min, max=max)

    clip = clamp

    # -- products --

    def matmul(self, other: Any) -> Tensor:
        """(..., M, K) @ (..., K, N) -> (..., M, N); a 1-d operand is a row or a column."""
        a, b = (
            self,
            other if isinstance(other, TensorBase) else self.from_op(as_array("matmul", other)),
        )
        if a.dtype != b.dtype:
            raise TypeError(f"matmul: operands must have one dtype, not {a.dtype} and {b.dtype}")
        if not a.ndim or not b.ndim:
            raise ValueError(f"matmul: 0-d operand in shapes {a.shape} and {b.shape}; use *")
        row, column = a.ndim == 1, b.ndim == 1
        if a.shape[-1] != b.shape[0 if column else -2]:
            raise ValueError(
                f"matmul: shapes {a.shape} and {b.shape} do not fit: {a.shape[-1]} columns meet "
                f"{b.shape[0 if column else -2]} rows"
            )
        left = a.unsqueeze(0) if row else a  # type: ignore[attr-defined]
        right = b.unsqueeze(1) if column else b  # type: ignore[attr-defined]
        try:
            out = ops.MatMul.apply(left, right)
        except ValueError as error:
            raise _shape_error("matmul", a, b, error) from None
        out = out.squeeze(-2) if row else out
        return out.squeeze(-1) if column else out

    mm = bmm = matmul


def _raw(x: Any) -> Any:
    return x.array if isinstance(x, TensorBase) else x
