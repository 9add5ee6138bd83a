"""What every part of Tensor stands on: the array, its properties, and turning values into tensors.

Tensor's methods are spread over the files of this folder by subject; `core.py` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import device as devices
from tinygrad_llm import dtypes, ops
from tinygrad_llm.autograd import Array, Variable

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


class TensorBase(Variable):
    """The array and what can be asked of it."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def device(self) -> str:
        return devices.device_of(self.array)

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(self.array.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return int(self.array.nbytes)

    def dim(self) -> int:
        return self.array.ndim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one axis."""
        if dim is not None and not self.ndim:
            raise IndexError("size: a 0-d tensor has no axis")
        return self.shape if dim is None else self.shape[ops.as_dim("size", dim, self.shape)]

    def numel(self) -> int:
        return int(self.array.size)

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """By how many elements of memory one step along each axis (or one of them) moves."""
        steps = tuple(n // self.array.itemsize for n in self.array.strides)
        return steps if dim is None else steps[ops.as_dim("stride", dim, self.shape)]

    def is_floating_point(self) -> bool:
        return dtypes.is_floating(self.dtype)

    def is_contiguous(self) -> bool:
        return bool(self.array.flags.c_contiguous)

    def __len__(self) -> int:
        if not self.array.ndim:
            raise TypeError("len() of a 0-d tensor: it has no axis to count along")
        return self.array.shape[0]

    # -- helpers for the methods --

    def _floating(self) -> Tensor:
        """self, or for integers and bools self as float32: exp(2) is no integer."""
        if self.array.dtype.kind == "f":
            return self  # type: ignore[return-value]
        return ops.Cast.apply(self, dtype=dtypes.DEFAULT)

    def _cast(self, dtype: np.dtype) -> Tensor:
        if self.array.dtype == dtype:
            return self  # type: ignore[return-value]
        return ops.Cast.apply(self, dtype=dtype)

    def _require_floating(self, name: str) -> None:
        if self.array.dtype.kind != "f":
            raise TypeError(f"{name}: dtype {self.dtype} is not floating point; use x.float()")


def as_array(name: str, value: Any) -> Array:
    """The array behind a tensor, array, list or number that is used as data."""
    if isinstance(value, Variable):
        return value.array
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: {type(value).__name__} of dtype {array.dtype} is no numeric data")
    return array


def operands(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands of which one at least is a tensor: with one dtype, or a tensor and a number.

    A Python number never widens a tensor, but it may lift its kind: an integer tensor and a float
    meet in float32, a bool tensor and an integer in int64. NumPy's scalars count as numbers.
    """
    a, b = _operand(name, a), _operand(name, b)
    if isinstance(a, Variable) and isinstance(b, Variable):
        if a.array.dtype != b.array.dtype:
            dtype = dtypes.promote(a.array, b.array)
            return a._cast(dtype), b._cast(dtype)  # type: ignore[attr-defined]
    elif isinstance(a, Variable):
        return _lifted(a, b), b
    else:
        return a, _lifted(b, a)
    return a, b


def _operand(name: str, x: Any) -> Any:
    """x as a tensor or a Python number."""
    if isinstance(x, (Variable, int, float)) and not isinstance(x, np.generic):
        return x
    if isinstance(x, (np.number, np.bool_)):
        return x.item()
    if isinstance(x, np.ndarray):
        from tinygrad_llm.tensor.core import Tensor

        return Tensor(x)
    raise TypeError(
        f"{name}: operands are tensors, arrays and numbers, but {type(x).__name__} was given"
    )


def _lifted(x: Any, number: Any) -> Any:
    """The tensor x, cast if `number` is of a higher kind."""
    kind = x.array.dtype.kind
    if kind != "f":
        if isinstance(number, float):
            return x._cast(dtypes.DEFAULT)
        if kind == "b" and not isinstance(number, bool):
            return x._cast(dtypes.int64)
    return x


def raw(x: Any) -> Any:
    """The array behind a tensor; a number as it is."""
    return x.array if isinstance(x, Variable) else x
