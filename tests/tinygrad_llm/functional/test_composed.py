"""The fused operations equal the textbook formulas, in value and in gradient."""

import numpy as np
import pytest

import tinygrad_llm.functional as F
from tinygrad_llm import Tensor
from tinygrad_llm.functional import composed

SHAPES = [(4, 7), (3, 1), (1, 5), (2, 3, 6), (9,), (5, 33)]


def leaves(rng, *shapes, dtype=np.float64):
    return [Tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]


def gradients(function, inputs, dout):
    """Value and gradients of sum(dout * function(*inputs))."""
    for x in inputs:
        if x is not None:
            x.grad = None
    out = function(*inputs)
    out.backward(dout)
    return out.detach().numpy(), [None if x is None else x.grad.numpy() for x in inputs]


def assert_twins(fused, textbook, inputs, rng, tolerance=1e-11):
    out = fused(*inputs)
    dout = Tensor(np.asarray(rng.standard_normal(out.shape), out.dtype))
    value, slopes = gradients(fused, inputs, dout)
    expected, expected_slopes = gradients(textbook, inputs, dout)
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance)
    for a, b in zip(slopes, expected_slopes, strict=True):
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(map(ord, request.node.name)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(rng, name, shape):
    for dim in range(-len(shape), len(shape)):
        fused, textbook = getattr(F, name), getattr(composed, name)
        x = leaves(rng, shape)
        assert_twins(
            lambda x, d=dim, f=fused: f(x, d), lambda x, d=dim, t=textbook: t(x, d), x, rng
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
def test_normalisation(rng, shape, affine):
    x, weight, bias = leaves(rng, shape, shape[-1:], shape[-1:])
    weight, bias = (weight, bias) if affine else (None, None)
    assert_twins(
        lambda x, w, b: F.layer_norm(x, shape[-1], w, b, eps=1e-3),
        lambda x, w, b: composed.layer_norm(x, w, b, eps=1e-3),
        [x, weight, bias],
        rng,
    )
    assert_twins(
        lambda x, w: F.rms_norm(x, shape[-1], w, eps=1e-3),
        lambda x, w: composed.rms_norm(x, w, eps=1e-3),
        [x, weight],
        rng,
    )


@pytest.mark.parametrize("shape", [*SHAPES, ()])
def test_activations(rng, shape):
    x, up = leaves(rng, shape, shape)
    for kind in ("none", "tanh"):
        assert_twins(
            lambda x, k=kind: F.gelu(x, approximate=k),
            lambda x, k=kind: composed.gelu(x, approximate=k),
            [x],
            rng,
        )
    assert_twins(F.silu, composed.silu, [x], rng)
    assert_twins(F.swiglu, composed.swiglu, [x, up], rng)


@pytest.mark.parametrize("shape", [(2, 5), (3, 4, 5), (1, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(rng, shape, bias):
    x, weight, b = leaves(rng, shape, (7, 5), (7,))
    assert_twins(F.linear, composed.linear, [x, weight, b if bias else None], rng)


def test_embedding(rng):
    ids = Tensor(rng.integers(0, 6, (4, 9)))
    weight = leaves(rng, (6, 3))
    assert_twins(lambda w: F.embedding(ids, w), lambda w: composed.embedding(ids, w), weight, rng)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [True, False])
def test_cross_entropy(rng, weighted, smoothing, ignored):
    targets = rng.integers(0, 5, 13)
    if ignored:
        targets[::4] = -100
    t, w = Tensor(targets), Tensor(0.5 + rng.random(5)) if weighted else None
    assert_twins(
        lambda x: F.cross_entropy(x, t, w, label_smoothing=smoothing),
        lambda x: composed.cross_entropy(x, t, w, label_smoothing=smoothing),
        leaves(rng, (13, 5)),
        rng,
    )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", ["none", "bool", "blind", "numbers"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("heads", [(6, 6), (6, 2)])
def test_attention(rng, causal, kind, dropout, heads):
    h, g = heads
    q, k, v = leaves(rng, (2, h, 5, 4), (2, g, 7, 4), (2, g, 7, 3))
    mask = None
    if kind in ("bool", "blind"):
        allowed = rng.random((2, 1, 5, 7)) > 0.3
        if kind == "blind":
            allowed[0, 0, 2] = False
        mask = Tensor(allowed)
    inputs = [q, k, v]
    if kind == "numbers":
        (mask,) = leaves(rng, (h, 5, 1))
        inputs.append(mask)
    options = {"dropout_p": dropout, "seed": 3, "stream": 4, "offset": 1, "scale": 0.7}

    from tinygrad_llm import ops

    def fused(q, k, v, m=mask):
        return ops.Attention.apply(q, k, v, m, causal=causal, **options)

    def textbook(q, k, v, m=mask):
        return composed.attention(q, k, v, m, causal=causal, **options)[0]

    assert_twins(fused, textbook, inputs, rng)


def test_float32_twins(rng):
    q, k, v = leaves(rng, (2, 3, 33, 8), (2, 3, 33, 8), (2, 3, 33, 8), dtype=np.float32)
    assert_twins(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k, v: composed.attention(q, k, v, causal=True)[0],
        [q, k, v],
        rng,
        tolerance=2e-5,
    )
    x, weight, bias = leaves(rng, (4, 65), (65,), (65,), dtype=np.float32)
    assert_twins(
        lambda x, w, b: F.layer_norm(x, 65, w, b), composed.layer_norm, [x, weight, bias], rng, 2e-5
    )
    assert_twins(F.gelu, composed.gelu, [x], rng, 5e-6)
