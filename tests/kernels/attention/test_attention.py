import sys

import numpy as np
import pytest

from tinygrad_llm.kernels.dropout.reference import dropout_forward

OPERATION = "attention"
# B, H, G, Tq, Tk, D, E; the long ones are cut into several tiles by the reference.
SIZES = [
    (1, 1, 1, 1, 1, 1, 1),
    (2, 3, 3, 5, 5, 4, 4),
    (2, 6, 2, 7, 9, 5, 3),
    (3, 4, 1, 4, 31, 2, 6),
    (1, 2, 2, 33, 1, 3, 2),
    (1, 4, 2, 127, 127, 3, 5),
]
MASKS = ["none", "bool", "keys", "numbers"]


def numbers(random, size, kind="none"):
    b, h, g, tq, tk, d, e = size
    q, k, v, dout = (
        random.standard_normal(shape)
        for shape in ((b, h, tq, d), (b, g, tk, d), (b, g, tk, e), (b, h, tq, e))
    )
    mask = {
        "none": lambda: None,
        "bool": lambda: random.random((b, 1, tq, tk)) > 0.4,
        "keys": lambda: random.random((b, 1, 1, tk)) > 0.4,
        "numbers": lambda: random.standard_normal((h, tq, 1)) * np.ones(tk),
    }[kind]()
    return q, k, v, mask, dout


def naive(q, k, v, mask=None, causal=False, offset=0, scale=None, dropout=None):
    """Straight from the definition, with the whole matrix; rows with nothing to see give 0."""
    shared = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, shared, axis=1), np.repeat(v, shared, axis=1)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = np.einsum("bhqd,bhkd->bhqk", q, k) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        i, j = np.indices(scores.shape[2:])
        scores = np.where(j <= i + offset, scores, -np.inf)
    e = np.exp(scores)
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    if dropout is not None:
        p = dropout_forward(p, *dropout)
    with np.errstate(divide="ignore"):
        return np.einsum("bhqk,bhke->bhqe", p, v), np.log(total[..., 0])


def run(kernels, q, k, v, *settings):
    return kernels.attention_forward(q, k, v, *settings)[0]


@pytest.fixture(params=[1 << 17, 300], ids=["whole", "tiles"])
def tile(request, monkeypatch):
    """The reference works in tiles: once as it is, once with many small ones."""
    module = sys.modules["tinygrad_llm.kernels.attention.reference"]
    monkeypatch.setattr(module, "TILE", request.param)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_values_and_slopes(kernels, random, slopes_agree, tile, size, kind, causal):
    q, k, v, mask, dout = numbers(random, size, kind)
    out, lse = kernels.attention_forward(q, k, v, mask, causal)
    expected, expected_lse = naive(q, k, v, mask, causal)
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(lse, expected_lse, rtol=1e-11, atol=1e-13)
    dq, dk, dv, dmask = kernels.attention_backward(dout, q, k, v, out, lse, mask, causal)
    assert dmask is None
    slopes_agree(lambda q, k, v: run(kernels, q, k, v, mask, causal), [q, k, v], [dq, dk, dv], dout)


@pytest.mark.parametrize(
    "shape", [(2, 6, 7, 9), (1, 6, 7, 9), (7, 9), (6, 1, 9), (2, 1, 7, 1), (1,), (6, 7, 1)]
)
def test_slope_of_a_mask_of_numbers(kernels, random, slopes_agree, tile, shape):
    q, k, v, _, dout = numbers(random, (2, 6, 2, 7, 9, 5, 3))
    mask = random.standard_normal(shape)
    out, lse = kernels.attention_forward(q, k, v, mask, True, 1)
    *_, dmask = kernels.attention_backward(dout, q, k, v, out, lse, mask, True, 1, needs_dmask=True)
    slopes_agree(lambda m: run(kernels, q, k, v, m, True, 1), [mask], [dmask], dout)


@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 4, 20])
def test_causal_offset(kernels, random, slopes_agree, tile, offset):
    """Query i sees keys 0..i+offset: the queries of a KV cache start at position `offset`."""
    q, k, v, _, dout = numbers(random, (2, 4, 2, 5, 9, 3, 2))
    out, lse = kernels.attention_forward(q, k, v, None, True, offset)
    np.testing.assert_allclose(out, naive(q, k, v, None, True, offset)[0], rtol=1e-11, atol=1e-13)
    gradients = kernels.attention_backward(dout, q, k, v, out, lse, None, True, offset)[:3]
    slopes_agree(
        lambda q, k, v: run(kernels, q, k, v, None, True, offset), [q, k, v], gradients, dout
    )
    # With offset = Tk - Tq the rows are the last rows of the square problem.
    if offset == 4:
        longer = np.concatenate([random.standard_normal((2, 4, 4, 3)), q], axis=2)
        square = run(kernels, longer, k, v, None, True)
        np.testing.assert_allclose(out, square[:, :, 4:], rtol=1e-11)


def test_causal_never_looks_ahead(kernels, random):
    q, k, v, _, _ = numbers(random, (1, 2, 2, 40, 40, 4, 4))
    out = run(kernels, q, k, v, None, True)
    k[:, :, 25:], v[:, :, 25:] = 0, 1e6
    later = run(kernels, q, k, v, None, True)
    np.testing.assert_array_equal(later[:, :, :25], out[:, :, :25])
    assert (np.abs(later[:, :, 25:] - out[:, :, 25:]) > 1).all()


def test_scale(kernels, random, slopes_agree):
    q, k, v, _, dout = numbers(random, (2, 3, 3, 4, 5, 6, 2))
    default = run(kernels, q, k, v)
    np.testing.assert_allclose(run(kernels, q, k, v, None, False, 0, 6**-0.5), default, rtol=1e-12)
    out, lse = kernels.attention_forward(q, k, v, None, False, 0, 0.9)
    np.testing.assert_allclose(out, naive(q, k, v, scale=0.9)[0], rtol=1e-11)
    gradients = kernels.attention_backward(dout, q, k, v, out, lse, None, False, 0, 0.9)[:3]
    slopes_agree(
        lambda q, k, v: run(kernels, q, k, v, None, False, 0, 0.9), [q, k, v], gradients, dout
    )


@pytest.mark.parametrize("size", SIZES)
def test_dropout_is_that_of_the_dropout_kernel(kernels, random, slopes_agree, tile, size):
    q, k, v, mask, dout = numbers(random, size, "numbers")
    settings = (mask, True, 2, None, 0.3, 5, 7)
    out, lse = kernels.attention_forward(q, k, v, *settings)
    expected, expected_lse = naive(q, k, v, mask, True, 2, dropout=(0.3, 5, 7))
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(lse, expected_lse, rtol=1e-11, atol=1e-13)
    gradients = kernels.attention_backward(dout, q, k, v, out, lse, *settings, needs_dmask=True)
    slopes_agree(
        lambda q, k, v, m: run(kernels, q, k, v, m, *settings[1:]), [q, k, v, mask], gradients, dout
    )


def test_dropping_everything(kernels, random):
    q, k, v, _, dout = numbers(random, (1, 2, 2, 3, 4, 5, 5))
    settings = (None, False, 0, None, 1.0, 1, 1)
    out, lse = kernels.attention_forward(q, k, v, *settings)
    np.testing.assert_array_equal(out, np.zeros_like(out))
    for d in kernels.attention_backward(dout, q, k, v, out, lse, *settings)[:3]:
        np.testing.assert_array_equal(d, np.zeros_like(d))


@pytest.mark.parametrize("kind", ["bool", "numbers", "scores"])
@pytest.mark.filterwarnings("error")
def test_a_query_with_nothing_to_see_gives_zero(kernels, random, tile, kind):
    q, k, v, _, dout = numbers(random, (2, 2, 2, 5, 40, 3, 4))
    allowed = np.ones((5, 40), bool)
    allowed[1] = allowed[3] = False
    mask = allowed if kind == "bool" else np.where(allowed, 0.0, -np.inf)
    out, lse = kernels.attention_forward(q, k, v, mask)
    blind, seeing = [1, 3], [0, 2, 4]
    np.testing.assert_array_equal(out[:, :, blind], 0)
    np.testing.assert_array_equal(lse[:, :, blind], -np.inf)
    np.testing.assert_allclose(out[:, :, seeing], naive(q, k, v)[0][:, :, seeing], rtol=1e-11)
    dq, dk, dv, _ = kernels.attention_backward(dout, q, k, v, out, lse, mask)
    np.testing.assert_array_equal(dq[:, :, blind], 0)
    dout[:, :, blind] = 0
    part = kernels.attention_backward(
        dout[:, :, seeing], q[:, :, seeing], k, v, out[:, :, seeing], lse[:, :, seeing]
    )
    np.testing.assert_allclose(dk, part[1], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dv, part[2], rtol=1e-11, atol=1e-13)


def test_large_scores_do_not_overflow(kernels):
    q = np.full((1, 1, 2, 1), 1e2, np.float32)
    k = np.array([1e2, -1e2, 99.0], np.float32).reshape(1, 1, 3, 1)
    v = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    out, lse = kernels.attention_forward(q, k, v)
    np.testing.assert_allclose(out, 0, atol=1e-6)
    np.testing.assert_allclose(lse, 1e4)
    for d in kernels.attention_backward(np.ones_like(out), q, k, v, out, lse)[:3]:
        assert np.isfinite(d).all()


def test_nan_stays_with_its_query(kernels, random):
    q, k, v, _, _ = numbers(random, (1, 1, 1, 3, 4, 2, 2))
    q[0, 0, 1, 0] = np.nan
    assert np.isnan(run(kernels, q, k, v)).any(-1)[0, 0].tolist() == [False, True, False]


@pytest.mark.parametrize(
    "size", [(0, 2, 2, 3, 4, 2, 2), (1, 2, 1, 0, 4, 2, 3), (1, 2, 2, 3, 0, 2, 2)]
)
@pytest.mark.parametrize("causal", [False, True])
def test_empty(kernels, random, size, causal):
    q, k, v, _, dout = numbers(random, size)
    out, lse = kernels.attention_forward(q, k, v, None, causal)
    np.testing.assert_array_equal(out, np.zeros_like(dout))
    dq, dk, dv, _ = kernels.attention_backward(dout, q, k, v, out, lse, None, causal)
    for d, x in ((dq, q), (dk, k), (dv, v)):
        np.testing.assert_array_equal(d, np.zeros_like(x))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float16, 3e-3)])
@pytest.mark.parametrize("kind", ["none", "numbers", "bool"])
def test_dtype_is_kept(kernels, random, dtype, tolerance, kind):
    arrays = numbers(random, (2, 4, 2, 33, 40, 8, 8), kind)
    q, k, v, mask, dout = (
        a.astype(dtype) if a is not None and a.dtype != bool else a for a in arrays
    )
    double = [
        a.astype(float) if a is not None and a.dtype != bool else a for a in (q, k, v, mask, dout)
    ]
    out, lse = kernels.attention_forward(q, k, v, mask, True)
    exact, lse64 = kernels.attention_forward(*double[:4], True)
    assert (out.dtype, lse.dtype) == (dtype, np.float32)
    np.testing.assert_allclose(out, exact, rtol=tolerance, atol=tolerance)
    needs = {"needs_dmask": kind == "numbers"}
    got = kernels.attention_backward(dout, q, k, v, out, lse, mask, True, **needs)
    expected = kernels.attention_backward(
        double[4], *double[:3], exact, lse64, double[3], True, **needs
    )
    for a, b in zip(got, expected, strict=True):
        if b is not None:
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=10 * tolerance)


def test_strided_input_and_nothing_overwritten(kernels, random, unchanged):
    """Heads split from one projection are strided views; a batch may be an expanded one."""
    b, h, t, d = 2, 3, 5, 4
    qkv = random.standard_normal((b, t, 3 * h * d))
    q, k, v = (x.reshape(b, t, h, d).swapaxes(1, 2) for x in np.split(qkv, 3, axis=-1))
    mask = np.broadcast_to(random.random((t, 1)) > 0.1, (t, t))
    dout = random.standard_normal((b, h, d, t)).swapaxes(-1, -2)
    with unchanged(q, k, v, mask, dout):
        out, lse = kernels.attention_forward(q, k, v, mask, True)
        got = kernels.attention_backward(dout, q, k, v, out, lse, mask, True)[:3]
    dense = [np.ascontiguousarray(x) for x in (q, k, v, mask, dout)]
    np.testing.assert_allclose(out, run(kernels, *dense[:4], True), rtol=1e-12)
    expected = kernels.attention_backward(
        dense[4], *dense[:3], np.ascontiguousarray(out), lse, dense[3], True
    )[:3]
    for a, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-14)
    shared = np.broadcast_to(k[:1], k.shape)
    np.testing.assert_allclose(run(kernels, q, shared, v), run(kernels, q, shared.copy(), v))
