import numpy as np
import pytest

OPERATION = "layer_norm"
SHAPES = [
    (1, 1),
    (5, 1),
    (1, 3),
    (2, 31),
    (4, 33),
    (3, 127),
    (2, 3, 5),
    (7,),
    (9000, 5),
    (2, 40_000),
]


def numbers(random, shape):
    """x, weight, bias, dout; x is far from mean 0 and variance 1."""
    x = 3 * random.standard_normal(shape) + random.standard_normal((*shape[:-1], 1)) * 5
    weight, bias = 1 + random.random(shape[-1]), random.standard_normal(shape[-1])
    return x, weight, bias, random.standard_normal(shape)


def naive_layer_norm(x, weight, bias, eps):
    x = x.astype(np.longdouble)
    mean = x.sum(-1, keepdims=True) / x.shape[-1]
    variance = ((x - mean) ** 2).sum(-1, keepdims=True) / x.shape[-1]
    return ((x - mean) / np.sqrt(variance + eps) * weight + bias).astype(float)


@pytest.mark.parametrize("shape", SHAPES)
def test_values(kernels, random, shape):
    x, weight, bias, _ = numbers(random, shape)
    out, mean, rstd = kernels.layer_norm_forward(x, weight, bias, 1e-5)
    np.testing.assert_allclose(out, naive_layer_norm(x, weight, bias, 1e-5), rtol=1e-9, atol=1e-9)
    assert mean.shape == rstd.shape == shape[:-1]
    np.testing.assert_allclose(mean, x.mean(-1), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(x.var(-1) + 1e-5), rtol=1e-11)

    out, rstd = kernels.rms_norm_forward(x, weight, 1e-6)
    expected = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    assert rstd.shape == shape[:-1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
def test_slopes(kernels, random, slopes_agree, shape, affine):
    x, weight, bias, dout = numbers(random, shape)
    if not affine:
        weight = bias = None
    eps = 0.1  # large enough to matter: a wrong place for it would show

    def forward(x, weight, bias):
        return kernels.layer_norm_forward(x, weight, bias, eps)[0]

    _, mean, rstd = kernels.layer_norm_forward(x, weight, bias, eps)
    needs = (True, affine, affine)
    gradients = kernels.layer_norm_backward(dout, x, weight, mean, rstd, needs)
    slopes_agree(forward, [x, weight, bias], gradients, dout)

    _, rstd = kernels.rms_norm_forward(x, weight, eps)
    gradients = kernels.rms_norm_backward(dout, x, weight, rstd, (True, affine))
    slopes_agree(lambda x, w: kernels.rms_norm_forward(x, w, eps)[0], [x, weight], gradients, dout)


def test_only_what_is_needed(kernels, random):
    x, weight, bias, dout = numbers(random, (3, 4))
    _, mean, rstd = kernels.layer_norm_forward(x, weight, bias, 1e-5)
    everything = kernels.layer_norm_backward(dout, x, weight, mean, rstd)
    for i in range(3):
        needs = tuple(k == i for k in range(3))
        part = kernels.layer_norm_backward(dout, x, weight, mean, rstd, needs)
        np.testing.assert_array_equal(part[i], everything[i])
        assert all(part[k] is None for k in range(3) if k != i)
    _, rstd = kernels.rms_norm_forward(x, weight, 1e-5)
    dx, dweight = kernels.rms_norm_backward(dout, x, weight, rstd)
    only_x = kernels.rms_norm_backward(dout, x, weight, rstd, (True, False))
    np.testing.assert_array_equal(only_x[0], dx)
    assert only_x[1] is None
    only_w = kernels.rms_norm_backward(dout, x, weight, rstd, (False, True))
    assert only_w[0] is None
    np.testing.assert_array_equal(only_w[1], dweight)


def test_a_large_mean_does_not_cancel(kernels):
    # mean(x^2) - mean^2 in float32 would give 0 or less here.
    x = np.array([[1e4, 1e4 + 1, 1e4 + 2, 1e4 + 3]], np.float32)
    out, _, _ = kernels.layer_norm_forward(x, None, None, 1e-5)
    expected = naive_layer_norm(x, 1, 0, 1e-5)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_equal_values_give_the_bias(kernels):
    bias = np.array([1.0, -2.0, 3.0])
    out, _, _ = kernels.layer_norm_forward(np.full((2, 3), 7.0), np.ones(3), bias, 1e-5)
    np.testing.assert_allclose(out, [bias, bias], atol=1e-12)


def test_nan_stays_in_its_row(kernels):
    x = np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]])
    for out in (kernels.layer_norm_forward(x)[0], kernels.rms_norm_forward(x)[0]):
        assert np.isnan(out[0]).all()
        assert np.isfinite(out[1]).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 4), (2, 0)])
def test_empty(kernels, shape):
    x, weight = np.zeros(shape, np.float32), np.ones(shape[-1], np.float32)
    out, mean, rstd = kernels.layer_norm_forward(x, weight, weight, 1e-5)
    assert out.shape == shape
    dx, dweight, dbias = kernels.layer_norm_backward(out, x, weight, mean, rstd)
    assert dx.shape == shape
    np.testing.assert_array_equal(dweight, np.zeros(shape[-1]))
    np.testing.assert_array_equal(dbias, np.zeros(shape[-1]))
    out, rstd = kernels.rms_norm_forward(x, weight, 1e-5)
    dx, dweight = kernels.rms_norm_backward(out, x, weight, rstd)
    assert dx.shape == shape
    np.testing.assert_array_equal(dweight, np.zeros(shape[-1]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float16, 4e-3)])
def test_dtype_is_kept(kernels, random, dtype, tolerance):
    x, weight, bias, dout = (a.astype(dtype) for a in numbers(random, (33, 127)))
    double = [a.astype(np.float64) for a in (x, weight, bias, dout)]
    wide = np.float32 if dtype == np.float16 else dtype

    out, mean, rstd = kernels.layer_norm_forward(x, weight, bias, 1e-5)
    exact, mean64, rstd64 = kernels.layer_norm_forward(*double[:3], 1e-5)
    assert (out.dtype, mean.dtype, rstd.dtype) == (dtype, wide, wide)
    np.testing.assert_allclose(out, exact, rtol=tolerance, atol=tolerance)
    got = kernels.layer_norm_backward(dout, x, weight, mean, rstd)
    expected = kernels.layer_norm_backward(double[3], double[0], double[1], mean64, rstd64)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=10 * tolerance)

    out, rstd = kernels.rms_norm_forward(x, weight, 1e-5)
    exact, rstd64 = kernels.rms_norm_forward(*double[:2], 1e-5)
    assert (out.dtype, rstd.dtype) == (dtype, wide)
    np.testing.assert_allclose(out, exact, rtol=tolerance, atol=tolerance)
    for a, b in zip(
        kernels.rms_norm_backward(dout, x, weight, rstd),
        kernels.rms_norm_backward(double[3], double[0], double[1], rstd64),
        strict=True,
    ):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=10 * tolerance)


def test_strided_input_and_nothing_overwritten(kernels, random, unchanged):
    x, dout = random.standard_normal((4, 6)).T, random.standard_normal((12, 4))[::2]
    weight = random.standard_normal(8)[::2]
    with unchanged(x, weight):
        out, mean, rstd = kernels.layer_norm_forward(x, weight, weight, 1e-5)
    expected = naive_layer_norm(x, weight, weight, 1e-5)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)
    with unchanged(dout, x, weight, mean, rstd):
        got = kernels.layer_norm_backward(dout, x, weight, mean, rstd)
    dense = (np.ascontiguousarray(a) for a in (dout, x, weight, mean, rstd))
    for a, b in zip(got, kernels.layer_norm_backward(*dense), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
