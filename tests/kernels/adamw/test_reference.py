"""adamw_step and grad_norm on plain arrays: in place, in any memory order, in bounded memory."""

import math
import tracemalloc

import numpy as np
import pytest

from tinygrad_llm.kernels.adamw.reference import adamw_step, grad_norm

SETTINGS = {"lr": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.2}


def arrays(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    p, g, m = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    return p, g, m, rng.random(shape).astype(dtype)


def expected(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay):
    p, g, m, v = (x.astype(np.float64) for x in (p, g, m, v))
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return p - lr * weight_decay * p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (5, 3), (1,), (), (0, 4), (3, 40_000)])
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_formula(shape, dtype, step):
    p, g, m, v = arrays(shape, dtype)
    wanted = expected(p, g, m, v, step, **SETTINGS)
    kept = g.copy()
    assert adamw_step(p, g, m, v, step, **SETTINGS) is None
    eps = np.finfo(dtype).eps
    for result, truth in zip((p, m, v), wanted, strict=True):
        assert result.dtype == dtype
        # About ten roundings; sums may cancel, so in part relative to the terms, which are below 3.
        np.testing.assert_allclose(result, truth, rtol=10 * eps, atol=30 * eps)
    np.testing.assert_array_equal(g, kept)


def test_arrays_that_do_not_lie_in_one_piece_are_updated_in_place():
    base = arrays((6, 8))
    views = [x[::2, 1:].T for x in base]
    copies = [np.ascontiguousarray(x) for x in views]
    outside = base[0][1::2].copy()
    adamw_step(*views, 3, **SETTINGS)
    adamw_step(*copies, 3, **SETTINGS)
    for view, copy in zip(views, copies, strict=True):
        np.testing.assert_allclose(view, copy, rtol=1e-15)
    np.testing.assert_array_equal(base[0][1::2], outside)
    mixed = [np.asfortranarray(x) if i == 1 else x.copy() for i, x in enumerate(arrays((6, 8)))]
    plain = arrays((6, 8))
    adamw_step(*mixed, 3, **SETTINGS)
    adamw_step(*plain, 3, **SETTINGS)
    np.testing.assert_allclose(mixed[0], plain[0], rtol=1e-15)


def test_memory_does_not_grow_with_the_parameter():
    p, g, m, v = arrays((2000, 1000), np.float32)
    tracemalloc.start()
    adamw_step(p, g, m, v, 1, **SETTINGS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < p.nbytes / 10


def test_a_gradient_that_is_not_finite_spreads():
    p, g, m, v = arrays((4,))
    g[2] = np.nan
    adamw_step(p, g, m, v, 1, **SETTINGS)
    assert np.isnan(p).tolist() == [False, False, True, False]


def test_norm_is_that_of_one_long_vector():
    rng = np.random.default_rng(3)
    grads = [rng.standard_normal(s) for s in [(3, 4), (5,), (), (0, 2), (50_000,)]]
    truth = math.sqrt(sum((g**2).sum() for g in grads))
    assert grad_norm(grads) == pytest.approx(truth, rel=1e-13)
    assert grad_norm(g.T[..., ::2] if g.ndim > 1 else g for g in grads[:2]) == pytest.approx(
        math.sqrt((grads[0].T[:, ::2] ** 2).sum() + (grads[1] ** 2).sum())
    )
    assert grad_norm([]) == 0.0
    assert isinstance(grad_norm([np.ones(3, np.float32)]), float)


def test_norm_of_many_float32_loses_no_small_ones():
    # One after the other in float32, the sum of these squares would stop growing at 2^24.
    ones = np.ones(40_000_000, np.float32)
    assert grad_norm([ones]) == pytest.approx(math.sqrt(4e7), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "norm"),
    [([3e30, 4e30], 5e30), ([3e-30, 4e-30], 5e-30), ([np.inf, 1], math.inf), ([0.0, 0.0], 0.0)],
)
def test_norm_at_the_ends_of_float32(values, norm):
    assert grad_norm([np.array(values, np.float32)]) == pytest.approx(norm, rel=1e-6, abs=0)


def test_norm_of_float16():
    assert grad_norm([np.full(10_000, 30, np.float16)]) == 3000.0


def test_norm_of_nan_is_nan():
    assert math.isnan(grad_norm([np.array([1, np.nan], np.float32), np.ones(3, np.float32)]))


def test_norm_leaves_the_gradients_alone():
    g = np.array([3.0, 4.0])
    assert grad_norm([g]) == 5.0
    assert g.tolist() == [3.0, 4.0]
