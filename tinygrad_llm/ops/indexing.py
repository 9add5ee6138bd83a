"""Picking elements out of tensors and adding elements into them."""

from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function


def _is_basic(index: Any) -> bool:
    """Only integers, slices, None and Ellipsis: a view, in which no element appears twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return not any(hasattr(part, "dtype") for part in parts)


class GetItem(Function):
    """x[index]. An element that was picked twice receives two gradients."""

    def forward(self, x: Array, index: Any) -> Array:
        self.shape, self.index = x.shape, index
        return x[index]

    def backward(self, dout: Array) -> Array:
        dx = np.zeros_like(dout, shape=self.shape)
        if _is_basic(self.index):
            dx[self.index] = dout
        else:
            np.add.at(dx, self.index, dout)  # `dx[index] += dout` would keep only the last
        return dx


class SetItem(Function):
    """A copy of x in which x[index] is `value`."""

    def forward(self, x: Array, value: Array, index: Any) -> Array:
        self.index, self.value_shape = index, np.shape(value)
        out = x.copy()
        out[index] = value
        return out

    def backward(self, dout: Array) -> Any:
        dvalue = None
        if self.needs_grad[1]:
            dvalue = dout[self.index]
            # value may have been broadcast to the shape of x[index]
            extra = dvalue.ndim - len(self.value_shape)
            dvalue = dvalue.sum(axis=tuple(range(extra)))
            ones = tuple(i for i, n in enumerate(self.value_shape) if n == 1 != dvalue.shape[i])
            dvalue = np.asarray(dvalue.sum(axis=ones, keepdims=True))
        dx = dout.copy()
        dx[self.index] = 0
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
        self.where = _grid(index, dim) if x.ndim else (np.zeros_like(index),)
        return x[self.where] if x.ndim else x.reshape(1)[self.where].reshape(index.shape)

    def backward(self, dout: Array) -> Array:
        dx = np.zeros_like(dout, shape=self.shape or (1,))
        np.add.at(dx, self.where, dout)
        return dx.reshape(self.shape)


class ScatterAdd(Function):
    """A copy of x with out[index[i][j]][j] += src[i][j] for dim 0; repeated places add up."""

    def forward(self, x: Array, index: Array, src: Array, dim: int) -> Array:
        self.where = _grid(index, dim)
        self.used = tuple(slice(n) for n in index.shape)
        self.src_shape = src.shape
        out = x.copy()
        np.add.at(out, self.where, src[self.used])
        return out

    def backward(self, dout: Array) -> Any:
        dsrc = None
        if self.needs_grad[2]:
            dsrc = np.zeros_like(dout, shape=self.src_shape)
            dsrc[self.used] = dout[self.where]
        return dout, None, dsrc


class MaskedFill(Function):
    """value where mask is True; no gradient flows there."""

    def forward(self, x: Array, mask: Array, value: float) -> Array:
        self.mask = mask
        out = x.copy()
        np.copyto(out, np.asarray(value, dtype=x.dtype), where=mask)
        return out

    def backward(self, dout: Array) -> Any:
        dx = dout.copy()
        np.copyto(dx, dx.dtype.type(0), where=self.mask)
        return dx, None
