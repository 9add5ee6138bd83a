import numpy as np
import pytest

OPERATION = "cross_entropy"
SHAPES = [(1, 1), (5, 1), (1, 3), (2, 31), (33, 4), (3, 127), (20_000, 3), (2, 40_000)]
SETTINGS = [  # weighted, label smoothing, with ignored targets
    (False, 0.0, False),
    (True, 0.0, False),
    (False, 0.1, False),
    (True, 0.3, True),
    (False, 0.0, True),
    (True, 1.0, False),
]


def numbers(random, shape, weighted, ignored):
    logits, targets = 2 * random.standard_normal(shape), random.integers(0, shape[1], shape[0])
    if ignored:
        targets[:: 3 if shape[0] > 1 else 1] = -100
    return logits, targets, 0.5 + random.random(shape[1]) if weighted else None


def naive(logits, targets, weight, smoothing):
    """Straight from the definition; every target in range."""
    log_p = logits - np.log(np.exp(logits.astype(np.longdouble)).sum(1, keepdims=True))
    w = np.ones(logits.shape[1]) if weight is None else weight
    at_target = -(1 - smoothing) * w[targets] * log_p[np.arange(len(targets)), targets]
    return (at_target - smoothing / logits.shape[1] * (w * log_p).sum(1)).astype(float)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("weighted", "smoothing", "ignored"), SETTINGS)
def test_values_and_slopes(kernels, random, slopes_agree, shape, weighted, smoothing, ignored):
    logits, targets, weight = numbers(random, shape, weighted, ignored)
    settings = (weight, -100, smoothing)
    loss, lse = kernels.cross_entropy_forward(logits, targets, *settings)
    used = targets != -100
    expected = np.zeros(shape[0])
    expected[used] = naive(logits[used], targets[used], weight, smoothing)
    np.testing.assert_allclose(loss, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(lse, np.logaddexp.reduce(logits, axis=1), rtol=1e-12, atol=1e-14)

    dloss = random.standard_normal(shape[0])
    dlogits = kernels.cross_entropy_backward(dloss, logits, targets, lse, *settings)
    assert not dlogits[targets == -100].any()

    def forward(x):
        return kernels.cross_entropy_forward(x, targets, *settings)[0]

    slopes_agree(forward, [logits], [dlogits], dloss)


def test_another_ignore_index(kernels):
    logits = np.zeros((3, 2))
    loss, lse = kernels.cross_entropy_forward(logits, np.array([0, 1, 0]), None, 1)
    np.testing.assert_allclose(loss, [np.log(2), 0, np.log(2)])
    dlogits = kernels.cross_entropy_backward(np.ones(3), logits, np.array([0, 1, 0]), lse, None, 1)
    np.testing.assert_allclose(dlogits, [[-0.5, 0.5], [0, 0], [-0.5, 0.5]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_large_logits(kernels, smoothing):
    logits = np.array([[1e4, 0, -1e4], [1e4, 0, -1e4]], np.float32)
    targets = np.array([0, 2])
    loss, lse = kernels.cross_entropy_forward(logits, targets, None, -100, smoothing)
    even = smoothing / 3 * (1e4 + 2e4)
    np.testing.assert_allclose(loss, [even, (1 - smoothing) * 2e4 + even], rtol=1e-6)
    ones = np.ones(2, np.float32)
    d = kernels.cross_entropy_backward(ones, logits, targets, lse, None, -100, smoothing)
    s = smoothing / 3
    expected = [[smoothing - s, -s, -s], [1 - s, -s, -1 + smoothing - s]]
    np.testing.assert_allclose(d, expected, rtol=1e-6, atol=1e-6)


def test_a_class_of_probability_zero(kernels):
    logits = np.array([[0.0, -np.inf], [0.0, -np.inf]])
    loss, lse = kernels.cross_entropy_forward(logits, np.array([0, 1]))
    np.testing.assert_array_equal(loss, [0, np.inf])
    dlogits = kernels.cross_entropy_backward(np.ones(2), logits, np.array([0, 1]), lse)
    np.testing.assert_array_equal(dlogits, [[0, 0], [1, -1]])


def test_nan_stays_in_its_row(kernels):
    logits = np.array([[1.0, np.nan], [1.0, 2.0]])
    loss, _ = kernels.cross_entropy_forward(logits, np.array([0, 1]))
    assert np.isnan(loss).tolist() == [True, False]


def test_an_ignored_row_may_hold_anything(kernels):
    logits = np.array([[1.0, np.nan], [1.0, 2.0]])
    targets = np.array([-100, 1])
    loss, lse = kernels.cross_entropy_forward(logits, targets)
    assert loss[0] == 0
    dlogits = kernels.cross_entropy_backward(np.ones(2), logits, targets, lse)
    np.testing.assert_array_equal(dlogits[0], [0, 0])


def test_no_rows(kernels):
    logits, targets = np.zeros((0, 3), np.float32), np.zeros(0, np.int64)
    loss, lse = kernels.cross_entropy_forward(logits, targets)
    assert (loss.shape, lse.shape) == ((0,), (0,))
    assert kernels.cross_entropy_backward(loss, logits, targets, lse).shape == (0, 3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float16, 2e-3)])
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.2)])
def test_dtype_is_kept(kernels, random, dtype, tolerance, weighted, smoothing):
    logits, targets, weight = numbers(random, (33, 127), weighted, True)
    logits, dloss = logits.astype(dtype), random.standard_normal(33).astype(dtype)
    weight = None if weight is None else weight.astype(dtype)
    w64 = None if weight is None else weight.astype(float)
    loss, lse = kernels.cross_entropy_forward(logits, targets, weight, -100, smoothing)
    exact, lse64 = kernels.cross_entropy_forward(
        logits.astype(float), targets, w64, -100, smoothing
    )
    wide = np.float32 if dtype == np.float16 else dtype
    assert (loss.dtype, lse.dtype) == (wide, wide)
    np.testing.assert_allclose(loss, exact, rtol=tolerance, atol=tolerance)
    d = kernels.cross_entropy_backward(dloss, logits, targets, lse, weight, -100, smoothing)
    assert d.dtype == dtype
    expected = kernels.cross_entropy_backward(
        dloss.astype(float), logits.astype(float), targets, lse64, w64, -100, smoothing
    )
    np.testing.assert_allclose(d, expected, rtol=5 * tolerance, atol=5 * tolerance)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_strided_input_any_integers_and_nothing_overwritten(kernels, random, unchanged, dtype):
    logits, targets = random.standard_normal((5, 8)).T, np.array([0, 1, 2, 3, 4, 3, 2, 1], dtype)
    with unchanged(logits, targets):
        loss, lse = kernels.cross_entropy_forward(logits, targets)
        d = kernels.cross_entropy_backward(np.ones(8), logits, targets, lse)
    np.testing.assert_allclose(loss, naive(logits, targets, None, 0.0), rtol=1e-12)
    np.testing.assert_allclose(d.sum(axis=1), 0, atol=1e-14)
