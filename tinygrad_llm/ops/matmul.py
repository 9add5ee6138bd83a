"""Matrix products. NumPy hands them to BLAS when the strides allow, and is slow when not."""

import string
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function, unbroadcast


def _for_blas(a: Array) -> Array:
    """a, copied if BLAS cannot read its last two axes as they lie (say, after expand)."""
    if a.flags.c_contiguous or (a.ndim == 2 and a.flags.f_contiguous):
        return a
    rows, columns = a.strides[-2:]
    ok = (columns == a.itemsize and rows >= a.shape[-1] * a.itemsize) or (
        rows == a.itemsize and columns >= a.shape[-2] * a.itemsize
    )
    return a if ok or a.size == 0 else np.ascontiguousarray(a)


def matmul(a: Array, b: Array) -> Array:
    """(..., M, K) @ (..., K, N) -> (..., M, N), leading axes broadcast."""
    if b.ndim == 2 and a.ndim > 2:
        # One product of all rows at once, not one small product per batch entry.
        return (_rows(a) @ _for_blas(b)).reshape(*a.shape[:-1], b.shape[-1])
    return np.matmul(_for_blas(a), _for_blas(b))


def _rows(a: Array) -> Array:
    """(..., K) -> (rows, K)."""
    n = int(np.prod(a.shape[:-1], dtype=np.int64))  # reshape(-1) could not tell if K is 0
    return _for_blas(a.reshape(n, a.shape[-1]))


class MatMul(Function):
    """a: (..., M, K), b: (..., K, N). With out = a b: da = dout b^T and db = a^T dout."""

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return matmul(a, b)

    def backward(self, dout: Array) -> Any:
        a, b = self.a, self.b
        da = db = None
        if self.needs_grad[0]:
            da = unbroadcast(matmul(dout, b.swapaxes(-1, -2)), a.shape)
        if self.needs_grad[1]:
            if b.ndim == 2 and a.ndim > 2:
                db = _rows(a).T @ _rows(dout)  # (K, rows) @ (rows, N)
            else:
                db = unbroadcast(matmul(a.swapaxes(-1, -2), dout), b.shape)
        return da, db


def _explicit(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """Letters of each operand and of the output, with `...` and a missing output spelled out."""
    equation = equation.replace(" ", "")
    left, arrow, out = equation.partition("->")
    operands = left.split(",")
    if len(operands) != len(shapes):
        raise ValueError(
            f"einsum: {equation!r} names {len(operands)} operand(s), but {len(shapes)} were given"
        )
    free = [c for c in string.ascii_letters if c not in equation]
    widest = ""
    for i, (letters, shape) in enumerate(zip(operands, shapes, strict=True)):
        named = len(letters.replace("...", ""))
        extra = len(shape) - named
        if extra < 0 or (extra and "..." not in letters):
            raise ValueError(
                f"einsum: operand {i} is {letters!r} ({named} axes), but its shape is {shape}"
            )
        dots = "".join(reversed(free[:extra]))  # aligned at the last axis
        widest = max(widest, dots, key=len)
        operands[i] = letters.replace("...", dots)
    if arrow:
        out = out.replace("...", widest)
    else:
        letters = "".join(operands)
        out = widest + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1 and c not in widest)
        )
    return operands, out


class Einsum(Function):
    """Einstein's sum: indices that are not in the output are summed over."""

    def forward(self, *arrays: Array, equation: str) -> Array:
        self.arrays = list(arrays)
        self.operands, self.out = _explicit(equation, [a.shape for a in arrays])
        sizes: dict[str, int] = {}
        for letters, a in zip(self.operands, arrays, strict=True):
            for c, n in zip(letters, a.shape, strict=True):
                known = sizes.get(c, 1)
                if n != known and 1 not in (n, known):
                    raise ValueError(f"einsum: index {c!r} has size {known} and size {n}")
                sizes[c] = n if known == 1 else known
        missing = [c for c in self.out if c not in sizes]
        if missing or len(set(self.out)) < len(self.out):
            raise ValueError(
                f"einsum: the output {self.out!r} of {equation!r} must name every index at most "
                f"once, and only such as the operands have"
            )
        return np.einsum(",".join(self.operands) + "->" + self.out, *arrays, optimize=True)

    def backward(self, dout: Array) -> Any:
        return tuple(
            self.gradient(i, dout) if needed else None for i, needed in enumerate(self.needs_grad)
        )

    def gradient(self, i: int, dout: Array) -> Array:
        """The same sum with operand i and the output in exchanged roles."""
        letters = self.operands[i]
        others = [k for k in range(len(self.arrays)) if k != i]
        known = set(self.out).union(*(self.operands[k] for k in others))
        unique = "".join(dict.fromkeys(letters))  # "ii" reads a diagonal: one index
        wanted = "".join(c for c in unique if c in known)
        equation = ",".join([self.out] + [self.operands[k] for k in others]) + "->" + wanted
        dx = np.einsum(equation, dout, *(self.arrays[k] for k in others), optimize=True)
        # An index that only this operand has was summed: every element gets the same gradient.
        dx = dx[tuple(slice(None) if c in wanted else None for c in unique)]
        sizes = dict(zip(letters, self.arrays[i].shape))
        # One that is longer elsewhere was broadcast here, and one that is 1 elsewhere there.
        dx = unbroadcast(dx, tuple(min(sizes[c], n) for c, n in zip(unique, dx.shape)))
        dx = np.broadcast_to(dx, tuple(sizes[c] for c in unique))
        if unique == letters:
            return dx
        full = np.zeros_like(dout, shape=self.arrays[i].shape)
        np.einsum(f"{letters}->{unique}", full)[...] = dx  # a view of the diagonal
        return full
