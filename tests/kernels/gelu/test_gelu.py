import math

import numpy as np
import pytest

from tinygrad_llm.kernels.gelu.erf import erf

OPERATION = "gelu"
SHAPES = [(), (1,), (3,), (31,), (33,), (127,), (2, 3, 5), (70_001,)]
KINDS = ["none", "tanh"]


def exact_gelu(x):
    return np.vectorize(lambda v: v * 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[float])(x)


@pytest.mark.parametrize("shape", SHAPES)
def test_values(kernels, random, shape):
    x = np.asarray(3 * random.standard_normal(shape))
    np.testing.assert_allclose(kernels.gelu_forward(x), exact_gelu(x), rtol=1e-13, atol=1e-15)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    expected = 0.5 * x * (1 + np.tanh(inner))
    np.testing.assert_allclose(kernels.gelu_forward(x, "tanh"), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(kernels.silu_forward(x), x / (1 + np.exp(-x)), rtol=1e-13)
    up = np.asarray(random.standard_normal(shape))
    out = kernels.swiglu_forward(x, up)
    np.testing.assert_allclose(out, x / (1 + np.exp(-x)) * up, rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_slopes(kernels, random, slopes_agree, shape):
    x, up, dout = (np.asarray(2 * random.standard_normal(shape)) for _ in range(3))
    for kind in KINDS:
        dx = kernels.gelu_backward(dout, x, kind)
        slopes_agree(lambda x, kind=kind: kernels.gelu_forward(x, kind), [x], [dx], dout)
    slopes_agree(kernels.silu_forward, [x], [kernels.silu_backward(dout, x)], dout)
    gradients = kernels.swiglu_backward(dout, x, up)
    slopes_agree(kernels.swiglu_forward, [x, up], gradients, dout)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("error")
def test_far_out(kernels, dtype, kind):
    x = np.array([1e30, 1e4, 50, -50, -1e4, -1e30], dtype)
    expected = np.array([1e30, 1e4, 50, 0, 0, 0], dtype)
    slope = [1, 1, 1, 0, 0, 0]
    ones = np.ones_like(x)
    np.testing.assert_allclose(kernels.gelu_forward(x, kind), expected, atol=1e-15)
    np.testing.assert_allclose(kernels.gelu_backward(ones, x, kind), slope, atol=1e-15)
    np.testing.assert_allclose(kernels.silu_forward(x), expected, atol=1e-15)
    np.testing.assert_allclose(kernels.silu_backward(ones, x), slope, atol=1e-15)
    np.testing.assert_allclose(kernels.swiglu_forward(x, ones), expected, atol=1e-15)


def test_nan_stays_nan(kernels):
    x = np.array([1.0, np.nan, -1.0])
    for kind in KINDS:
        assert np.isnan(kernels.gelu_forward(x, kind)).tolist() == [False, True, False]
        dx = kernels.gelu_backward(np.ones(3), x, kind)
        assert np.isnan(dx).tolist() == [False, True, False]
    assert np.isnan(kernels.silu_forward(x)).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
def test_empty(kernels, shape):
    x = np.zeros(shape, np.float32)
    for kind in KINDS:
        assert kernels.gelu_forward(x, kind).shape == shape
        assert kernels.gelu_backward(x, x, kind).shape == shape
    assert kernels.silu_backward(x, x).shape == shape
    assert [a.shape for a in kernels.swiglu_backward(x, x, x)] == [shape, shape]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 6e-7), (np.float16, 2e-3)])
def test_dtype_is_kept(kernels, random, dtype, tolerance):
    x, up, dout = (3 * random.standard_normal((3, 5001)).astype(dtype) for _ in range(3))
    wide = [a.astype(np.float64) for a in (x, up, dout)]

    def close(got, expected, size=4):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=4 * tolerance, atol=size * tolerance)

    for kind in KINDS:
        close(kernels.gelu_forward(x, kind), kernels.gelu_forward(wide[0], kind))
        expected = kernels.gelu_backward(wide[2], wide[0], kind)
        # 1 - tanh^2 cancels where tanh is nearly 1, and x^3 and dout, about 10, multiply that.
        close(kernels.gelu_backward(dout, x, kind), expected, size=40)
    close(kernels.silu_forward(x), kernels.silu_forward(wide[0]))
    close(kernels.silu_backward(dout, x), kernels.silu_backward(wide[2], wide[0]))
    close(kernels.swiglu_forward(x, up), kernels.swiglu_forward(wide[0], wide[1]))
    expected = kernels.swiglu_backward(wide[2], wide[0], wide[1])
    for a, b in zip(kernels.swiglu_backward(dout, x, up), expected, strict=True):
        close(a, b)


def test_strided_input_and_nothing_overwritten(kernels, random, unchanged):
    x, up, dout = (random.standard_normal((7, 10))[::2, ::-3].T for _ in range(3))
    with unchanged(x, up, dout):
        for kind in KINDS:
            out = kernels.gelu_forward(x, kind)
            np.testing.assert_array_equal(out, kernels.gelu_forward(x.copy(), kind))
            dx = kernels.gelu_backward(dout, x, kind)
            np.testing.assert_array_equal(dx, kernels.gelu_backward(dout.copy(), x.copy(), kind))
        dgate, dup = kernels.swiglu_backward(dout, x, up)
    expected = kernels.swiglu_backward(dout.copy(), x.copy(), up.copy())
    np.testing.assert_array_equal(dgate, expected[0])
    np.testing.assert_array_equal(dup, expected[1])


def test_erf_to_the_last_digits():
    # All three of Cody's intervals, their borders, and tiny numbers.
    x = np.concatenate(
        [np.linspace(-7, 7, 2801), 10.0 ** np.linspace(-300, 2, 303), [0.46875, 4.0, 6.0]]
    )
    expected = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), expected, rtol=1e-15)
    single = erf(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=3e-7, atol=1e-37)


def test_erf_at_the_ends():
    for dtype in (np.float64, np.float32, np.float16):
        x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
        np.testing.assert_array_equal(erf(x), [np.nan, 1, -1, 0, 0])
        assert np.signbit(erf(x)[4])
        assert erf(x).dtype == dtype
    assert erf(np.array(0.5)).shape == ()
    assert erf(np.zeros((2, 0))).shape == (2, 0)
