"""Picking elements out of tensors and adding elements into them."""

from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.autograd import Array, Function, unbroadcast


class Index(NamedTuple):
    """x[basic][advanced]: first what gives a view, then what index arrays pick out of it.

    In two steps because NumPy counts an integer among the index arrays and would move the result's
    axes to the front: for x of shape (3, 4, 5), x[0, :, [0, 1]] is (4, 2) here and in PyTorch.
    """

    basic: tuple[Any, ...]  # integers, slices, None, and one Ellipsis
    advanced: tuple[Any, ...] | None  # integer and bool arrays between slices

    def view(self, x: Array) -> Array:
        """x[basic]: an array even of one element, thanks to an Ellipsis."""
        return x[self.basic]

    def get(self, x: Array) -> Array:
        view = self.view(x)
        return view if self.advanced is None else view[self.advanced]

    def put(self, x: Array, value: Array) -> None:
        view = self.view(x)
        view[... if self.advanced is None else self.advanced] = value

    def add(self, x: Array, value: Array) -> None:
        """x[index] += value, where an element named twice receives both."""
        view = self.view(x)
        if self.advanced is None:
            view += value
            return
        arrays = [part for part in self.advanced if hasattr(part, "dtype")]
        if len(arrays) == 1 and arrays[0].dtype.kind == "b":
            view[self.advanced] += value  # a mask alone names every element at most once
        else:
            np.add.at(view, self.advanced, value)


class GetItem(Function):
    """x[index]. An element that was picked twice receives two gradients."""

    def forward(self, x: Array, index: Index) -> Array:
        self.shape, self.index = x.shape, index
        return index.get(x)

    def backward(self, dout: Array) -> Array:
        dx = np.zeros_like(dout, shape=self.shape)
        self.index.add(dx, dout)
        return dx


class SetItem(Function):
    """A copy of x in which x[index] is `value`, broadcast."""

    def forward(self, x: Array, value: Array, index: Index) -> Array:
        self.index, self.value_shape = index, value.shape
        out = x.copy()
        index.put(out, value)
        return out

    def backward(self, dout: Array) -> Any:
        dx = dvalue = None
        if self.needs_grad[0]:
            dx = dout.copy()
            self.index.put(dx, dout.dtype.type(0))
        if self.needs_grad[1]:
            picked = self.index.get(dout)
            # value may have more axes of length 1 in front than what it was written into.
            picked = picked.reshape((1,) * (len(self.value_shape) - picked.ndim) + picked.shape)
            dvalue = unbroadcast(picked, self.value_shape)
        return dx, dvalue


def _grid(index: Array, dim: int) -> tuple[Array, ...]:
    """Index arrays such that x[_grid(index, dim)][i, j, ..] is x[i, .., index[i, j, ..], ..]."""
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[dim] = index
    return tuple(grid)


class Gather(Function):
    """out[i][j][k] = x[index[i][j][k]][j][k] for dim 0, and likewise for the others."""

    def forward(self, x: Array, index: Array, dim: int) -> Array:
        self.shape = x.shape
        if not x.ndim:  # the only index is 0
            self.places: Any = ()
            return x.copy()
        self.places = _grid(index, dim)
        return x[self.places]

    def backward(self, dout: Array) -> Array:
        dx = np.zeros_like(dout, shape=self.shape)
        np.add.at(dx, self.places, dout)
        return dx


class ScatterAdd(Function):
    """A copy of x with out[index[i][j]][j] += src[i][j] for dim 0; repeated places add up."""

    def forward(self, x: Array, index: Array, src: Array, dim: int) -> Array:
        self.places: Any = _grid(index, dim) if x.ndim else ()
        self.used = tuple(slice(n) for n in index.shape)
        self.src_shape = src.shape
        out = x.copy()
        np.add.at(out, self.places, src[self.used])
        return out

    def backward(self, dout: Array) -> Any:
        dsrc = None
        if self.needs_grad[2]:
            dsrc = np.zeros_like(dout, shape=self.src_shape)
            dsrc[self.used] = dout[self.places]
        return dout, None, dsrc


class MaskedFill(Function):
    """value (a number or a 0-d array) where mask is True; no gradient flows to x there."""

    broadcasts = True

    def forward(self, x: Array, mask: Array, value: Any) -> Array:
        self.mask = mask
        return np.where(mask, x.dtype.type(value), x)

    def backward(self, dout: Array) -> Any:
        zero = dout.dtype.type(0)
        dx = np.where(self.mask, zero, dout) if self.needs_grad[0] else None
        dvalue = np.where(self.mask, dout, zero) if self.needs_grad[2] else None
        return dx, None, dvalue
