"""Tensor: an array that remembers how it was made."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm import autograd, dtypes, ops
from tinygrad_llm import device as devices
from tinygrad_llm.autograd import Array, Variable
from tinygrad_llm.tensor._arithmetic import Arithmetic
from tinygrad_llm.tensor._base import as_array
from tinygrad_llm.tensor._indexing import Indexing, _as_index
from tinygrad_llm.tensor._reductions import Reductions
from tinygrad_llm.tensor._shapes import Shapes


class Tensor(Arithmetic, Reductions, Shapes, Indexing):
    """A multi-dimensional array with automatic differentiation.

    data: a number, (nested) list, NumPy array or Tensor. Python floats become float32, an array
    keeps its dtype and is not copied (as torch.from_numpy; `tensor()` copies).
    """

    __array_priority__ = 1000  # np.array * Tensor is Tensor's business
    __array_ufunc__ = None

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        requires_grad: bool = False,
        device: str | None = None,
    ):
        devices.resolve(device)
        array = _plain(data, dtype)
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(f"requires_grad: only floating point has gradients, not {array.dtype}")
        self.array = array
        self.requires_grad = requires_grad
        self.version = [0, None, False]

    @staticmethod
    def from_op(array: Array) -> Tensor:
        """Wrap the result of an operation (internal: no checks, no copy)."""
        result = Tensor.__new__(Tensor)
        # NumPy turns 0-d results into scalars, which have no base and cannot be assigned to.
        result.array = np.asarray(array) if isinstance(array, np.generic) else array
        result.version = [0, None, False]
        return result

    # -- gradients --

    def backward(self, grad: Any = None, retain_graph: bool = False) -> None:
        """Add to `.grad` of every leaf behind this tensor its gradient.

        grad: what to start from, of this tensor's shape; 1 may be left out for a single number.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward: this tensor does not require a gradient, nor does anything it was made "
                "from (was it computed under no_grad, or detached?)"
            )
        if grad is None:
            if self.numel() != 1:
                raise RuntimeError(
                    f"backward: shape {self.shape} is not a single number; give grad= of that "
                    f"shape, or reduce it first (loss.mean())"
                )
            start = np.ones_like(self.array)
        else:
            start = as_array("backward", grad)
            if start.shape != self.shape:
                raise ValueError(f"backward: grad has shape {start.shape}, the tensor {self.shape}")
            start = start.astype(self.dtype, copy=False)
        autograd.backward(self, start, retain_graph)

    def accumulate_grad(self, gradient: Array, fresh: bool) -> None:
        for hook in self.__dict__.get("_hooks", ()):
            replaced = hook(gradient)
            gradient, fresh = (gradient, fresh) if replaced is None else (replaced, False)
        if self.grad is None:
            self.grad = Tensor.from_op(gradient if fresh else gradient.copy())
        else:
            self.grad.array += gradient

    def detach(self) -> Tensor:
        """The same memory, outside the graph."""
        result = Tensor.from_op(self.array)
        result.version = self.version
        return result

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        self.array = as_array("data", value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if self.grad_fn is not None:
            raise RuntimeError("requires_grad_: only a leaf can be switched; use detach() first")
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"requires_grad_: {self.dtype} carries no gradient")
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when this tensor's gradient is known; it may return another one.

        Returns a function that takes the hook away again.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")

        def on_array(gradient: Array) -> Array | None:
            replaced = hook(Tensor.from_op(gradient))
            return None if replaced is None else replaced.array

        if self.grad_fn is None:
            hooks = self.__dict__.setdefault("_hooks", [])
        else:
            if self.grad_fn.hooks is None:
                self.grad_fn.hooks = {}
            hooks = self.grad_fn.hooks.setdefault(self.slot, [])
        hooks.append(on_array)
        return lambda: hooks.remove(on_array)

    def retain_grad(self) -> None:
        """Keep the gradient of an intermediate tensor in its `.grad`."""
        if self.grad_fn is None:
            return
        reference = weakref.ref(self)

        def keep(gradient: Tensor) -> None:
            tensor = reference()
            if tensor is not None:
                tensor.grad = Tensor.from_op(gradient.array.copy())

        self.register_hook(keep)

    # -- changes in place --

    def _in_place(self, name: str, result: Tensor) -> Tensor:
        """Take over the values of `result`, and its history if it has one."""
        if result.shape != self.shape:
            raise ValueError(
                f"{name}: the result has shape {result.shape}, which does not fit into "
                f"{self.shape} in place"
            )
        if result.dtype.kind == "f" and self.dtype.kind != "f":
            raise TypeError(f"{name}: a {result.dtype} result does not fit into {self.dtype}")
        recording = autograd.mode.enabled
        if recording and self.requires_grad and self.grad_fn is None:
            raise RuntimeError(
                f"{name}: in-place change of a leaf that requires a gradient; do it under "
                f"no_grad(), or out of place"
            )
        if recording and result.requires_grad and self.version[2]:
            raise RuntimeError(
                f"{name}: in-place change of a tensor that has views (or is one), while gradients "
                f"are recorded; write it out of place (y = x + 1 instead of x += 1)"
            )
        self._write(result.array)
        if recording and result.requires_grad:
            # Recorded after the write, so that the new history does not call itself outdated.
            self.requires_grad, self.grad_fn, self.slot = True, result.grad_fn, result.slot
        return self

    def _write(self, values: Any) -> None:
        self.array[...] = values
        self.version[0] += 1
        self.version[1] = self.array

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place("+=", self + other)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place("-=", self - other)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place("*=", self * other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place("/=", self / other)

    add_, sub_, mul_, div_ = __iadd__, __isub__, __imul__, __itruediv__

    def __setitem__(self, index: Any, value: Any) -> None:
        where = _as_index(index)
        values = value if isinstance(value, Variable) else as_array("assignment", value)
        try:
            result = ops.SetItem.apply(self, values, index=where)
        except IndexError as error:
            raise IndexError(f"assignment to shape {self.shape}: {error}") from None
        self._in_place("assignment", result)

    def copy_(self, source: Any) -> Tensor:
        """Overwrite with the values of `source` (broadcast, cast)."""
        values = np.broadcast_to(as_array("copy_", source), self.shape)
        return self._in_place("copy_", Tensor.from_op(values.astype(self.dtype)))

    def fill_(self, value: float) -> Tensor:
        return self._in_place("fill_", Tensor.from_op(np.full_like(self.array, value)))

    def zero_(self) -> Tensor:
        return self.fill_(0)

    # -- conversions --

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array that shares their memory."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use x.detach().numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype, copy=copy)

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        if self.numel() != 1:
            raise ValueError(f"item: shape {self.shape} holds {self.numel()} values, not one")
        return self.array.item()

    def tolist(self) -> Any:
        return self.array.tolist()

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use any() or all()"
            )
        return bool(self.array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.numel() != 1:
            raise TypeError(f"a {self.dtype} tensor of shape {self.shape} cannot be an index")
        return int(self.array.item())

    def to(self, *targets: Any, dtype: Any = None, device: str | None = None) -> Tensor:
        """Another dtype and/or device: to("cpu"), to(float64), to(other), to(dtype=...)."""
        for target in targets:
            if isinstance(target, Tensor):
                dtype, device = target.dtype, target.device
            elif isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda"):
                device = target
            else:
                dtype = target
        devices.resolve(device)
        return self if dtype is None else self._cast(dtypes.resolve(dtype))

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other)

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def cuda(self) -> Tensor:
        return self.to("cuda")

    def float(self) -> Tensor:
        return self._cast(dtypes.float32)

    def double(self) -> Tensor:
        return self._cast(dtypes.float64)

    def half(self) -> Tensor:
        return self._cast(dtypes.float16)

    def long(self) -> Tensor:
        return self._cast(dtypes.int64)

    def int(self) -> Tensor:
        return self._cast(dtypes.int32)

    def bool(self) -> Tensor:
        return self._cast(dtypes.bool)

    def clone(self) -> Tensor:
        """A copy that is part of the graph."""
        return ops.Clone.apply(self)

    def __deepcopy__(self, memo: Any) -> Tensor:
        if self.grad_fn is not None:
            raise RuntimeError("deepcopy: only leaves can be copied; use detach().clone()")
        result = type(self)(self.array.copy(), requires_grad=self.requires_grad)
        result.grad = None if self.grad is None else Tensor.from_op(self.grad.array.copy())
        memo[id(self)] = result
        return result

    def __repr__(self) -> str:
        values = np.array2string(self.array, separator=", ", prefix="tensor(", precision=4)
        extra = (
            ""
            if self.dtype in (dtypes.float32, dtypes.int64, dtypes.bool)
            else (f", dtype={self.dtype}")
        )
        if self.grad_fn is not None:
            extra += f", grad_fn={type(self.grad_fn).__name__}"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({values}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.numel() == 1 else repr(self)


def _plain(data: Any, dtype: Any) -> Array:
    """An array from whatever a user may give. Python floats are float32, arrays keep theirs."""
    if isinstance(data, Variable):
        array = data.array
    elif isinstance(data, (np.ndarray, np.generic)) or hasattr(data, "__cuda_array_interface__"):
        array = np.asarray(data) if isinstance(data, np.generic) else data
    else:
        try:
            array = np.asarray(_unwrapped(data))
        except ValueError:
            raise ValueError(
                "tensor: the nested lists have unequal lengths; every axis has one size"
            ) from None
        if array.dtype == np.float64 and dtype is None:
            array = array.astype(dtypes.DEFAULT)
    if dtype is not None:
        array = array.astype(dtypes.resolve(dtype), copy=False)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"tensor: data of dtype {array.dtype} is not accepted; give numbers or bools"
        )
    return array


def _unwrapped(data: Any) -> Any:
    """Lists of tensors as lists of arrays."""
    if isinstance(data, (list, tuple)):
        return [_unwrapped(entry) for entry in data]
    return data.array if isinstance(data, Variable) else data
