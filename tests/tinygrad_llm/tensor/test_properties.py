"""Random shapes, layouts, indices and equations (hypothesis): values as NumPy's, true gradients."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_llm as tg

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FEW = settings(max_examples=60)


def made(shape, seed, layout=0):
    """Normal float64 values that lie in memory in one of several ways."""
    rng = np.random.default_rng(seed)
    if layout == 1:
        return rng.standard_normal(shape[::-1]).T
    if layout == 2 and shape:
        return rng.standard_normal((*shape[:-1], 2 * shape[-1]))[..., ::-2]
    return np.asarray(rng.standard_normal(shape))


def checked(function, *arrays):
    """gradcheck of function at float64 arrays, unless there is nothing to check."""
    assert tg.gradcheck(function, [tg.Tensor(a, requires_grad=True) for a in arrays])


BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


@FEW
@given(
    st.sampled_from(sorted(BINARY)),
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0),
    SEEDS,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_broadcasting(name, shapes, seed, layouts):
    a = made(shapes.input_shapes[0], seed, layouts[0])
    b = made(shapes.input_shapes[1], seed + 1, layouts[1])
    function = getattr(tg, name)
    np.testing.assert_array_equal(function(tg.Tensor(a), tg.Tensor(b)).array, BINARY[name](a, b))
    checked(function, a, b)


@FEW
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3), SEEDS)
def test_where_broadcasts_three(shapes, seed):
    a, b, c = (made(shape, seed + i) for i, shape in enumerate(shapes.input_shapes))
    mask = c > 0
    np.testing.assert_array_equal(
        tg.where(tg.Tensor(mask), tg.Tensor(a), tg.Tensor(b)).array, np.where(mask, a, b)
    )
    checked(lambda a, b: tg.where(tg.Tensor(mask), a, b), a, b)


@FEW
@given(
    hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=3, max_side=3),
    SEEDS,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_matmul(shapes, seed, layouts):
    a = made(shapes.input_shapes[0], seed, layouts[0])
    b = made(shapes.input_shapes[1], seed + 1, layouts[1])
    np.testing.assert_allclose(
        tg.matmul(tg.Tensor(a), tg.Tensor(b)).array, a @ b, rtol=1e-12, atol=1e-12
    )
    checked(tg.matmul, a, b)


@st.composite
def indexed(draw):
    """A shape and an index into it: basic, or with integer arrays and masks."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    if draw(st.booleans()):
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True))
    parts = []
    axis = 0
    while axis < len(shape):
        n = shape[axis]
        kind = draw(st.sampled_from(["slice", "array", "int", "mask", "none"]))
        if kind == "none":
            parts.append(None)
            continue
        if kind == "slice":
            parts.append(slice(draw(st.integers(0, n)), None, draw(st.integers(1, 2))))
        elif kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            # Length 3, repeats welcome, so that several of them broadcast together.
            parts.append(np.array(draw(st.lists(st.integers(-n, n - 1), min_size=3, max_size=3))))
        else:
            mask = np.zeros(n, bool)
            mask[draw(st.integers(0, n - 1))] = True
            parts.append(mask)
        axis += 1
    return shape, tuple(parts)


def numpys(index):
    """x[index] in NumPy with PyTorch's meaning: integers first, then the arrays."""
    parts = index if isinstance(index, tuple) else (index,)

    def get(x):
        if not any(isinstance(p, np.ndarray) for p in parts):
            return x[index]
        basic, arrays = [], []
        for p in parts:
            basic.append(slice(None) if isinstance(p, np.ndarray) else p)
            if not isinstance(p, int):
                arrays.append(p if isinstance(p, np.ndarray) else slice(None))
        return x[tuple(basic)][tuple(arrays)]

    return get


def ours(index):
    parts = index if isinstance(index, tuple) else (index,)
    wrapped = tuple(tg.Tensor(p) if isinstance(p, np.ndarray) else p for p in parts)
    return wrapped if isinstance(index, tuple) else wrapped[0]


@settings(max_examples=150)
@given(indexed(), SEEDS, st.integers(0, 2))
def test_indexing(shape_and_index, seed, layout):
    shape, index = shape_and_index
    steps = [p.step for p in (index if isinstance(index, tuple) else (index,)) if type(p) is slice]
    x = made(shape, seed, layout)
    if any(step is not None and step < 0 for step in steps):
        with pytest.raises(ValueError, match=r"step -\d+ must be positive; use flip"):
            tg.Tensor(x)[index]
        return
    expected = numpys(index)(x)
    got = tg.Tensor(x)[ours(index)]
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got.array, expected)
    if got.numel():
        checked(lambda x: x[ours(index)], x)
    basic = not any(
        isinstance(p, np.ndarray) for p in (index if type(index) is tuple else (index,))
    )
    assert np.shares_memory(got.array, x) == (basic and got.numel() > 0)


@FEW
@given(indexed(), SEEDS)
def test_assignment_by_index(shape_and_index, seed):
    shape, index = shape_and_index
    parts = index if isinstance(index, tuple) else (index,)
    repeated = any(isinstance(p, np.ndarray) and p.dtype != bool for p in parts)
    if any(type(p) is slice and (p.step or 1) < 0 for p in parts):
        return
    x = made(shape, seed)
    value = made(numpys(index)(x).shape, seed + 1)
    y = tg.tensor(x)
    y[ours(index)] = tg.tensor(value)
    if not repeated:
        np.testing.assert_array_equal(y[ours(index)].array, value)

    def assign(x, v):
        out = x.clone()
        out[ours(index)] = v
        return out

    changed = int((assign(tg.zeros(shape), tg.ones(value.shape)).array != 0).sum())
    assert changed == value.size or repeated
    if value.size == changed:
        checked(assign, x, value)


@FEW
@given(SHAPES, SEEDS, st.data(), st.integers(0, 2))
def test_reductions(shape, seed, data, layout):
    x = made(shape, seed, layout)
    dims = data.draw(
        st.none() | st.lists(st.integers(0, len(shape) - 1), unique=True).map(tuple)
        if shape
        else st.none()
    )
    keepdim = data.draw(st.booleans())
    axes = dims or None
    for name, reference in [("sum", np.sum), ("amax", np.max), ("amin", np.min)]:
        reduced = [shape[d] for d in (dims or range(len(shape)))]
        if name != "sum" and 0 in reduced:
            with pytest.raises(IndexError, match="no element to choose"):
                getattr(tg, name)(tg.Tensor(x), dims, keepdim)
            continue
        function = getattr(tg, name)
        expected = reference(x, axis=axes, keepdims=keepdim)
        np.testing.assert_allclose(
            function(tg.Tensor(x), dims, keepdim).array, expected, atol=1e-12
        )
        checked(lambda x, function=function: function(x, dims, keepdim), x)


@FEW
@given(SHAPES.filter(lambda shape: 0 not in shape), SEEDS, st.data())
def test_moving_axes_and_changing_shapes_round_trips(shape, seed, data):
    x = made(shape, seed)
    order = data.draw(st.permutations(range(len(shape))))
    t = tg.Tensor(x).permute(order)
    assert t.shape == tuple(shape[i] for i in order)
    np.testing.assert_array_equal(t.permute(list(np.argsort(order))).array, x)
    flat = tg.Tensor(x).reshape(-1)
    np.testing.assert_array_equal(flat.reshape(shape).array, x)
    n = math.prod(shape)
    for k in range(1, n + 1):
        if n % k == 0:
            np.testing.assert_array_equal(flat.reshape(k, -1).array, x.reshape(k, -1))
    checked(lambda x: x.permute(order).reshape(-1).reshape(shape) * 2, x)


@FEW
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.integers(0, 2),
    SEEDS,
)
def test_split_undoes_cat(sizes, dim, seed):
    shapes = [(2, 3, 2)[:dim] + (n,) + (2, 3, 2)[dim + 1 :] for n in sizes]
    arrays = [made(shape, seed + i) for i, shape in enumerate(shapes)]
    whole = tg.cat([tg.Tensor(a) for a in arrays], dim)
    for piece, a in zip(whole.split(sizes, dim), arrays, strict=True):
        np.testing.assert_array_equal(piece.array, a)
    checked(lambda *parts: tg.cat(parts, dim) ** 2, *arrays)


@FEW
@given(SHAPES.filter(len), SEEDS, st.data())
def test_sorting_and_picking(shape, seed, data):
    x = np.round(made(shape, seed), 1)  # ties
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    descending = data.draw(st.booleans())
    values, indices = tg.Tensor(x).sort(dim, descending)
    expected = np.sort(x, dim)
    np.testing.assert_array_equal(values.array, np.flip(expected, dim) if descending else expected)
    np.testing.assert_array_equal(np.take_along_axis(x, indices.array, dim), values.array)
    k = data.draw(st.integers(0, shape[dim]))
    top = tg.Tensor(x).topk(k, dim, largest=descending)
    np.testing.assert_array_equal(top.values.array, values.array.take(range(k), dim))
    np.testing.assert_array_equal(np.take_along_axis(x, top.indices.array, dim), top.values.array)


@st.composite
def equations(draw):
    """An einsum over a few letters, with operands' shapes."""
    sizes = {c: draw(st.integers(1, 3)) for c in "abcd"}
    count = draw(st.integers(1, 3))
    operands = [draw(st.text("abcd", min_size=0, max_size=3)) for _ in range(count)]
    letters = sorted(set("".join(operands)))
    out = draw(st.lists(st.sampled_from(letters), unique=True) if letters else st.just([]))
    shapes = [tuple(sizes[c] for c in operand) for operand in operands]
    return ",".join(operands) + "->" + "".join(out), shapes


@settings(max_examples=120)
@given(equations(), SEEDS)
def test_einsum(equation_and_shapes, seed):
    equation, shapes = equation_and_shapes
    arrays = [made(shape, seed + i) for i, shape in enumerate(shapes)]
    np.testing.assert_allclose(
        tg.einsum(equation, *map(tg.Tensor, arrays)).array, np.einsum(equation, *arrays), atol=1e-12
    )
    checked(lambda *operands: tg.einsum(equation, *operands), *arrays)


@FEW
@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), SEEDS, st.data())
def test_pad_with_any_widths(shape, seed, data):
    pads = []
    for n in reversed(shape):
        before = data.draw(st.integers(-n, 3))
        pads += [before, data.draw(st.integers(-n - min(before, 0), 3))]
    x = made(shape, seed)
    out = tg.Tensor(x).pad(pads, value=5.0)
    assert out.shape == tuple(n + pads[-2 * i - 2] + pads[-2 * i - 1] for i, n in enumerate(shape))
    np.testing.assert_array_equal(out.pad([-p for p in pads]).pad(pads, 5.0).shape, out.shape)
    kept = out.array[out.array != 5.0]
    assert np.isin(kept, x).all()
    checked(lambda x: x.pad(pads, value=5.0), x)
