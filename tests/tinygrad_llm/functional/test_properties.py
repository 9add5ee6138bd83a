"""Random shapes, layouts and options (hypothesis): the textbook's values, and true gradients."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_llm as tg
import tinygrad_llm.functional as F
from tinygrad_llm.functional import composed

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
SIZES = st.integers(0, 4)
FEW = settings(max_examples=40)


def made(shape, seed, layout=0):
    """Normal float64 values that lie in memory in one of three ways."""
    rng = np.random.default_rng(seed)
    if layout == 1:
        return rng.standard_normal(shape[::-1]).T
    if layout == 2 and shape:
        return rng.standard_normal((*shape[:-1], 2 * shape[-1]))[..., ::-2]
    return np.asarray(rng.standard_normal(shape))


def checked(function, textbook, *arrays):
    """function gives what textbook gives, and its gradients are those of finite differences."""
    tensors = [tg.Tensor(a, requires_grad=True) for a in arrays]
    with tg.no_grad():
        out, expected = function(*tensors), textbook(*tensors)
    assert out.shape == expected.shape
    np.testing.assert_allclose(out.array, expected.array, rtol=1e-9, atol=1e-11)
    assert tg.gradcheck(function, tensors, atol=2e-6, rtol=2e-5)


@FEW
@given(st.sampled_from(["gelu", "silu"]), SHAPES, SEEDS, st.integers(0, 2), st.booleans())
def test_activations(name, shape, seed, layout, tanh):
    options = {"approximate": "tanh"} if tanh and name == "gelu" else {}
    checked(
        lambda x: getattr(F, name)(x, **options),
        lambda x: getattr(composed, name)(x, **options),
        made(shape, seed, layout),
    )


@FEW
@given(st.sampled_from(["softmax", "log_softmax"]), SHAPES, SEEDS, st.integers(0, 2), st.data())
def test_softmax_along_any_dim(name, shape, seed, layout, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = made(shape, seed, layout)
    textbook = getattr(composed, name) if shape[dim] else (lambda x, dim: x)
    checked(lambda x: getattr(F, name)(x, dim), lambda x: textbook(x, dim), x)
    # The rows of another scale, and all of them far from 0.
    moved = getattr(F, name)(tg.Tensor(x + 1000), dim)
    np.testing.assert_allclose(moved.array, getattr(F, name)(tg.Tensor(x), dim).array, atol=1e-9)


@FEW
@given(
    SHAPES.filter(lambda shape: shape[-1] > 1),
    SEEDS,
    st.integers(0, 2),
    st.sampled_from([(False, False), (True, False), (True, True)]),
    st.sampled_from([1e-5, 0.3]),
)
def test_normalisation(shape, seed, layout, affine, eps):
    x, normalized = made(shape, seed, layout), shape[-1:]
    weight, bias = (made(normalized, seed + i) for i in (1, 2))
    given_ = [p for p, used in zip((weight, bias), affine, strict=True) if used]
    checked(
        lambda x, *p: F.layer_norm(x, normalized, *p, eps=eps),
        lambda x, *p: composed.layer_norm(x, *p, eps=eps),
        x, *given_,
    )  # fmt: skip
    checked(
        lambda x, *p: F.rms_norm(x, normalized, *p, eps=eps),
        lambda x, *p: composed.rms_norm(x, *p, eps=eps),
        x, *given_[:1],
    )  # fmt: skip


@FEW
@given(SHAPES, SIZES, SEEDS, st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_linear(shape, features, seed, layout, weight_layout, with_bias):
    x = made(shape, seed, layout)
    weight = made((features, shape[-1]), seed + 1, weight_layout)
    bias = [made((features,), seed + 2)] if with_bias else []
    checked(F.linear, composed.linear, x, weight, *bias)


@FEW
@given(
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    st.integers(1, 5),
    SIZES,
    SEEDS,
    st.integers(0, 2),
)
def test_embedding(shape, entries, width, seed, layout):
    ids = tg.Tensor(np.random.default_rng(seed).integers(0, entries, shape))
    weight = made((entries, width), seed + 1, layout)
    checked(lambda w: F.embedding(ids, w), lambda w: composed.embedding(ids, w), weight)


@FEW
@given(
    st.integers(1, 5), st.integers(1, 5), SEEDS, st.integers(0, 2),
    st.sampled_from([0.0, 0.2, 1.0]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_cross_entropy(rows, classes, seed, layout, smoothing, weighted, ignore):
    rng = np.random.default_rng(seed)
    x = made((rows, classes), seed + 1, layout)
    targets = rng.integers(0, classes, rows)
    targets[1:][rng.random(rows - 1) < 0.5 * ignore] = -100  # the first stays
    weight = tg.Tensor(0.5 + rng.random(classes)) if weighted else None
    options = {"weight": weight, "label_smoothing": smoothing}
    ids = tg.Tensor(targets)
    checked(
        lambda x: F.cross_entropy(x, ids, **options),
        lambda x: composed.cross_entropy(x, ids, **options),
        x,
    )
    if not weighted:  # the other dimensions are rows as well
        turned = tg.Tensor(x.T[None], requires_grad=True)  # (1, C, N)
        loss = F.cross_entropy(turned, ids.unsqueeze(0), label_smoothing=smoothing)
        expected = F.cross_entropy(tg.Tensor(x), ids, label_smoothing=smoothing)
        assert math.isclose(loss.item(), expected.item(), rel_tol=1e-12)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 2), max_size=2), st.integers(1, 2), st.integers(1, 3),
    st.tuples(SIZES, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    SEEDS, st.integers(0, 2), st.sampled_from(["none", "bool", "numbers"]), st.booleans(),
)  # fmt: skip
def test_attention(batch, heads, group, sizes, seed, layout, mask, causal):
    """Grouped heads; any lengths; a mask that may leave a query with nothing to attend to."""
    (queries, keys, width, out_width), rng = sizes, np.random.default_rng(seed)
    q = made((*batch, heads * group, queries, width), seed + 1, layout)
    k = made((*batch, heads, keys, width), seed + 2, layout)
    v = made((*batch, heads, keys, out_width), seed + 3, layout)
    allowed = rng.random((heads * group, queries, keys)) < 0.7
    numbers = [rng.standard_normal((queries, keys))] if mask == "numbers" else []
    given_mask = tg.Tensor(allowed) if mask == "bool" else None

    def fused(q, k, v, *bias):
        attend = bias[0] if bias else given_mask
        return F.scaled_dot_product_attention(
            q, k, v, attend, is_causal=causal, scale=0.7, enable_gqa=True
        )

    def textbook(q, k, v, *bias):
        attend = bias[0] if bias else given_mask
        return composed.attention(q, k, v, attend, causal=causal, scale=0.7)[0]

    checked(fused, textbook, q, k, v, *numbers)
