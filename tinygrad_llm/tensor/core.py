"""Tensor: an array that remembers how it was made."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm import autograd, dtypes, ops
from tinygrad_llm import device as devices
from tinygrad_llm.autograd import Array, Variable, changes
from tinygrad_llm.tensor._base import as_array
from tinygrad_llm.tensor._elementwise import Elementwise
from tinygrad_llm.tensor._indexing import Indexing
from tinygrad_llm.tensor._inplace import InPlace
from tinygrad_llm.tensor._reductions import Reductions
from tinygrad_llm.tensor._shapes import Shapes


def _not_scalar(array: Any) -> Array:
    return np.asarray(array) if isinstance(array, np.generic) else array


_new, _ndarray = object.__new__, np.ndarray  # looked up for every operation


class Tensor(Elementwise, Reductions, Shapes, Indexing, InPlace):
    """A multi-dimensional array with automatic differentiation.

    data: a number, (nested) list, NumPy array or Tensor. Python floats become float32, an array
    keeps its dtype and is not copied (as torch.from_numpy; `tensor()` copies).
    """

    _hooks: list[Any] | None = None
    _retains_grad = False

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
        self.born = changes.now

    @staticmethod
    def from_op(array: Array) -> Tensor:
        """Wrap the result of an operation (internal: no checks, no copy)."""
        result = _new(Tensor)
        # NumPy turns 0-d results into scalars, which have no base and cannot be assigned to.
        result.array = array if type(array) is _ndarray else _not_scalar(array)
        result.born = changes.now
        return result

    # -- gradients --

    def backward(
        self, grad: Any = None, retain_graph: bool = False, *, gradient: Any = None
    ) -> None:
        """Add to `.grad` of every leaf behind this tensor its gradient.

        grad (or PyTorch's `gradient`): what to start from, of this tensor's shape; may be left out
        for a single number. retain_graph: keep what was saved, to walk the same graph again.
        """
        grad = gradient if grad is None else grad
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
        if self._hooks is not None:
            for hook in list(self._hooks):
                replaced = hook(gradient)
                gradient, fresh = (gradient, fresh) if replaced is None else (replaced, False)
        if self.grad is None:
            self.grad = Tensor.from_op(gradient if fresh else gradient.copy())
            return
        total = self.grad.array
        if total.flags.writeable:
            total += gradient
        else:
            self.grad = Tensor.from_op(total + gradient)

    def detach(self) -> Tensor:
        """The same memory, outside the graph."""
        return Tensor.from_op(self.array)

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        self.array = as_array("data", value)
        self.born = changes.now

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if self.grad_fn is not None:
            raise RuntimeError("requires_grad_: only a leaf can be switched; use detach() first")
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"requires_grad_: {self.dtype} carries no gradient")
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHook:
        """Call `hook(gradient)` when this tensor's gradient is known; it may return another one.

        The hook gets a copy of its own. `.remove()` of the result takes it away again.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        shape, dtype = self.shape, self.dtype

        def on_array(gradient: Array) -> Array | None:
            replaced = hook(Tensor.from_op(gradient.copy()))
            if replaced is None:
                return None
            array = as_array("register_hook", replaced)
            if array.shape != shape or array.dtype != dtype:
                raise RuntimeError(
                    f"register_hook: the hook returned a gradient {array.dtype}"
                    f"{list(array.shape)} for a tensor {dtype}{list(shape)}"
                )
            return array

        if self.grad_fn is None:
            if self._hooks is None:
                self._hooks = []
            hooks = self._hooks
        else:
            if self.grad_fn.hooks is None:
                self.grad_fn.hooks = {}
            hooks = self.grad_fn.hooks.setdefault(self.slot, [])
        hooks.append(on_array)
        return RemovableHook(hooks, on_array)

    def retain_grad(self) -> None:
        """Keep the gradient of an intermediate tensor in its `.grad` as well."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if self.grad_fn is None or self._retains_grad:
            return
        self._retains_grad = True
        reference = weakref.ref(self)  # the graph must not keep its tensors alive

        def keep(gradient: Tensor) -> None:
            tensor = reference()
            if tensor is not None:
                tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

        self.register_hook(keep)

    # -- conversions --

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array that shares their memory."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use x.detach().numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad and autograd.mode.enabled:
            raise RuntimeError(
                "this tensor requires a gradient, which NumPy would drop; use x.detach()"
            )
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


class RemovableHook:
    """What register_hook returns."""

    def __init__(self, hooks: list[Any], hook: Any):
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """Take the hook away; doing so twice is no error."""
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


def _plain(data: Any, dtype: Any) -> Array:
    """An array from whatever a user may give. Python floats are float32, arrays keep theirs."""
    if isinstance(data, Variable):
        array = data.array
    elif isinstance(data, (np.ndarray, np.generic)) or hasattr(data, "__cuda_array_interface__"):
        array = _not_scalar(data)
    else:
        try:
            array = np.asarray(_unwrapped(data))
        except ValueError:
            raise ValueError(
                "tensor: the nested lists have unequal lengths; every axis has one size"
            ) from None
        if array.dtype == np.float64 and dtype is None and not _holds_arrays(data):
            array = array.astype(dtypes.DEFAULT)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"tensor: data of dtype {array.dtype} is not accepted; give numbers or bools"
        )
    wanted = array.dtype.newbyteorder("=") if dtype is None else dtypes.resolve(dtype)
    return array if array.dtype == wanted else array.astype(wanted)


def _unwrapped(data: Any) -> Any:
    """Lists of tensors as lists of arrays."""
    if isinstance(data, (list, tuple)):
        return [_unwrapped(entry) for entry in data]
    return data.array if isinstance(data, Variable) else data


def _holds_arrays(data: Any) -> bool:
    """Whether the (first) numbers in nested lists are NumPy's or ours, which keep their dtype."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic, Variable))
