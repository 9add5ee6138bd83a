"""Tensor as an object: conversions, interplay with NumPy and Python, copies, repr."""

import copy
import operator

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import rng


def test_what_can_be_asked():
    x = tg.zeros(2, 3, dtype=tg.float64)
    assert x.shape == (2, 3)
    assert x.size() == (2, 3)
    assert x.size(-1) == 3
    assert (x.ndim, x.dim(), x.numel(), len(x)) == (2, 2, 6, 2)
    assert (x.itemsize, x.element_size(), x.nbytes) == (8, 8, 48)
    assert x.stride() == (3, 1)
    assert x.T.stride(0) == 1
    assert x.is_contiguous()
    assert not x.T.is_contiguous()
    assert x.is_floating_point()
    assert not tg.arange(2).is_floating_point()
    assert x.device == "cpu"
    assert x.is_leaf
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(tg.tensor(1.0))
    with pytest.raises(IndexError, match=r"size: dim=2 is out of range for shape \(2, 3\)"):
        x.size(2)


def test_python_numbers_out():
    assert tg.tensor([[3]]).item() == 3
    assert type(tg.tensor(2.5).item()) is float
    assert tg.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert float(tg.tensor(2.5)) == 2.5
    assert int(tg.tensor([7])) == 7
    assert bool(tg.tensor([0.0])) is False
    assert [10, 20, 30][tg.tensor(1)] == 20
    assert operator.index(tg.tensor(4)) == 4
    assert f"{tg.tensor(1.23456):.2f}" == "1.23"
    with pytest.raises(ValueError, match=r"item: shape \(2,\) holds 2 values"):
        tg.ones(2).item()
    with pytest.raises(ValueError, match=r"truth of a tensor of shape \(2,\) is ambiguous"):
        bool(tg.ones(2))
    with pytest.raises(TypeError, match="cannot be an index"):
        operator.index(tg.tensor(1.0))


def test_numpy_out():
    x = tg.ones(2, 3)
    assert x.numpy() is x.array
    np.testing.assert_array_equal(np.asarray(x), np.ones((2, 3)))
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.asarray(x) is x.array
    assert np.array(x) is not x.array
    w = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"use x.detach\(\).numpy\(\)"):
        w.numpy()
    with pytest.raises(RuntimeError, match=r"which NumPy would drop; use x.detach\(\)"):
        np.asarray(w)
    with tg.no_grad():
        np.asarray(w)
    with pytest.raises(TypeError):
        np.exp(x)  # would lose the gradient of a tensor that has one: use x.exp()


def test_numpy_scalars_and_arrays_as_operands():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for left, right in [
        (np.float64(3), x),
        (x, np.float32(3)),
        (np.int64(3), x),
        (x, np.array(3.0)),
    ]:
        y = left * right
        assert isinstance(y, tg.Tensor)
        assert y.dtype == tg.float32
        assert y.tolist() == [3.0, 6.0]
    y = np.array([10.0, 20.0], np.float32) - x
    assert isinstance(y, tg.Tensor)
    y.sum().backward()
    assert x.grad.tolist() == [-1.0, -1.0]
    assert (np.array([[1, 2]]) @ tg.tensor([[3], [4]])).tolist() == [[11]]
    assert (np.array([1.0, 5.0]) > x).tolist() == [False, True]


def test_comparison_with_what_is_no_number():
    x = tg.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert x != "a"
    assert x not in (None, "a")
    with pytest.raises(TypeError):
        operator.lt(x, "a")
    with pytest.raises(TypeError, match="add: operands are tensors, arrays and numbers, but str"):
        x + "a"
    with pytest.raises(TypeError, match="mul: operands are .* but list was given"):
        x * [1, 2]


def test_in_and_iteration():
    x = tg.tensor([[1, 2], [3, 4]])
    assert 3 in x
    assert 5 not in x
    rows = list(x)
    assert [row.tolist() for row in rows] == [[1, 2], [3, 4]]
    a, b = tg.tensor([5.0, 6.0])
    assert (a.item(), b.item()) == (5.0, 6.0)
    assert [r.tolist() for r in reversed(x)] == [[3, 4], [1, 2]]
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        list(tg.tensor(1.0))
    w = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    sum(row[0] * k for k, row in enumerate(w, 1)).backward()
    assert w.grad.tolist() == [[1.0, 0.0], [2.0, 0.0]]


def test_tensors_are_hashed_by_identity():
    a, b = tg.ones(2), tg.ones(2)
    assert len({a, b, a}) == 2
    assert {a: 1}[a] == 1


def test_deepcopy():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * 3).sum().backward()
    both = copy.deepcopy([w, w])
    assert both[0] is both[1]  # sharing is kept
    assert both[0] is not w
    assert both[0].requires_grad
    assert both[0].grad.tolist() == [3.0, 3.0]
    with tg.no_grad():
        both[0].add_(1)
    assert w.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="deepcopy: only leaves can be copied"):
        copy.deepcopy(w * 2)


def test_repr():
    assert repr(tg.tensor([1.5, 2.0])) == "tensor([1.5, 2. ])"
    assert repr(tg.tensor(3)) == "tensor(3)"
    assert repr(tg.zeros(1, dtype=tg.float64)) == "tensor([0.], dtype=float64)"
    x = tg.ones(1, requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2.], grad_fn=Mul)"
    assert len(repr(tg.zeros(1000, 1000))) < 1000


def test_to_and_casts():
    x = tg.tensor([1.7, -1.2], requires_grad=True)
    assert x.to(tg.float32) is x
    assert x.to("cpu") is x
    y = x.to(tg.float64)
    (y * y).sum().backward()
    np.testing.assert_allclose(x.grad.array, [3.4, -2.4], rtol=1e-6)
    assert x.grad.dtype == tg.float32
    assert x.int().tolist() == [1, -1]
    assert x.long().dtype == tg.int64
    assert x.half().dtype == tg.float16
    assert x.bool().tolist() == [True, True]
    assert x.to("cpu", tg.float64).dtype == tg.float64
    assert tg.arange(2).type_as(x).dtype == tg.float32
    assert not x.long().requires_grad
    with pytest.raises(RuntimeError, match="device='cuda'"):
        x.cuda()
    with pytest.raises(ValueError, match="device='tpu' is not known"):
        tg.zeros(2, device="tpu")


def test_data_and_requires_grad():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    w.data = tg.tensor([5.0, 6.0])
    assert w.tolist() == [5.0, 6.0]
    assert w.requires_grad
    w.data.mul_(2)
    assert w.tolist() == [10.0, 12.0]
    assert not w.requires_grad_(False).requires_grad
    y = tg.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="only a leaf can be switched"):
        y.requires_grad_(False)


def test_functions_are_the_methods():
    x = tg.tensor([[1.0, 4.0], [2.0, 3.0]])
    assert tg.sum(x, 1).tolist() == x.sum(1).tolist()
    assert tg.topk(x, 1).values.tolist() == [[4.0], [3.0]]
    assert tg.exp([0.0]).tolist() == [1.0]  # lists and numbers become tensors
    assert tg.sqrt(4.0).item() == 2.0
    assert tg.equal(x, x + 0)
    assert not tg.equal(x, x[:1])
    assert tg.allclose(x, x + 1e-7)
    assert not tg.allclose(x, x + 1)
    assert tg.allclose(tg.tensor([float("nan")]), [float("nan")], equal_nan=True)
    assert tg.isnan(tg.tensor([float("nan"), 1.0])).tolist() == [True, False]
    assert tg.max(x).item() == 4.0
    assert "log(sum(exp(x)))" in tg.logsumexp.__doc__
    assert tg.tril(tg.ones(2, 2)).tolist() == [[1, 0], [1, 1]]


def test_random_tensors_follow_the_seed():
    tg.manual_seed(5)
    first = [tg.randn(3), tg.rand(3), tg.randint(0, 9, (3,)), tg.randperm(5)]
    tg.manual_seed(5)
    again = [tg.randn(3), tg.rand(3), tg.randint(0, 9, (3,)), tg.randperm(5)]
    for a, b in zip(first, again, strict=True):
        assert a.tolist() == b.tolist()
    assert tg.randn(3).tolist() != first[0].tolist()
    saved = rng.state.state_dict()
    a = tg.randn(4).tolist()
    rng.state.load_state_dict(saved)
    assert tg.randn(4).tolist() == a
    with pytest.raises(ValueError, match="seed=-1 is not accepted"):
        tg.manual_seed(-1)


def test_random_values_are_of_the_right_kind():
    x = tg.randn(200, 50)
    assert x.dtype == tg.float32
    assert abs(x.mean().item()) < 0.05
    assert abs(x.std().item() - 1) < 0.05
    u = tg.rand(200, 50, dtype=tg.float64)
    assert u.dtype == tg.float64
    assert 0 <= u.min().item() < 0.01
    assert 0.99 < u.max().item() < 1
    n = tg.randint(5, (1000,))
    assert n.dtype == tg.int64
    assert sorted(set(n.tolist())) == [0, 1, 2, 3, 4]
    assert set(tg.randint(-2, 0, size=(50,)).tolist()) == {-2, -1}
    assert sorted(tg.randperm(7).tolist()) == list(range(7))
    assert tg.randn(()).shape == ()
    assert tg.rand_like(x, dtype=tg.float64).dtype == tg.float64
    assert tg.randn(2, requires_grad=True).requires_grad
    with pytest.raises(TypeError, match="random values are floating point, not int64"):
        tg.randn(2, dtype=tg.int64)
    with pytest.raises(ValueError, match=r"no integer lies in \[3, 3\)"):
        tg.randint(3, 3, (2,))
