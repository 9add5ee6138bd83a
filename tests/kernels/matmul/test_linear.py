import numpy as np
import pytest

OPERATION = "matmul"
# (shape of x, out features)
SIZES = [
    ((1, 1), 1),
    ((5, 1), 3),
    ((1, 3), 1),
    ((31, 33), 7),
    ((2, 3, 5), 4),
    ((6,), 3),
    ((4, 127), 31),
]


def numbers(random, shape, features):
    x, weight = random.standard_normal(shape), random.standard_normal((features, shape[-1]))
    return x, weight, random.standard_normal(features)


@pytest.mark.parametrize(("shape", "features"), SIZES)
def test_values_and_slopes(kernels, random, slopes_agree, shape, features):
    x, weight, bias = numbers(random, shape, features)
    expected = np.einsum("...k,nk->...n", x, weight)
    np.testing.assert_allclose(kernels.linear_forward(x, weight), expected, rtol=1e-11, atol=1e-12)
    out = kernels.linear_forward(x, weight, bias)
    np.testing.assert_allclose(out, expected + bias, rtol=1e-11, atol=1e-12)
    dout = random.standard_normal(out.shape)
    gradients = kernels.linear_backward(dout, x, weight)
    slopes_agree(kernels.linear_forward, [x, weight, bias], gradients, dout)


def test_only_what_is_needed(kernels, random):
    x, weight, _ = numbers(random, (3, 5), 4)
    dout = random.standard_normal((3, 4))
    everything = kernels.linear_backward(dout, x, weight)
    for i in range(3):
        part = kernels.linear_backward(dout, x, weight, tuple(k == i for k in range(3)))
        np.testing.assert_array_equal(part[i], everything[i])
        assert all(part[k] is None for k in range(3) if k != i)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (4, 0)])
def test_empty(kernels, shape):
    x, weight = np.ones(shape, np.float32), np.ones((5, shape[-1]), np.float32)
    bias = np.arange(5, dtype=np.float32)
    out = kernels.linear_forward(x, weight, bias)
    assert out.shape == (*shape[:-1], 5)
    np.testing.assert_array_equal(out, np.broadcast_to(bias, out.shape))
    dx, dweight, dbias = kernels.linear_backward(np.ones_like(out), x, weight)
    assert dx.shape == shape
    np.testing.assert_array_equal(dweight, np.zeros_like(weight))
    np.testing.assert_array_equal(dbias, np.full(5, out.size // 5))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float16, 1e-3)])
def test_dtype_is_kept(kernels, random, dtype, tolerance):
    arrays = [a.astype(dtype) for a in numbers(random, (33, 65), 7)]
    double = [a.astype(np.float64) for a in arrays]
    out = kernels.linear_forward(*arrays)
    dout = random.standard_normal(out.shape).astype(dtype)
    got = (out, *kernels.linear_backward(dout, *arrays[:2]))
    expected = (
        kernels.linear_forward(*double),
        *kernels.linear_backward(dout.astype(np.float64), *double[:2]),
    )
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == dtype
        # Relative to sqrt(length of the sum), the size of its terms being about 1.
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.sqrt(65) * 2)


def test_float16_sums_in_float32(kernels):
    x, weight = np.ones((1, 4096), np.float16), np.ones((1, 4096), np.float16)
    assert kernels.linear_forward(x, weight)[0, 0] == 4096
    _, _, dbias = kernels.linear_backward(
        np.ones((4096, 1), np.float16), weight.T, np.ones((1, 1), np.float16)
    )
    assert dbias[0] == 4096


def test_strided_input_and_nothing_overwritten(kernels, random, unchanged):
    x, weight = (
        random.standard_normal((5, 8, 3)).swapaxes(0, 1)[::2],
        random.standard_normal((3, 4)).T,
    )
    dout = random.standard_normal((4, 5, 8))[..., ::2]
    with unchanged(x, weight, dout):
        out = kernels.linear_forward(x, weight)
        got = kernels.linear_backward(dout, x, weight)
    np.testing.assert_allclose(out, np.einsum("...k,nk->...n", x, weight), rtol=1e-12)
    np.testing.assert_allclose(got[0], np.einsum("...n,nk->...k", dout, weight), rtol=1e-12)
    np.testing.assert_allclose(got[1], np.einsum("abn,abk->nk", dout, x), rtol=1e-12)
    np.testing.assert_allclose(got[2], dout.sum((0, 1)), rtol=1e-12)
