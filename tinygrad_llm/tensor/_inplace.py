"""Changes in place. Each is written down (autograd.changes), so that backward can refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import autograd, dtypes, ops
from tinygrad_llm.autograd import Variable, changes, owner
from tinygrad_llm.tensor._base import TensorBase, as_array
from tinygrad_llm.tensor._indexing import as_index

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


class InPlace(TensorBase):
    def mark_changed(self, how: str) -> None:
        """Say that the memory of `array` was written to directly (by an optimiser, say)."""
        changes.mark(self.array, f"{how} of {self.name!r}" if self.name else how)

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place("+=", self + other)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place("-=", self - other)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place("*=", self * other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place("/=", self / other)

    def __ifloordiv__(self, other: Any) -> Tensor:
        return self._in_place("//=", self // other)

    def __imod__(self, other: Any) -> Tensor:
        return self._in_place("%=", self % other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._in_place("**=", self**other)

    def add_(self, other: Any, alpha: float = 1) -> Tensor:
        return self._in_place("add_", self.add(other, alpha))  # type: ignore[attr-defined]

    def sub_(self, other: Any, alpha: float = 1) -> Tensor:
        return self._in_place("sub_", self.sub(other, alpha))  # type: ignore[attr-defined]

    def mul_(self, other: Any) -> Tensor:
        return self._in_place("mul_", self * other)

    def div_(self, other: Any) -> Tensor:
        return self._in_place("div_", self / other)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        return self._in_place("clamp_", self.clamp(min, max))  # type: ignore[attr-defined]

    def masked_fill_(self, mask: Any, value: Any) -> Tensor:
        return self._in_place("masked_fill_", self.masked_fill(mask, value))  # type: ignore

    def copy_(self, source: Any) -> Tensor:
        """Overwrite with the values of `source` (broadcast, cast)."""
        return self._assign("copy_", (), source)

    def fill_(self, value: float) -> Tensor:
        return self._assign("fill_", (), value)

    def zero_(self) -> Tensor:
        return self._assign("zero_", (), 0)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._assign("assignment", index, value)

    def _assign(self, name: str, index: Any, value: Any) -> Tensor:
        """self[index] = value."""
        values = value if isinstance(value, Variable) else as_array(name, value)
        recording = autograd.mode.enabled and (
            self.requires_grad or (isinstance(values, Variable) and values.requires_grad)
        )
        try:
            where = as_index(index)
            if recording:
                if isinstance(values, Variable):
                    values = values._cast(self.dtype)  # type: ignore[attr-defined]
                return self._in_place(name, ops.SetItem.apply(self, values, index=where))
            where.put(self.array, as_array(name, values))
        except IndexError as error:
            raise IndexError(f"{name}: shape {self.shape}: {error}") from None
        except ValueError as error:
            shape = np.shape(as_array(name, values))
            raise ValueError(f"{name}: {shape} into shape {self.shape}: {error}") from None
        self.mark_changed(name)
        return self  # type: ignore[return-value]

    def _in_place(self, name: str, result: Tensor) -> Tensor:
        """Take over the values of `result`, and its history if it has one."""
        if result.array.shape != self.array.shape:
            raise ValueError(
                f"{name}: the result has shape {result.shape}, which does not fit into "
                f"{self.shape} in place"
            )
        if dtypes.category(result.dtype) > dtypes.category(self.dtype):
            raise TypeError(f"{name}: a {result.dtype} result does not fit into {self.dtype}")
        recording = autograd.mode.enabled
        if recording and self.requires_grad and self.grad_fn is None:
            raise RuntimeError(
                f"{name}: in-place change of a leaf that requires a gradient; do it under "
                f"no_grad(), or out of place"
            )
        if not (recording and result.requires_grad):
            self.array[...] = result.array
            self.mark_changed(name)
            return self  # type: ignore[return-value]
        result = result._cast(self.dtype)
        self._keep_old_values(result.grad_fn)
        self.array[...] = result.array
        changes.mark(self.array, name, recorded=True)
        self.requires_grad, self.grad_fn, self.slot = True, result.grad_fn, result.slot
        self.born = changes.now
        return self  # type: ignore[return-value]

    def _keep_old_values(self, node: Any) -> None:
        """`x *= y` needs the x before: copy what the operation saved of the memory."""
        memory = owner(self.array)
        for name, array in node.saved():
            if owner(array) is memory and getattr(node, name) is array:
                setattr(node, name, array.copy())
