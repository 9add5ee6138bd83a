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

Number = (int, float, np.number, np.bool_)


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

    def dim(self) -> int:
        return self.array.ndim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one axis."""
        return self.shape if dim is None else self.shape[ops.as_dim("size", dim, self.shape)]

    def numel(self) -> int:
        return int(self.array.size)

    def element_size(self) -> int:
        """Bytes of one element."""
        return int(self.array.itemsize)

    def is_floating_point(self) -> bool:
        return dtypes.is_floating(self.dtype)

    def is_contiguous(self) -> bool:
        return bool(self.array.flags.c_contiguous)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor: it has no axis to count along")
        return self.shape[0]

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
    """Two operands with one dtype. Numbers stay numbers: they never widen a tensor."""
    a, b = _operand(name, a, b), _operand(name, b, a)
    if isinstance(a, Variable) and isinstance(b, Variable):
        if a.array.dtype != b.array.dtype:
            dtype = dtypes.promote(a.array, b.array)
            return a._cast(dtype), b._cast(dtype)  # type: ignore[attr-defined]
    return a, b


def _operand(name: str, x: Any, other: Any) -> Any:
    if isinstance(x, Variable):
        # An integer tensor and a Python float meet in float32.
        if x.array.dtype.kind != "f" and isinstance(other, float):
            return x._cast(dtypes.DEFAULT)  # type: ignore[attr-defined]
        return x
    if type(x) in (int, float, bool):
        return x
    if isinstance(x, (np.ndarray, np.number, np.bool_)):
        like = other if isinstance(other, Variable) else None
        return like.from_op(np.asarray(x)) if like is not None else x
    raise TypeError(
        f"{name}: operands are tensors, arrays and numbers, but {type(x).__name__} was given"
    )
