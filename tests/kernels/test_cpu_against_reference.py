"""The Numba spelling against the formulas in float64, function by function.

The tolerances are derived: float32 rounds each operation by at most eps/2 of its result, so a value
made by k operations, among them a sum of n terms, is off by at most (k + n) eps times the size of
what was added up. `size` of each case says how large that is.
"""

import importlib

import numpy as np
import pytest

from tinygrad_llm.kernels.softmax import reference as softmax

pytest.importorskip("numba")
EPS = np.finfo(np.float32).eps
STEPS = 12  # operations in a row in the longest formula, exp counted as 4


def spelling(operation, which):
    return importlib.import_module(f"tinygrad_llm.kernels.{operation}.{which}")


@pytest.fixture(autouse=True)
def no_small_sizes(monkeypatch):
    """Send tiny arrays through the kernels too, and cut them into as many slices as possible."""
    for operation in ("gelu", "softmax", "layer_norm", "cross_entropy", "dropout"):
        module = spelling(operation, "cpu")
        monkeypatch.setattr(module, "SMALL", 1)
        monkeypatch.setattr(module, "GRAIN", 64)


def normal(seed, *shape, scale=1.0):
    generator = np.random.default_rng([seed, *shape])
    return generator.standard_normal(shape, dtype=np.float32) * np.float32(scale)


def wide(x):
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def both(operation, function, *args):
    """The results of cpu in float32 and of the reference in float64, as tuples."""
    ours = getattr(spelling(operation, "cpu"), function)(*args)
    truth = getattr(spelling(operation, "reference"), function)(*(wide(a) for a in args))
    ours, truth = as_tuple(ours), as_tuple(truth)
    for a, b in zip(ours, truth, strict=True):
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == np.float32 and a.shape == b.shape)
    return ours, truth


def check(result, expected, terms, size):
    """|result - expected| <= (STEPS + terms) eps size, element by element or as one number."""
    bound = (STEPS + terms) * EPS * np.maximum(size, np.abs(expected))
    off = np.abs(result.astype(np.float64) - expected)
    assert off.shape == np.shape(expected)
    assert np.all(off <= bound), f"off by {np.max(off / bound):.2f} of the tolerance"


SHAPES = [(1, 1), (3, 31), (33, 3), (2, 3, 127), (5, 1000), (130, 33), (7, 50257)]
ELEMENTWISE = [
    ("gelu_forward", 1, ("none",)),
    ("gelu_forward", 1, ("tanh",)),
    ("silu_forward", 1, ()),
    ("swiglu_forward", 2, ()),
    ("gelu_backward", 2, ("none",)),
    ("gelu_backward", 2, ("tanh",)),
    ("silu_backward", 2, ()),
    ("swiglu_backward", 3, ()),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("function", "arrays", "options"), ELEMENTWISE)
def test_activations(function, arrays, options, shape):
    inputs = [normal(i, *shape, scale=3) for i in range(arrays)]
    # The exact gelu follows a fit that is within 1.2e-7 = eps; its error grows with x.
    size = np.prod([np.maximum(1, np.abs(wide(x))) for x in inputs], axis=0)
    for result, expected in zip(*both("gelu", function, *inputs, *options), strict=True):
        check(result, expected, 0, size)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_activations_keep_nan_and_infinity(approximate):
    x = np.array([np.nan, np.inf, -1e30, 1e30, -200, 200, -88.5, 88.5, 0], np.float32)
    x = np.tile(x, 29)
    for function, inputs in [("gelu_forward", (x,)), ("gelu_backward", (x, x))]:
        with np.errstate(all="ignore"):
            (ours,), (truth,) = both("gelu", function, *inputs, approximate)
            truth = truth.astype(np.float32)
        np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-5)
    with np.errstate(all="ignore"):
        for function, inputs in [("silu_forward", (x,)), ("swiglu_forward", (x, np.ones_like(x)))]:
            (ours,), (truth,) = both("gelu", function, *inputs)
            np.testing.assert_allclose(ours, truth.astype(np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(shape):
    x, dout = normal(1, *shape, scale=4), normal(2, *shape)
    terms = shape[-1]
    (out,), (expected,) = both("softmax", "softmax_forward", x)
    # The exponent x - max is rounded too, which moves exp by as much as it is large.
    spread = np.ptp(wide(x), axis=-1, keepdims=True)
    check(out, expected, terms + spread, expected)
    (logs,), (expected_logs,) = both("softmax", "log_softmax_forward", x)
    check(logs, expected_logs, 0, spread + np.log(terms) + 1)
    (dx,), (expected_dx,) = both("softmax", "softmax_backward", dout, out)
    mean = np.vecdot(np.abs(dout), out)[..., None]
    check(dx, expected_dx, terms, wide(out) * (np.abs(dout) + mean))
    (dx,), (expected_dx,) = both("softmax", "log_softmax_backward", dout, logs)
    total = np.abs(dout).sum(-1, keepdims=True, dtype=np.float64)
    check(dx, expected_dx, terms + spread, np.abs(dout) + np.exp(wide(logs)) * total)


def test_softmax_of_extreme_rows():
    x = normal(3, 6, 77)
    x[0] += 1e4
    x[1, ::2] = -np.inf
    x[2, 3] = np.nan
    x[3] = -np.inf
    x[4, 5] = np.inf
    x[5] = 1e4
    for function in ("softmax_forward", "log_softmax_forward"):
        with np.errstate(invalid="ignore"):
            (ours,), (truth,) = both("softmax", function, x)
        np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert np.isnan(softmax.softmax_forward(wide(x))[[2, 3, 4]]).any(axis=1).all()


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_norms(norm, affine, shape):
    count, columns = int(np.prod(shape[:-1])), shape[-1]
    # A mean far from 0 cancels in x - mean: its rounding is the size of the mean.
    x, dout = normal(1, *shape, scale=2) + np.float32(3), normal(2, *shape)
    weight = normal(3, columns) if affine else None
    bias = [normal(4, columns) if affine else None] if norm == "layer" else []
    saved, truth = both("layer_norm", f"{norm}_norm_forward", x, weight, *bias, 1e-5)
    big = np.abs(wide(x)) * truth[-1][..., None] + 1
    gain = np.ones(columns) if weight is None else np.abs(wide(weight))
    check(saved[0], truth[0], columns, big * gain)
    for ours, expected in zip(saved[1:], truth[1:], strict=True):
        check(ours, expected, columns, np.abs(expected))
    needs = (True, True, True)[: 3 if norm == "layer" else 2]
    ours, expected = both("layer_norm", f"{norm}_norm_backward", dout, x, weight, *saved[1:], needs)
    g = np.abs(wide(dout)) * gain
    y = big
    size = truth[-1][..., None] * (
        g + g.mean(-1, keepdims=True) + y * (g * y).mean(-1, keepdims=True)
    )
    check(ours[0], expected[0], columns, size)
    check(ours[1], expected[1], count, (np.abs(wide(dout)) * y).reshape(count, columns).sum(0))
    if norm == "layer":
        check(ours[2], expected[2], count, np.abs(wide(dout)).reshape(count, columns).sum(0))
    needs = (True, False, False)[: len(needs)]
    only, _ = both("layer_norm", f"{norm}_norm_backward", dout, x, weight, *saved[1:], needs)
    assert only[1] is None
    np.testing.assert_array_equal(only[0], ours[0])


@pytest.mark.parametrize("columns", [1, 3, 31, 33, 127, 1000, 50257])
def test_cross_entropy(columns):
    count = 9
    logits, dloss = normal(1, count, columns, scale=3), normal(2, count)
    targets = np.random.default_rng(0).integers(0, columns, count)
    targets[4] = -100
    (loss, lse), truth = both("cross_entropy", "cross_entropy_forward", logits, targets)
    spread = np.ptp(wide(logits), axis=1)
    for ours, expected in zip((loss, lse), truth, strict=True):
        check(ours, expected, np.log(columns), 1 + spread)
    assert loss[4] == 0
    (dx,), (expected,) = both(
        "cross_entropy", "cross_entropy_backward", dloss, logits, targets, lse
    )
    check(dx, expected, np.abs(wide(logits)).max(), np.abs(wide(dloss))[:, None])
    assert not dx[4].any()


def test_cross_entropy_at_ten_thousand():
    """Adding the maximum to the log before x_y is taken away would round the log away."""
    logits = np.full((2, 40), 1e4, np.float32)
    logits[1, 3] = np.nan
    (loss, _), (expected, _) = both(
        "cross_entropy", "cross_entropy_forward", logits, np.array([7, 7])
    )
    assert abs(loss[0] - np.log(40)) < 1e-6
    assert np.isnan(loss[1])
    assert np.isnan(expected[1])


@pytest.mark.parametrize(
    ("rows", "vocabulary", "columns"), [(1, 1, 1), (33, 7, 3), (127, 1000, 31)]
)
def test_embedding(rows, vocabulary, columns, monkeypatch):
    monkeypatch.setattr(spelling("embedding", "cpu"), "GRAIN", 16)
    dout = normal(1, rows, 2, columns)
    ids = np.random.default_rng(1).integers(0, vocabulary, (rows, 2))
    (ours,), (expected,) = both("embedding", "embedding_backward", dout, ids, vocabulary)
    size = spelling("embedding", "reference").embedding_backward(
        np.abs(wide(dout)), ids, vocabulary
    )
    check(ours, expected, 2 * rows, size)


@pytest.mark.parametrize("size", [1, 33, 1000, 70001])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999])
def test_dropout_has_the_same_mask(size, p):
    x = normal(1, size) + np.float32(10)
    (ours,), (expected,) = both("dropout", "dropout_forward", x, p, 2**70 + 5, 12)
    np.testing.assert_array_equal(ours == 0, expected == 0)
    check(ours, expected, 0, np.abs(expected))


@pytest.mark.parametrize("size", [1, 31, 1000, 200_003])
@pytest.mark.parametrize(("step", "eps"), [(1, 1e-8), (2, 0.3), (1000, 1e-8)])
def test_adamw(size, step, eps):
    state = [normal(1, size), normal(2, size), normal(3, size), normal(4, size) ** 2]
    numbers = (step, 0.01, 0.9, 0.95, eps, 0.1)
    ours = [a.copy() for a in state]
    truth = [wide(a) for a in state]
    spelling("adamw", "cpu").adamw_step(*ours, *numbers)
    spelling("adamw", "reference").adamw_step(*truth, *numbers)
    np.testing.assert_array_equal(ours[1], state[1])
    moved = np.abs(truth[0] - wide(state[0]))
    check(ours[2], truth[2], 0, 2.0 + np.abs(wide(state[1])))
    check(ours[3], truth[3], 0, truth[3])
    # m = b1 m + (1 - b1) g may cancel: its rounding over sqrt(v) comes into the step.
    noise = 0.01 * (np.abs(wide(state[1])) + np.abs(wide(state[2]))) / np.sqrt(truth[3])
    check(ours[0], truth[0], 0, np.abs(wide(state[0])) + moved + 10 * noise)


def test_grad_norm():
    grads = [normal(i, n) for i, n in enumerate((1, 31, 1 << 18, (1 << 18) + 1, 700_001))]
    grads += [normal(9, 30, 40).T, np.zeros((0, 3), np.float32)]
    cpu, reference = (spelling("adamw", which).grad_norm for which in ("cpu", "reference"))
    assert cpu(grads) == pytest.approx(reference([wide(g) for g in grads]), rel=1e-12)
    assert cpu([np.full(100, 1e30, np.float32)]) == pytest.approx(1e31, rel=1e-6)
    assert np.isnan(cpu([*grads, np.array([np.nan], np.float32)]))
    assert cpu([np.array([np.inf], np.float32)]) == np.inf
    assert cpu([]) == 0
    doubles = [wide(g) for g in grads]
    assert cpu(doubles) == pytest.approx(reference(doubles), rel=1e-12)


CALLS = {
    ("gelu", "gelu_forward"): lambda x, d: (x, "tanh"),
    ("gelu", "gelu_backward"): lambda x, d: (d, x),
    ("gelu", "swiglu_backward"): lambda x, d: (d, x, d),
    ("softmax", "softmax_forward"): lambda x, d: (x,),
    ("softmax", "log_softmax_backward"): lambda x, d: (d, x),
    ("layer_norm", "layer_norm_forward"): lambda x, d: (x, d[0], d[1]),
    ("layer_norm", "layer_norm_backward"): lambda x, d: (d, x, d[0], x[:, 1], x[:, 2]),
    ("layer_norm", "rms_norm_forward"): lambda x, d: (x, d[0]),
    ("layer_norm", "rms_norm_backward"): lambda x, d: (d, x, d[0], x[:, 1]),
    ("cross_entropy", "cross_entropy_forward"): lambda x, d: (x, np.arange(len(x)) % 53),
    ("cross_entropy", "cross_entropy_backward"): lambda x, d: (
        d[:, 0], x, np.arange(len(x)) % 53, x[:, 2],
    ),
    ("embedding", "embedding_backward"): lambda x, d: (x, np.arange(len(x)) % 5, 7),
    ("dropout", "dropout_forward"): lambda x, d: (x, 0.3, 1, 2),
}  # fmt: skip


@pytest.mark.parametrize(("operation", "function"), CALLS)
def test_any_layout_in_and_inputs_unchanged(operation, function):
    """Strided, transposed and read-only arrays give what contiguous ones do."""
    plain = [normal(i, 37, 53) for i in (1, 2)]
    call = getattr(spelling(operation, "cpu"), function)
    expected = call(*CALLS[operation, function](*plain))
    layouts = [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
    ]
    for layout in layouts:
        arrays = [layout(x) for x in plain]
        for array in arrays:
            array.setflags(write=False)
        result = call(*CALLS[operation, function](*arrays))
        for a, b in zip(as_tuple(result), as_tuple(expected), strict=True):
            np.testing.assert_array_equal(a, b)
        for array, x in zip(arrays, plain, strict=True):
            np.testing.assert_array_equal(array, x)


@pytest.mark.parametrize(("operation", "function"), CALLS)
def test_number_of_threads_changes_nothing(operation, function):
    from tinygrad_llm.kernels import _threads

    arguments = CALLS[operation, function](normal(1, 331, 97), normal(2, 331, 97))
    call = getattr(spelling(operation, "cpu"), function)
    results = []
    before = _threads.get_num_threads()
    try:
        for threads in (1, 2, 3, 7, 2):
            _threads.set_num_threads(threads)
            results.append(call(*arguments))
    finally:
        _threads.set_num_threads(before)
    for result in results[1:]:
        for a, b in zip(as_tuple(result), as_tuple(results[0]), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("operation", "function"), CALLS)
@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_dtypes_get_the_reference(operation, function, dtype):
    arrays = [normal(i, 37, 53).astype(dtype) for i in (1, 2)]
    arguments = CALLS[operation, function](*arrays)
    ours, reference = (
        getattr(spelling(operation, which), function)(*arguments) for which in ("cpu", "reference")
    )
    for a, b in zip(as_tuple(ours), as_tuple(reference), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
