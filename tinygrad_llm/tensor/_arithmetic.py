"""Operators and elementwise mathematics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.tensor._base import TensorBase, operands, raw

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


def _binary(function: Any, name: str, a: Any, b: Any) -> Any:
    """function of two operands, brought to one dtype."""
    # The usual case first, without a call: two tensors of one dtype (NumPy's are singletons).
    if not (
        isinstance(a, TensorBase) and isinstance(b, TensorBase) and a.array.dtype is b.array.dtype
    ):
        a, b = operands(name, a, b)
    try:
        return function.apply(a, b)
    except ValueError as error:
        raise shape_error(name, (a, b), error) from None


def shape_error(name: str, given: tuple[Any, ...], error: ValueError) -> ValueError:
    """NumPy speaks of operands; say which operation, and their shapes."""
    if "broadcast" not in str(error):
        return ValueError(f"{name}: {error}")
    shapes = " and ".join(str(x.shape) for x in given if hasattr(x, "shape"))
    return ValueError(
        f"{name}: shapes {shapes} cannot be broadcast together; counted from the last, "
        f"sizes must be equal or one of them 1"
    )


def _no_zero_divisor(name: str, a: Any, b: Any) -> None:
    """NumPy would only warn and answer 0 for integers."""
    tensor = a if isinstance(a, TensorBase) else b
    if tensor.array.dtype.kind != "f" and not np.all(raw(b)):
        raise ZeroDivisionError(f"{name}: an integer divisor is 0")


class Operators(TensorBase):
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
        return _true_divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _true_divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _binary(ops.Pow, "pow", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _binary(ops.Pow, "pow", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return _remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return _remainder(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return _floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _floor_divide(other, self)

    def __neg__(self) -> Tensor:
        if self.array.dtype.kind == "b":
            raise TypeError("neg: a bool tensor has no negative; use ~x or logical_not")
        return ops.Neg.apply(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return ops.Abs.apply(self)

    def __matmul__(self, other: Any) -> Tensor:
        return self.matmul(other)  # type: ignore[attr-defined]

    def __rmatmul__(self, other: Any) -> Tensor:
        a, b = operands("matmul", other, self)
        return a.matmul(b)

    # -- comparisons: bool tensors, without gradient --

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _compare("eq", np.equal, self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _compare("ne", np.not_equal, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _compare("lt", np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _compare("le", np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _compare("gt", np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _compare("ge", np.greater_equal, self, other)

    __hash__ = object.__hash__  # by identity: == compares elements

    def __and__(self, other: Any) -> Tensor:
        return _bitwise("and", np.bitwise_and, self, other)

    def __or__(self, other: Any) -> Tensor:
        return _bitwise("or", np.bitwise_or, self, other)

    def __xor__(self, other: Any) -> Tensor:
        return _bitwise("xor", np.bitwise_xor, self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        if self.array.dtype.kind == "f":
            raise TypeError(f"invert: operands are bool or integer, not {self.dtype}")
        return self.from_op(np.invert(self.array))


def _true_divide(a: Any, b: Any) -> Tensor:
    """a / b; integers divide to float32."""
    a, b = operands("div", a, b)
    a, b = (x._floating() if isinstance(x, TensorBase) else x for x in (a, b))
    return _binary(ops.Div, "div", a, b)


def _remainder(a: Any, b: Any) -> Tensor:
    a, b = operands("remainder", a, b)
    _no_zero_divisor("remainder", a, b)
    return _binary(ops.Remainder, "remainder", a, b)


def _floor_divide(a: Any, b: Any) -> Tensor:
    a, b = operands("floor_divide", a, b)
    _no_zero_divisor("floor_divide", a, b)
    return _elementwise("floor_divide", np.floor_divide, a, b)


def _elementwise(name: str, function: Any, a: Any, b: Any) -> Tensor:
    """A NumPy function of two operands, without gradient."""
    tensor = a if isinstance(a, TensorBase) else b
    try:
        return tensor.from_op(function(raw(a), raw(b)))
    except ValueError as error:
        raise shape_error(name, (a, b), error) from None


def _compare(name: str, function: Any, a: Any, b: Any) -> Any:
    try:
        a, b = operands(name, a, b)
    except TypeError:
        return NotImplemented  # x == None is False, x < "a" is Python's TypeError
    return _elementwise(name, function, a, b)


def _bitwise(name: str, function: Any, a: Any, b: Any) -> Tensor:
    a, b = operands(name, a, b)
    for x in (a, b):
        if isinstance(x, float) or (isinstance(x, TensorBase) and x.dtype.kind == "f"):
            given = "float" if isinstance(x, float) else x.dtype
            raise TypeError(f"{name}: operands are bool or integer, not {given}")
    return _elementwise(name, function, a, b)
