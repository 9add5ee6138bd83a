"""Mistakes are told: which argument of which operation, what was given, what is accepted."""

import re

import numpy as np
import pytest

import tinygrad_llm as tg

X = tg.Tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3))
SCALAR = tg.tensor(1.0)
MASK = tg.tensor([True, False, True])

MISTAKES = [
    # -- dims --
    (lambda: X.sum(2), IndexError, "sum: dim=2 is out of range for shape (2, 3); use -2 to 1"),
    (lambda: X.mean(-3), IndexError, "mean: dim=-3 is out of range for shape (2, 3)"),
    (lambda: X.sum((0, 0)), ValueError, "sum: dim=(0, 0) names an axis of shape (2, 3) twice"),
    (lambda: X.sum((0, -2)), ValueError, "names an axis of shape (2, 3) twice"),
    (lambda: X.sum(1.0), TypeError, "sum: dim=1.0 is not accepted; use an integer"),
    (lambda: X.softmax if False else X.logsumexp(5), IndexError, "logsumexp: dim=5"),
    (lambda: X.cumsum(2), IndexError, "cumsum: dim=2 is out of range"),
    (lambda: X.transpose(0, 2), IndexError, "transpose: dim=2 is out of range for shape (2, 3)"),
    (lambda: X.transpose(0, "a"), TypeError, "transpose: dim='a' is not accepted"),
    (lambda: SCALAR.transpose(0, 1), IndexError, "transpose: dim=1 is out of range for shape ()"),
    (lambda: X.unsqueeze(3), IndexError, "unsqueeze: dim=3 is out of range for shape (2, 3)"),
    (lambda: X.squeeze(4), IndexError, "squeeze: dim=4 is out of range"),
    (lambda: X.flip(0, 0), ValueError, "flip: dim=(0, 0) names an axis of shape (2, 3) twice"),
    (lambda: X.permute(0), ValueError, "permute: dims=(0,) for 2 axes (2, 3)"),
    (lambda: X.permute(0, 0), ValueError, "permute: dim=(0, 0) names an axis"),
    (lambda: tg.stack([X, X], 4), IndexError, "stack: dim=4 is out of range for shape (2, 3)"),
    (lambda: tg.cat([X, X], 2), IndexError, "cat: dim=2 is out of range"),
    (lambda: SCALAR.split(1), IndexError, "split: a 0-d tensor has no axis"),
    (lambda: SCALAR.unbind(), IndexError, "unbind: a 0-d tensor has no axis"),
    # -- shapes --
    (lambda: X + tg.ones(2), ValueError, "add: shapes (2, 3) and (2,) cannot be broadcast"),
    (lambda: X > tg.ones(4), ValueError, "gt: shapes (2, 3) and (4,) cannot be broadcast"),
    (lambda: X // tg.ones(4), ValueError, "floor_divide: shapes (2, 3) and (4,)"),
    (
        lambda: tg.where(X > 0, X, tg.ones(4)),
        ValueError,
        "where: shapes (2, 3) and (2, 3) and (4,)",
    ),
    (lambda: X.maximum(tg.ones(4)), ValueError, "maximum: shapes (2, 3) and (4,)"),
    (lambda: X.reshape(4, 2), ValueError, "reshape: 6 elements of shape (2, 3) do not fit"),
    (lambda: X.reshape(-1, 4), ValueError, "reshape: 6 elements of shape (2, 3) do not fit"),
    (lambda: X.reshape(-2, 3), ValueError, "reshape: shape=(-2, 3) is not accepted"),
    (lambda: X.reshape(-1, -1), ValueError, "one of them may be -1"),
    (lambda: X.reshape(2.0, 3), TypeError, "reshape: shape=(2.0, 3) is not accepted"),
    (lambda: X.T.view(6), ValueError, "view: shape (3, 2) with strides (1, 3) cannot be seen as"),
    (lambda: tg.zeros(-1), ValueError, "zeros: shape=(-1,) is not accepted"),
    (lambda: X.expand(3, 3), ValueError, "expand: shape (2, 3) cannot be expanded to (3, 3)"),
    (lambda: X.expand(3), ValueError, "expand: shape (2, 3) cannot be expanded to (3,)"),
    (lambda: tg.ones(1).expand(-1, 1), ValueError, "cannot be expanded to (-1, 1)"),
    (lambda: X.repeat(2), ValueError, "repeat: (2,) has fewer entries than shape (2, 3)"),
    (lambda: X.split(0), ValueError, "split: split_size=0 must be positive"),
    (lambda: X.split([1, 3]), ValueError, "split: sizes [1, 3] do not add up to 2"),
    (lambda: X.chunk(0), ValueError, "chunk: chunks=0 must be at least 1"),
    (lambda: X.narrow(0, 1, 2), IndexError, "narrow: 2 from 1 on is out of range for 2 slices"),
    (lambda: X.unflatten(1, (2, 2)), ValueError, "unflatten: sizes (2, 2) do not multiply to 3"),
    (lambda: X.flatten(1, 0), ValueError, "flatten: start_dim=1 comes after end_dim=0"),
    (lambda: X.pad((1,)), ValueError, "pad: pad=(1,) must hold (before, after)"),
    (lambda: X.pad((-2, -2)), ValueError, "pad: (-2, -2) cuts off more than axis 1 of (2, 3)"),
    (lambda: tg.ones(3).tril(), ValueError, "tril: shape (3,) has fewer than 2 axes"),
    (lambda: tg.ones(2, 2, 2).t(), ValueError, "t: shape (2, 2, 2) has more than 2 axes"),
    (lambda: tg.cat([X, tg.ones(2, 4)]), ValueError, "cat: tensor 1 has shape (2, 4)"),
    (lambda: tg.cat([X, tg.ones(3)]), ValueError, "cat: tensor 1 has shape (3,)"),
    (lambda: tg.cat([SCALAR]), ValueError, "cat: 0-d tensors have no axis"),
    (lambda: tg.cat([]), TypeError, "cat: expected a non-empty list or tuple of tensors"),
    (lambda: tg.cat(X), TypeError, "cat: expected a non-empty list or tuple of tensors"),
    (lambda: tg.stack([X, X.T]), ValueError, "stack: tensor 1 has shape (3, 2), not (2, 3)"),
    # -- products --
    (lambda: X @ X, ValueError, "matmul: shapes (2, 3) and (2, 3) do not fit: 3 columns meet 2"),
    (lambda: X @ tg.ones(2), ValueError, "matmul: shapes (2, 3) and (2,) do not fit"),
    (lambda: X @ SCALAR, ValueError, "matmul: 0-d operand in shapes (2, 3) and (); use *"),
    (lambda: X @ 3, TypeError, "matmul: the other operand is a number; use *"),
    (lambda: X @ X.double().T, TypeError, "must have one dtype, not float32 and float64"),
    (lambda: X @ tg.arange(3), TypeError, "must have one dtype, not float32 and int64"),
    (
        lambda: tg.ones(2, 3, 4) @ tg.ones(3, 4, 5),
        ValueError,
        "matmul: shapes (2, 3, 4) and (3, 4, 5) cannot be broadcast",
    ),
    (lambda: X.mm(tg.ones(2, 3, 4)), ValueError, "mm: shapes (2, 3) and (2, 3, 4)"),
    (lambda: tg.ones(2, 3, 4).bmm(tg.ones(3, 4, 5)), ValueError, "bmm: shapes (2, 3, 4)"),
    (lambda: tg.einsum("ij,jk->ik", X), ValueError, "names 2 operand(s), but 1 were given"),
    (lambda: tg.einsum("ijk->i", X), ValueError, "operand 0 is 'ijk' (3 axes), but its shape is"),
    (lambda: tg.einsum("ij,ij->i", X, X.T), ValueError, "einsum: index 'i' has size 2 and size 3"),
    (lambda: tg.einsum("ij->k", X), ValueError, "only such as the operands have"),
    (lambda: tg.einsum("ij->ii", X), ValueError, "must name every index at most once"),
    # -- dtypes --
    (
        lambda: tg.arange(3).mean(),
        TypeError,
        "mean: dtype int64 is not floating point; use x.float",
    ),
    (lambda: tg.arange(3).std(), TypeError, "std: dtype int64 is not floating point"),
    (lambda: -MASK, TypeError, "neg: a bool tensor has no negative"),
    (lambda: ~X, TypeError, "invert: operands are bool or integer, not float32"),
    (lambda: X & MASK, TypeError, "and: operands are bool or integer, not float32"),
    (lambda: MASK | 1.0, TypeError, "or: operands are bool or integer, not float"),
    (lambda: tg.where(X, X, X), TypeError, "where: condition must be bool, not float32"),
    (lambda: X.masked_fill(X, 0), TypeError, "masked_fill: mask must be bool, not float32"),
    (lambda: X.masked_select(X), TypeError, "masked_select: mask must be bool"),
    (lambda: X.clamp(), ValueError, "clamp: at least one of min and max must be given"),
    (lambda: X.norm(-1), ValueError, "norm: p=-1 is not accepted"),
    (lambda: tg.arange(0, 1, 0), ValueError, "arange: step=0 never arrives"),
    (lambda: tg.arange(), TypeError, "arange: takes end, or start and end"),
    # -- indices --
    (lambda: X[2], IndexError, "indexing shape (2, 3): index 2 is out of bounds"),
    (lambda: X[0, 1, 2], IndexError, "indexing shape (2, 3): too many indices"),
    (lambda: X[1.5], IndexError, "indexing shape (2, 3): float is no index"),
    (lambda: X["a"], IndexError, "indexing shape (2, 3): str is no index"),
    (lambda: X[tg.ones(2)], IndexError, "indexing shape (2, 3): float32 is no index"),
    (lambda: X[tg.tensor([0, 2])], IndexError, "index 2 is out of bounds"),
    (lambda: X[tg.tensor([True])], IndexError, "boolean index did not match"),
    (lambda: X[::-1], ValueError, "indexing: step -1 must be positive; use flip"),
    (
        lambda: X.gather(0, tg.tensor([[2, 0, 0]])),
        IndexError,
        "gather: index 2 is out of range for dim 0 of size 2",
    ),
    (lambda: X.gather(0, tg.tensor([[-1, 0, 0]])), IndexError, "gather: index -1 is out of range"),
    (lambda: X.gather(0, X), TypeError, "gather: index must be an integer tensor, not float32"),
    (lambda: X.gather(0, [0]), TypeError, "gather: index must be an integer tensor, not list"),
    (lambda: X.gather(0, tg.tensor([0])), ValueError, "gather: index (1,) has not as many axes"),
    (
        lambda: X.gather(0, tg.zeros(1, 4, dtype=tg.int64)),
        ValueError,
        "gather: index (1, 4) is larger than (2, 3) along dim 1",
    ),
    (
        lambda: X.scatter_add(0, tg.zeros(2, 3, dtype=tg.int64), X.double()),
        TypeError,
        "scatter_add: src is float64, self is float32",
    ),
    (
        lambda: X.scatter_add(0, tg.zeros(2, 3, dtype=tg.int64), X[:1]),
        ValueError,
        "scatter_add: index (2, 3) is larger than src (1, 3)",
    ),
    (
        lambda: X.index_select(1, tg.tensor([3])),
        IndexError,
        "index_select: index 3 is out of range for dim 1 of size 3",
    ),
    (
        lambda: X.index_select(0, tg.tensor([[0]])),
        ValueError,
        "index_select: index of shape (1, 1)",
    ),
    (lambda: X.take_along_dim(tg.tensor([0]), 0), ValueError, "take_along_dim: indices (1,)"),
    (
        lambda: X.masked_fill(tg.ones(4, dtype=tg.bool), 0),
        ValueError,
        "masked_fill: mask (4,) and (2, 3) cannot be broadcast",
    ),
    (lambda: X.masked_fill(MASK, tg.ones(2)), ValueError, "value must be a number or 0-d"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_a_mistake_is_told(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


# The same mistakes, as PyTorch and we both refuse them; x, mask and scalar are made by either.
REFUSED = """
x.sum(2) | x.sum((0, 0)) | x.transpose(0, 2) | x.unsqueeze(3) | x.flip(0, 0) | x.reshape(-2, 3)
x.reshape(-1, 4) | x.T.view(6) | x.expand(3, 3) | x.repeat(2) | x.split([1, 3]) | x.chunk(0)
x.narrow(0, 1, 2) | t.ones(3).tril() | t.cat([x, t.ones(2, 4)]) | t.cat([]) | x @ x | x @ scalar
x @ x.double().T | t.einsum("ij->k", x) | t.arange(3).mean() | -mask | ~x | x[::-1] | x[t.ones(2)]
x[2] | x[0, 1, 2] | x[1.5] | x.gather(0, t.tensor([[2, 0, 0]])) | x.index_select(1, t.tensor([3]))
x.masked_fill(x, 0) | scalar.split(1) | scalar.unbind() | t.zeros(0).argmax() | t.zeros(0).max()
t.tensor([1, 2]) // 0 | x + t.ones(2) | x.clamp() | x.item() | bool(x) | len(scalar) | mask - mask
x.mm(t.ones(2, 3, 4)) | t.ones(2, 3, 4).bmm(t.ones(3, 4, 5)) | x.backward() | x.topk(4)
t.tensor([[1, 2], [3]]) | t.tensor("a") | t.zeros(-1) | t.arange(0, 1, 0) | t.tensor([1, 2]) ** -1
"""


@pytest.mark.parity
@pytest.mark.parametrize("call", [c.strip() for c in re.split(r"[|\n]", REFUSED) if c.strip()])
def test_pytorch_refuses_the_same(call):
    torch = pytest.importorskip("torch")
    for library in (torch, tg):
        names = {
            "t": library,
            "x": library.arange(6.0).reshape(2, 3),
            "mask": library.tensor([True, False]),
            "scalar": library.tensor(1.0),
        }
        with pytest.raises((RuntimeError, IndexError, ValueError, TypeError, ZeroDivisionError)):
            eval(call, names)
