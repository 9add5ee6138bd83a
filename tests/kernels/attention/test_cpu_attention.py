"""Attention in register tiles against the formula in float64: every tail, mask and layout."""

import numpy as np
import pytest

pytest.importorskip("numba")
from tinygrad_llm.kernels import _threads
from tinygrad_llm.kernels.attention import cpu, reference

EPS = np.finfo(np.float32).eps

# B, H, G, Tq, Tk, D, E, causal, offset, mask, dropout
CASES = [
    (2, 4, 4, 64, 64, 32, 32, True, 0, None, 0.0),
    (1, 2, 2, 33, 33, 64, 64, True, 0, None, 0.0),
    (1, 2, 1, 70, 70, 5, 7, True, 0, None, 0.0),
    (3, 2, 2, 31, 127, 33, 31, False, 0, None, 0.0),
    (2, 6, 2, 4, 130, 64, 48, True, 126, None, 0.0),
    (2, 6, 3, 37, 41, 16, 24, True, -7, "bool", 0.0),
    (2, 3, 3, 65, 129, 80, 16, True, 64, "float", 0.0),
    (1, 4, 2, 35, 66, 17, 17, False, 0, "bool", 0.25),
    (2, 2, 2, 40, 40, 24, 24, True, 0, None, 0.25),
    (1, 1, 1, 1000, 1000, 8, 8, True, 0, None, 0.0),
    (1, 1, 1, 4, 1, 1, 1, True, 0, None, 0.0),
    (1, 2, 2, 1, 1, 3, 3, False, 0, None, 0.0),
]


@pytest.fixture(autouse=True)
def everything_through_the_kernel(monkeypatch):
    monkeypatch.setattr(cpu, "SMALL", 0)
    monkeypatch.setattr(cpu, "GRAIN", 1)
    monkeypatch.setattr(cpu, "FEW", 1)


def wide(x):
    return None if x is None else x if x.dtype == np.bool_ else x.astype(np.float64)


def inputs(case, scale=1.0):
    batch, heads, groups, queries, keys, d, e, causal, offset, kind, p = case
    random = np.random.default_rng([heads, groups, queries, keys, d, e])

    def normal(*shape):
        return random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    q, k = normal(batch, heads, queries, d), normal(batch, groups, keys, d)
    v, dout = normal(batch, groups, keys, e), normal(batch, heads, queries, e)
    mask = None
    if kind == "bool":
        mask = random.random((batch, 1, queries, keys)) < 0.6
        mask[0, 0, 0] = False  # a query that may attend to nothing
    if kind == "float":
        mask = normal(queries, keys)
        mask[:, ::3] = -np.inf
    return q, k, v, dout, (mask, causal, offset, None, p, 12345, 6)


def truth(q, k, v, dout, options):
    doubles = [wide(x) for x in (q, k, v)]
    options = (wide(options[0]), *options[1:])
    out, lse = reference.attention_forward(*doubles, *options)
    return out, lse, *reference.attention_backward(wide(dout), *doubles, out, lse, *options)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients(case):
    """A score is off by (D + log2(p's exponent)) eps times the size of its terms; p is off by as
    much, relatively; a sum of p v by that and eps per key. The gradients pass two such stages."""
    q, k, v, dout, options = inputs(case)
    out, lse = cpu.attention_forward(q, k, v, *options)
    found = cpu.attention_backward(dout, q, k, v, out, lse, *options)
    expected = truth(q, k, v, dout, options)
    largest_score = np.abs(wide(q)).sum(-1).max() * np.abs(k).max() / np.sqrt(q.shape[-1])
    off = EPS * (q.shape[-1] / 4 + largest_score + 8)
    keep = 1 / (1 - options[4])
    for result, exact, size in [
        (out, expected[0], np.abs(v).max() * keep),
        (found[0], expected[2], 4 * np.abs(k).max() * np.abs(v).max() * keep * v.shape[-1]),
        (found[1], expected[3], 4 * np.abs(q).max() * np.abs(v).max() * keep * v.shape[-1]),
        (found[2], expected[4], np.abs(dout).max() * keep * q.shape[2]),
    ]:
        assert result.dtype == np.float32
        assert result.shape == exact.shape
        assert np.abs(result - exact).max() <= off * size
        # A wrong element among thousands would hide behind the bound above.
        assert np.abs(result - exact).max() <= 2e-5 * (1 + np.abs(exact).max())
    nothing = np.isneginf(expected[1])
    np.testing.assert_array_equal(np.isneginf(lse), nothing)
    assert np.abs(lse[~nothing] - expected[1][~nothing]).max(initial=0) <= off * (1 + largest_score)
    assert not out[nothing].any()
    assert not found[0][nothing].any()
    assert found[3] is None


def test_scores_of_ten_thousand():
    q, k, v, dout, options = inputs(CASES[0], scale=100.0)
    out, lse = cpu.attention_forward(q, k, v, *options)
    expected = truth(q, k, v, dout, options)
    assert np.abs(expected[1]).max() > 1e4
    assert np.isfinite(out).all()
    # The scores of 1e5 are off by 0.1: only clear winners can be compared.
    assert np.mean(np.abs(out - expected[0]) > 20) < 0.01
    assert all(
        np.isfinite(x).all() for x in cpu.attention_backward(dout, q, k, v, out, lse, *options)[:3]
    )


def test_nan_stays_nan_and_where_it_belongs():
    q, k, v, dout, options = inputs(CASES[0])
    q[1, 2, 40, 3] = np.nan
    out, lse = cpu.attention_forward(q, k, v, *options)
    assert np.isnan(out[1, 2, 40]).all()
    assert np.isnan(lse[1, 2, 40])
    assert np.isnan(out).sum() == out.shape[-1]
    dq, dk, dv, _ = cpu.attention_backward(dout, q, k, v, out, lse, *options)
    assert np.isnan(dq[1, 2, 40]).all()
    assert np.isnan(dk[1, 2]).any()
    assert np.isnan(dv[1, 2]).any()
    others = np.ones((2, 4), bool)
    others[1, 2] = False
    assert all(np.isfinite(x[others]).all() for x in (dq, dk, dv))


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e30])
def test_what_padding_holds_is_not_seen(number):
    """Keys that are masked away may hold anything."""
    q, k, v, dout, options = inputs(CASES[3])
    mask = np.ones((3, 1, 1, 127), bool)
    mask[:, :, :, 100:] = False
    options = (mask, *options[1:])
    expected = cpu.attention_forward(q, k, v, *options)
    k[:, :, 100:] = number
    found = cpu.attention_forward(q, k, v, *options)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_future_is_not_seen():
    """Whatever stands at later positions changes nothing, not even the last bit."""
    q, k, v, _, options = inputs(CASES[0])
    before, _ = cpu.attention_forward(q, k, v, *options)
    k[:, :, 41:] += 100
    v[:, :, 41:] -= 7
    after, _ = cpu.attention_forward(q, k, v, *options)
    np.testing.assert_array_equal(after[:, :, :41], before[:, :, :41])
    assert (after[:, :, 42:] != before[:, :, 42:]).all()


@pytest.mark.parametrize("case", [CASES[0], CASES[5], CASES[8]], ids=str)
def test_any_layout_and_inputs_unchanged(case):
    q, k, v, dout, options = inputs(case)
    out, lse = cpu.attention_forward(q, k, v, *options)
    expected = cpu.attention_backward(dout, q, k, v, out, lse, *options)
    layouts = [
        lambda x: np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3),  # of a split
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=3)[..., ::2],
        lambda x: x[:, ::-1].copy()[:, ::-1],
    ]
    for layout in layouts:
        arrays = [layout(x) for x in (q, k, v, dout)]
        for array in arrays:
            array.setflags(write=False)
        again, lse_again = cpu.attention_forward(*arrays[:3], *options)
        np.testing.assert_array_equal(again, out)
        np.testing.assert_array_equal(lse_again, lse)
        found = cpu.attention_backward(arrays[3], *arrays[:3], layout(out), lse, *options)
        for a, b in zip(found[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        for array, x in zip(arrays, (q, k, v, dout), strict=True):
            np.testing.assert_array_equal(array, x)


def test_expanded_keys_and_values():
    """Multi-query attention by `expand`: a stride of 0."""
    q, k, v, dout, options = inputs(CASES[0])
    k, v = (np.broadcast_to(x[:, :1], x.shape) for x in (k, v))
    out, lse = cpu.attention_forward(q, k, v, *options)
    found = cpu.attention_backward(dout, q, k, v, out, lse, *options)
    expected = truth(q, k, v, dout, options)
    for a, b in zip((out, *found[:3]), (expected[0], *expected[2:5]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [CASES[0], CASES[4], CASES[7]], ids=str)
def test_number_of_threads_changes_nothing(case):
    q, k, v, dout, options = inputs(case)
    before, results = _threads.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            _threads.set_num_threads(threads)
            out, lse = cpu.attention_forward(q, k, v, *options)
            results.append((out, lse, *cpu.attention_backward(dout, q, k, v, out, lse, *options)))
    finally:
        _threads.set_num_threads(before)
    for result in results[1:]:
        for a, b in zip(result[:5], results[0][:5], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_learned_mask_is_left_to_the_reference():
    q, k, v, dout, options = inputs(CASES[6])
    out, lse = cpu.attention_forward(q, k, v, *options)
    *_, dmask = cpu.attention_backward(dout, q, k, v, out, lse, *options, True)
    expected = truth(q, k, v, dout, options)
    *_, exact = reference.attention_backward(
        wide(dout), wide(q), wide(k), wide(v), *expected[:2], wide(options[0]), *options[1:], True
    )
    assert dmask.shape == options[0].shape
    assert np.abs(dmask - exact).max() < 1e-4


@pytest.mark.parametrize("shape", [(0, 2, 5, 4), (2, 2, 0, 4)])
def test_nothing_at_all(shape):
    x = np.ones(shape, np.float32)
    out, lse = cpu.attention_forward(x, x, x)
    assert out.shape == shape
    assert lse.shape == shape[:3]
