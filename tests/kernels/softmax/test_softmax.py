import numpy as np
import pytest

OPERATION = "softmax"
SHAPES = [
    (1, 1),
    (5, 1),
    (1, 3),
    (2, 31),
    (4, 33),
    (3, 127),
    (2, 3, 5),
    (7,),
    (40_000, 3),
    (2, 40_000),
]
EMPTY = [(0, 3), (3, 0), (0,), (2, 0, 4)]


def naive(x):
    e = np.exp(x.astype(np.longdouble))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_values(kernels, random, shape):
    x = random.standard_normal(shape)
    np.testing.assert_allclose(kernels.softmax_forward(x), naive(x).astype(float), rtol=1e-13)
    expected = np.log(naive(x)).astype(float)
    np.testing.assert_allclose(kernels.log_softmax_forward(x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_slopes(kernels, random, slopes_agree, shape):
    x, dout = random.standard_normal(shape), random.standard_normal(shape)
    for name in ("softmax", "log_softmax"):
        forward = getattr(kernels, f"{name}_forward")
        dx = getattr(kernels, f"{name}_backward")(dout, forward(x))
        slopes_agree(forward, [x], [dx], dout)


@pytest.mark.parametrize("shape", EMPTY)
def test_empty(kernels, shape):
    x = np.zeros(shape, np.float32)
    for out in (kernels.softmax_forward(x), kernels.softmax_backward(x, x)):
        assert out.shape == shape
        assert out.dtype == np.float32
    assert kernels.log_softmax_forward(x).shape == shape
    assert kernels.log_softmax_backward(x, x).shape == shape


def test_large_values_do_not_overflow(kernels):
    x = np.array([[1e4, 1e4 + 1, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    e = np.exp(-1)
    expected = [[e / (1 + e), 1 / (1 + e), 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(kernels.softmax_forward(x), expected, rtol=1e-6)
    logs = [[-1 - np.log(1 + e), -np.log(1 + e), -20001 - np.log(1 + e)], [-np.log(3)] * 3]
    np.testing.assert_allclose(kernels.log_softmax_forward(x), logs, rtol=1e-6)


def test_minus_infinity_gets_nothing_and_passes_nothing(kernels):
    x = np.array([[0.0, -np.inf, 1.0]])
    out = kernels.softmax_forward(x)
    np.testing.assert_allclose(out, naive(x).astype(float))
    dx = kernels.softmax_backward(np.array([[1.0, 2.0, 3.0]]), out)
    assert dx[0, 1] == 0
    assert np.isfinite(dx).all()


def test_nan_stays_in_its_row(kernels):
    x = np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]])
    for function in (kernels.softmax_forward, kernels.log_softmax_forward):
        out = function(x)
        assert np.isnan(out[0]).all()
        assert np.isfinite(out[1]).all()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_row_of_minus_infinity_is_nan(kernels):
    assert np.isnan(kernels.softmax_forward(np.full((2, 3), -np.inf))).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 5e-7), (np.float16, 2e-3)])
def test_dtype_is_kept(kernels, random, dtype, tolerance):
    x = (3 * random.standard_normal((5, 127))).astype(dtype)
    dout = random.standard_normal(x.shape).astype(dtype)
    for name in ("softmax", "log_softmax"):
        forward = getattr(kernels, f"{name}_forward")
        backward = getattr(kernels, f"{name}_backward")
        out, exact = forward(x), forward(x.astype(np.float64))
        assert out.dtype == dtype
        np.testing.assert_allclose(out, exact, rtol=tolerance, atol=tolerance)
        dx = backward(dout, out)
        assert dx.dtype == dtype
        expected = backward(dout.astype(np.float64), out.astype(np.float64))
        np.testing.assert_allclose(dx, expected, rtol=20 * tolerance, atol=20 * tolerance)


def test_float16_sums_in_float32(kernels):
    # 4096 ones sum to 2048 in float16: 2048 + 1 rounds back.
    x = np.zeros((1, 4096), np.float16)
    np.testing.assert_array_equal(kernels.softmax_forward(x), np.float16(1 / 4096))


def test_strided_input_and_nothing_overwritten(kernels, random, unchanged):
    x = random.standard_normal((6, 8))[::2, ::-1]
    dout = random.standard_normal((4, 6)).T[::2]
    dense = np.ascontiguousarray
    with unchanged(x):
        out = kernels.softmax_forward(x)
    np.testing.assert_array_equal(out, kernels.softmax_forward(dense(x)))
    part = out[:, :4]
    with unchanged(dout, part):
        dx = kernels.softmax_backward(dout, part)
    np.testing.assert_array_equal(dx, kernels.softmax_backward(dense(dout), dense(part)))
