"""Operations that move values about and compute nothing. Views where NumPy can give one."""

from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function, unbroadcast

Shape = tuple[int, ...]


class Reshape(Function):
    def forward(self, x: Array, shape: Shape) -> Array:
        self.shape = x.shape
        return x.reshape(shape)

    def backward(self, dout: Array) -> Array:
        return dout.reshape(self.shape)


class Permute(Function):
    def forward(self, x: Array, dims: tuple[int, ...]) -> Array:
        self.dims = dims
        return x.transpose(dims)

    def backward(self, dout: Array) -> Array:
        inverse = [0] * len(self.dims)
        for place, dim in enumerate(self.dims):
            inverse[dim] = place
        return dout.transpose(inverse)


class Transpose(Function):
    """Two axes exchanged."""

    def forward(self, x: Array, dim0: int, dim1: int) -> Array:
        self.dims = dim0, dim1
        return x.swapaxes(dim0, dim1)

    def backward(self, dout: Array) -> Array:
        return dout.swapaxes(*self.dims)


class Expand(Function):
    """Repeat axes of length 1 without copying: their stride becomes 0."""

    def forward(self, x: Array, shape: Shape) -> Array:
        self.shape = x.shape
        return np.broadcast_to(x, shape)

    def backward(self, dout: Array) -> Array:
        return unbroadcast(dout, self.shape)


class Repeat(Function):
    """Copies of the whole tensor laid side by side; `repeats` has one entry per output axis."""

    def forward(self, x: Array, repeats: Shape) -> Array:
        self.shape, self.repeats = x.shape, repeats
        return np.tile(x, repeats)

    def backward(self, dout: Array) -> Array:
        shape = (1,) * (len(self.repeats) - len(self.shape)) + self.shape
        # (r0 * n0, r1 * n1, ...) -> (r0, n0, r1, n1, ...), then sum over every r.
        split = [n for pair in zip(self.repeats, shape, strict=True) for n in pair]
        return dout.reshape(split).sum(axis=tuple(range(0, len(split), 2))).reshape(self.shape)


class Flip(Function):
    def forward(self, x: Array, dims: tuple[int, ...]) -> Array:
        self.dims = dims
        return np.flip(x, dims).copy()

    def backward(self, dout: Array) -> Array:
        return np.flip(dout, self.dims)


class Pad(Function):
    """widths: (before, after) per axis, as in numpy.pad; negative ones cut off."""

    def forward(self, x: Array, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
        self.shape = x.shape
        shape = [n + before + after for n, (before, after) in zip(x.shape, widths, strict=True)]
        # What is kept of x, and where it comes to lie.
        self.source = tuple(
            [
                slice(max(-before, 0), n - max(-after, 0))
                for n, (before, after) in zip(x.shape, widths)
            ]
        )
        self.target = tuple(
            [slice(max(before, 0), n - max(after, 0)) for n, (before, after) in zip(shape, widths)]
        )
        out = np.full_like(x, value, shape=shape)
        out[self.target] = x[self.source]
        return out

    def backward(self, dout: Array) -> Array:
        dx = np.zeros_like(dout, shape=self.shape)
        dx[self.source] = dout[self.target]
        return dx


class Cat(Function):
    def forward(self, *arrays: Array, dim: int) -> Array:
        self.dim = dim
        self.sizes = [a.shape[dim] for a in arrays]
        return np.concatenate(arrays, axis=dim)

    def backward(self, dout: Array) -> Any:
        return tuple(np.split(dout, np.cumsum(self.sizes)[:-1], axis=self.dim))


class Stack(Function):
    def forward(self, *arrays: Array, dim: int) -> Array:
        self.dim = dim
        return np.stack(arrays, axis=dim)

    def backward(self, dout: Array) -> Any:
        return tuple(np.moveaxis(dout, self.dim, 0))


class Split(Function):
    """Pieces of the given sizes along dim: views. One gradient is put together from all pieces."""

    def forward(self, x: Array, sizes: list[int], dim: int) -> Any:
        self.dim = dim
        front = (slice(None),) * dim
        pieces, start = [], 0
        for size in sizes:
            pieces.append(x[(*front, slice(start, start + size))])
            start += size
        return tuple(pieces)

    def backward(self, *dout: Array) -> Array:
        return np.concatenate(dout, axis=self.dim)


class Unbind(Function):
    """The slices along dim, without it: views."""

    def forward(self, x: Array, dim: int) -> Any:
        self.dim = dim
        return tuple(np.moveaxis(x, dim, 0)[i, ...] for i in range(x.shape[dim]))

    def backward(self, *dout: Array) -> Array:
        return np.stack(dout, axis=self.dim)


class Tril(Function):
    """Zero above diagonal number k of the last two axes (0 is the main one, 1 the one above)."""

    def forward(self, x: Array, k: int = 0) -> Array:
        self.k = k
        return np.tril(x, k)

    def backward(self, dout: Array) -> Array:
        return np.tril(dout, self.k)


class Triu(Function):
    """Zero below diagonal number k of the last two axes."""

    def forward(self, x: Array, k: int = 0) -> Array:
        self.k = k
        return np.triu(x, k)

    def backward(self, dout: Array) -> Array:
        return np.triu(dout, self.k)
