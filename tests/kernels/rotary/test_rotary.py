import numpy as np
import pytest

OPERATION = "rotary"


def tables(positions, width, base=100.0):
    angle = np.arange(positions)[:, None] * base ** (-np.arange(0, width, 2) / width)
    return np.cos(angle), np.sin(angle)


def by_complex_numbers(x, cos, sin, interleaved):
    """A pair is a complex number, and turning it is a product."""
    width = 2 * cos.shape[-1]
    a, b = (
        (x[..., 0:width:2], x[..., 1:width:2])
        if interleaved
        else (x[..., : width // 2], x[..., width // 2 : width])
    )
    turned = (a + 1j * b) * (cos + 1j * sin)
    out = x.copy()
    if interleaved:
        out[..., 0:width:2], out[..., 1:width:2] = turned.real, turned.imag
    else:
        out[..., : width // 2], out[..., width // 2 : width] = turned.real, turned.imag
    return out


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize(
    ("shape", "width"), [((1, 2), 2), ((3, 4), 4), ((2, 3, 5, 8), 8), ((2, 7, 10), 6)]
)
def test_values_and_slopes(kernels, random, slopes_agree, shape, width, interleaved):
    x, dout = random.standard_normal(shape), random.standard_normal(shape)
    cos, sin = tables(shape[-2], width)
    out = kernels.rotary_forward(x, cos, sin, interleaved)
    np.testing.assert_allclose(out, by_complex_numbers(x, cos, sin, interleaved), rtol=1e-12)
    dx = kernels.rotary_backward(dout, cos, sin, interleaved)
    slopes_agree(lambda x: kernels.rotary_forward(x, cos, sin, interleaved), [x], [dx], dout)


@pytest.mark.parametrize("interleaved", [True, False])
def test_only_the_distance_counts(kernels, random, interleaved):
    q, k = random.standard_normal((2, 8))
    cos, sin = tables(20, 8)

    def score(i, j):
        turned = [
            kernels.rotary_forward(v[None], cos[n : n + 1], sin[n : n + 1], interleaved)[0]
            for v, n in ((q, i), (k, j))
        ]
        return turned[0] @ turned[1]

    assert score(3, 1) == pytest.approx(score(14, 12))
    assert score(3, 1) != pytest.approx(score(3, 2))


def test_the_two_conventions_differ(kernels, random):
    x = random.standard_normal((3, 8))
    cos, sin = tables(3, 8)
    a, b = (kernels.rotary_forward(x, cos, sin, kind) for kind in (True, False))
    assert not np.allclose(a, b)
    # They are one formula on features in another order.
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    np.testing.assert_allclose(kernels.rotary_forward(x[:, order], cos, sin, False), a[:, order])


def test_tables_that_broadcast_dtype_and_empty(kernels, random, unchanged):
    x = random.standard_normal((2, 3, 5, 8)).astype(np.float32).swapaxes(1, 2)  # (2, 5, 3, 8)
    cos, sin = (np.stack([t, t * 0.5])[:, None] for t in tables(3, 8))  # (2, 1, 3, 4)
    with unchanged(x, cos, sin):
        out = kernels.rotary_forward(x, cos, sin)
    assert out.dtype == np.float32
    for i in range(2):
        np.testing.assert_array_equal(out[i], kernels.rotary_forward(x[i], cos[i], sin[i]))
    assert kernels.rotary_forward(np.zeros((2, 0, 8)), cos[0, :, :0], sin[0, :, :0]).shape == (
        2,
        0,
        8,
    )
