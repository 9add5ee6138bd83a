"""Values of the operations: the NumPy formula on all samples of the op table; and corners."""

import math
import warnings

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.optable import OPS, tolerance

inf, nan = math.inf, math.nan


def axes(dim):
    return (
        tuple(dim) if isinstance(dim, (list, tuple)) and len(dim) else (dim if dim != () else None)
    )


def reduction(function):
    return lambda x, dim=None, keepdim=False: function(
        x, axis=axes(dim) if np.ndim(x) else None, keepdims=keepdim
    )


def variance(x, dim=None, keepdim=False, correction=None, unbiased=True, root=False):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    axis = axes(dim) if np.ndim(x) else None
    ddof = int(unbiased) if correction is None else correction
    out = np.var(x, axis=axis, keepdims=keepdim, ddof=ddof)
    return np.sqrt(out) if root else out


def norm(x, p=2, dim=None, keepdim=False):
    size = np.abs(x)
    if p == inf:
        return size.max(axis=axes(dim), keepdims=keepdim)
    return (size**p).sum(axis=axes(dim), keepdims=keepdim) ** (1 / p)


def logsumexp(x, dim, keepdim=False):
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x).sum(axis=axes(dim) if np.ndim(x) else None, keepdims=keepdim))


def scatter_add(x, dim, index, src):
    out = np.array(x)
    if not out.ndim:
        return out + src
    for place in np.ndindex(index.shape):
        target = list(place)
        target[dim] = index[place]
        out[tuple(target)] += src[place]
    return out


def gather(x, dim, index):
    if not x.ndim:
        return x
    out = np.empty(index.shape)
    for place in np.ndindex(index.shape):
        source = list(place)
        source[dim] = index[place]
        out[place] = x[tuple(source)]
    return out


def masked_fill(x, mask, value):
    x, mask = np.broadcast_arrays(x, mask)
    out = np.array(x)
    out[mask] = value
    return out


def repeat_interleave(x, repeats, dim=None):
    return np.repeat(x, repeats, dim)


def pad(x, widths, value=0.0):
    out = x
    for i in range(len(widths) // 2):
        before, after = widths[2 * i], widths[2 * i + 1]
        n = out.shape[-1 - i]
        keep = range(max(-before, 0), n - max(-after, 0))
        out = out.take(keep, axis=-1 - i)
        grow = [(0, 0)] * out.ndim
        grow[-1 - i] = (max(before, 0), max(after, 0))
        out = np.pad(out, grow, constant_values=value)
    return out


def unflatten(x, dim, sizes):
    dim %= x.ndim
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def shape_of(sizes):
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def expand(x, *sizes):
    sizes = shape_of(sizes)
    lead = len(sizes) - x.ndim
    return np.broadcast_to(x, [x.shape[i - lead] if n == -1 else n for i, n in enumerate(sizes)])


def repeat(x, *counts):
    return np.tile(x, shape_of(counts))


def squeeze(x, dim=None):
    if not x.ndim:
        return x
    wanted = range(x.ndim) if dim is None else np.atleast_1d(dim)
    return x.squeeze(tuple(int(d) for d in wanted if x.shape[d] == 1))


def clamp(x, min=None, max=None):
    x = x if min is None else np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


REFERENCE = {
    "add": lambda a, b, alpha=1: a + alpha * b,
    "sub": lambda a, b, alpha=1: a - alpha * b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "remainder": lambda a, b: a - np.floor(a / b) * b,
    "floor_divide": lambda a, b: np.floor(a / b),
    "maximum": lambda a, b: np.where(a > b, a, b),
    "minimum": lambda a, b: np.where(a < b, a, b),
    "where": np.where,
    "neg": lambda x: 0 - x,
    "abs": lambda x: np.where(x < 0, -x, x),
    "exp": np.exp,
    "log": np.log,
    "sqrt": lambda x: x**0.5,
    "rsqrt": lambda x: x**-0.5,
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.where(x > 0, x, 0),
    "clamp": clamp,
    "sum": reduction(np.sum),
    "mean": reduction(np.mean),
    "var": variance,
    "std": lambda *args, **kwargs: variance(*args, **kwargs, root=True),
    "norm": norm,
    "amax": reduction(np.max),
    "amin": reduction(np.min),
    "logsumexp": logsumexp,
    "cumsum": lambda x, dim: np.cumsum(x, dim) if x.ndim else x,
    "reshape": lambda x, *sizes: x.reshape(shape_of(sizes)),
    "flatten": lambda x, start_dim=0, end_dim=-1: (
        x.reshape(
            *x.shape[: start_dim % x.ndim],
            math.prod(x.shape[start_dim % x.ndim : end_dim % x.ndim + 1]),
            *x.shape[end_dim % x.ndim + 1 :],
        )
        if x.ndim
        else x.reshape(1)
    ),
    "unflatten": unflatten,
    "permute": lambda x, *order, dims=None: np.transpose(x, dims or shape_of(order)),
    "transpose": lambda x, a, b: np.swapaxes(x, a, b) if x.ndim else x,
    "expand": expand,
    "repeat": repeat,
    "repeat_interleave": repeat_interleave,
    "flip": lambda x, *order, dims=None: np.flip(x, dims or shape_of(order)),
    "squeeze": squeeze,
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
    "tril": lambda x, diagonal=0: np.tril(x, diagonal),
    "triu": lambda x, diagonal=0: np.triu(x, diagonal),
    "pad": pad,
    "cat": lambda xs, dim=0: np.concatenate(xs, dim),
    "stack": lambda xs, dim=0: np.stack(xs, dim),
    "gather": gather,
    "scatter_add": scatter_add,
    "index_select": lambda x, dim, index: np.take(x, index, dim),
    "masked_fill": masked_fill,
    "einsum": np.einsum,
    "matmul": np.matmul,
}


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.filterwarnings("ignore")
def test_values_are_the_formulas(name):
    op = OPS[name]
    for i, sample in enumerate(op.samples):
        arrays = sample.arrays(seed=i)
        ours = sample.call(op.call, [tg.Tensor(a) for a in arrays]).array
        expected = np.asarray(sample.call(REFERENCE[name], arrays))
        what = f"{name}({sample})"
        assert ours.shape == expected.shape, what
        dtype = ours.dtype if ours.dtype.kind == "f" else np.float64
        bound = tolerance(op, sample, dtype, ours.size) * max(
            1, np.nanmax(np.abs(expected), initial=0)
        )
        np.testing.assert_allclose(ours, expected, rtol=0, atol=bound, err_msg=what)


# -- corners --


def gradient(function, *values, dtype=tg.float64):
    """Values and gradients of sum(function(...)) as lists."""
    leaves = [tg.tensor(v, dtype=dtype, requires_grad=True) for v in values]
    out = function(*leaves)
    out.sum().backward()
    return out.tolist(), *[x.grad.tolist() for x in leaves]


def test_ties_share_the_gradient():
    assert gradient(tg.maximum, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0])[1:] == (
        [0.5, 0.0, 1.0],
        [0.5, 1.0, 0.0],
    )
    assert gradient(tg.minimum, [1.0, 2.0], [1.0, 5.0])[1:] == ([0.5, 1.0], [0.5, 0.0])
    assert gradient(tg.amax, [3.0, 1.0, 3.0])[1] == [0.5, 0.0, 0.5]
    assert gradient(tg.max, [3.0, 1.0, 3.0])[1] == [0.5, 0.0, 0.5]
    # With a dim, the first of equals is chosen and gets all of it.
    assert gradient(lambda x: x.max(0).values, [3.0, 1.0, 3.0])[1] == [1.0, 0.0, 0.0]
    assert gradient(lambda x: x.min(0).values, [1.0, 2.0, 1.0])[1] == [1.0, 0.0, 0.0]
    assert tg.tensor([2, 5, 5, 1]).argmax().item() == 1
    assert tg.tensor([2, 1, 5, 1]).argmin(0).item() == 1


def test_slopes_at_the_kinks():
    assert gradient(tg.relu, [-1.0, 0.0, 2.0])[1] == [0.0, 0.0, 1.0]
    assert gradient(tg.abs, [-2.0, 0.0, 2.0])[1] == [-1.0, 0.0, 1.0]
    assert gradient(lambda x: x.clamp(-1, 1), [-2.0, -1.0, 0.0, 1.0, 3.0])[1] == [0, 1, 1, 1, 0]


def test_power_at_zero_and_below():
    assert gradient(lambda x: x**0, [0.0, 2.0]) == ([1.0, 1.0], [0.0, 0.0])
    assert gradient(lambda x: x**1, [0.0, 2.0]) == ([0.0, 2.0], [1.0, 1.0])
    assert gradient(lambda x: x**2, [0.0, -3.0]) == ([0.0, 9.0], [0.0, -6.0])
    assert gradient(lambda x: x**3, [-2.0]) == ([-8.0], [12.0])
    assert gradient(lambda x: x**-1, [-2.0]) == ([-0.5], [-0.25])
    out, da, db = gradient(tg.pow, [0.0, 0.0, 2.0], [0.0, 2.0, 3.0])
    assert out == [1.0, 0.0, 8.0]
    assert da == [0.0, 0.0, 12.0]
    np.testing.assert_allclose(db, [0.0, 0.0, 8 * math.log(2)])
    assert gradient(lambda x: 2.0**x, [3.0])[1] == pytest.approx([8 * math.log(2)])


def test_nothing_overflows_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        big = [-1000.0, 0.0, 1000.0]
        assert gradient(tg.sigmoid, big) == ([0.0, 0.5, 1.0], [0.0, 0.25, 0.0])
        assert gradient(tg.tanh, big) == ([-1.0, 0.0, 1.0], [0.0, 1.0, 0.0])
        x = tg.tensor([1000.0, 1001.0], requires_grad=True)
        y = x.logsumexp(0)
        y.backward()
        assert y.item() == pytest.approx(1001 + math.log(1 + math.exp(-1)))
        np.testing.assert_allclose(x.grad.array, [0.26894142, 0.73105858], rtol=1e-5)


def test_logsumexp_of_infinities():
    out, dx = gradient(lambda x: x.logsumexp(1), [[-inf, -inf], [-inf, 1.0], [inf, 0.0]])
    assert out == [-inf, 1.0, inf]
    assert dx[:2] == [[0.0, 0.0], [0.0, 1.0]]
    assert tg.logsumexp(tg.zeros(2, 0), 1).tolist() == [-inf, -inf]


def test_spread_of_equal_values_has_a_gradient_of_zero():
    assert gradient(tg.std, [2.0, 2.0, 2.0]) == (0.0, [0.0, 0.0, 0.0])
    assert gradient(tg.norm, [0.0, 0.0]) == (0.0, [0.0, 0.0])
    assert math.isnan(tg.tensor([1.0]).var().item())
    assert tg.tensor([1.0]).var(correction=0).item() == 0.0
    assert tg.tensor([1.0, 3.0]).var().item() == 2.0
    assert tg.tensor([1.0, 3.0]).var(unbiased=False).item() == 1.0


def test_nan_is_passed_on_and_sorts_last():
    x = tg.tensor([2.0, nan, 1.0])
    assert math.isnan(x.max().item())
    assert math.isnan(x.relu().tolist()[1])
    assert math.isnan(x.clamp(0, 1).tolist()[1])
    assert x.argmax().item() == 1
    assert x.argsort().tolist() == [2, 0, 1]
    assert x.argsort(descending=True).tolist() == [1, 0, 2]
    long = tg.tensor([float(i) for i in range(50)] + [nan])
    assert long.topk(2).indices.tolist() == [50, 49]
    assert long.topk(2, largest=False).indices.tolist() == [0, 1]


def test_topk_of_unsigned_and_bool():
    x = tg.tensor(np.arange(40, dtype=np.uint8))
    assert x.topk(3).values.tolist() == [39, 38, 37]
    assert x.topk(3, largest=False).values.tolist() == [0, 1, 2]
    smallest = tg.tensor(np.array([-(2**63), *range(30)]))
    assert smallest.topk(1).values.tolist() == [29]


def test_integer_division():
    x = tg.tensor([7, -7])
    assert (x // 2).tolist() == [3, -4]
    assert (x % 3).tolist() == [1, 2]
    assert (x / 2).tolist() == [3.5, -3.5]
    assert (20 // x).tolist() == [2, -3]
    assert (20 % x).tolist() == [6, -1]
    for wrong in (lambda: x // 0, lambda: x % tg.tensor([0, 1]), lambda: 1 % (x - x)):
        with pytest.raises(ZeroDivisionError, match="an integer divisor is 0"):
            wrong()


def test_repeated_indices_add_their_gradients():
    for pick in (
        lambda x: x[[0, 0, 2]],
        lambda x: x[tg.tensor([0, 0, 2])],
        lambda x: x.index_select(0, tg.tensor([0, 0, 2])),
        lambda x: x.gather(0, tg.tensor([0, 0, 2])),
        lambda x: x.take_along_dim(tg.tensor([0, 0, 2]), 0),
    ):
        assert gradient(pick, [1.0, 2.0, 3.0])[1] == [2.0, 0.0, 1.0]
    # A mask beside an index array names the element once for each index.
    assert gradient(lambda x: x[tg.tensor([True]), tg.tensor([1, 1, 0])], [[5.0, 6.0]])[1] == [
        [1.0, 2.0]
    ]
    assert gradient(lambda x: x[0], [[1.0, 2.0], [3.0, 4.0]])[1] == [[1.0, 1.0], [0.0, 0.0]]


def test_scatter_add_reads_the_used_part_of_a_larger_source():
    index = tg.tensor([[0, 1, 1]])
    x, src = tg.zeros(2, 3, dtype=tg.float64), tg.tensor(np.arange(8.0).reshape(2, 4))
    assert x.scatter_add(0, index, src).tolist() == [[0, 0, 0], [0, 1, 2]]
    leaves = [tg.Tensor(x.array, requires_grad=True), tg.Tensor(src.array, requires_grad=True)]
    tg.gradcheck(lambda a, b: a.scatter_add(0, index, b) ** 2, leaves)


def test_attention_without_softmax_shift_would_overflow():
    import tinygrad_llm.functional as F

    x = tg.tensor([[1000.0, 1000.0, -1000.0]], requires_grad=True)
    np.testing.assert_allclose(F.softmax(x, -1).tolist(), [[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(F.log_softmax(x, -1).tolist(), [[-math.log(2)] * 2 + [-2000.69314]])
