"""The same values and gradients as torch.nn.functional, for every function and option."""

import numpy as np
import pytest

import tinygrad_llm.functional as F
from tinygrad_llm import Tensor

torch = pytest.importorskip("torch")
T = torch.nn.functional
pytestmark = pytest.mark.parity


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(map(ord, request.node.name)))


def assert_parity(name, rng, arrays, *args, dtype=np.float64, tolerance=1e-10, **options):
    """F.name and T.name of the float arrays (then args, options): equal values and gradients."""
    arrays = [a if a is None or a.dtype.kind != "f" else a.astype(dtype) for a in arrays]
    ours = [None if a is None else Tensor(a.copy()) for a in arrays]
    theirs = [None if a is None else torch.tensor(a) for a in arrays]
    for x in (*ours, *theirs):
        if x is not None and np.dtype(str(x.dtype).replace("torch.", "")).kind == "f":
            x.requires_grad_()

    def both(value):
        if isinstance(value, np.ndarray):
            value = value.astype(dtype) if value.dtype.kind == "f" else value
            return Tensor(value), torch.tensor(value)
        return value, value

    our_options = {k: both(v)[0] for k, v in options.items()}
    their_options = {k: both(v)[1] for k, v in options.items()}
    out = getattr(F, name)(*ours, *(both(a)[0] for a in args), **our_options)
    expected = getattr(T, name)(*theirs, *(both(a)[1] for a in args), **their_options)
    assert out.shape == tuple(expected.shape)
    assert str(out.dtype) == str(expected.dtype).removeprefix("torch.")
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), **close)
    dout = np.asarray(rng.standard_normal(out.shape), dtype)
    out.backward(Tensor(dout))
    expected.backward(torch.tensor(dout))
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a is not None and a.requires_grad:
            grad = b.grad if b.grad is not None else torch.zeros_like(b)
            np.testing.assert_allclose(a.grad.numpy(), grad.numpy(), err_msg=f"input {i}", **close)


SHAPES = [(3, 5), (1,), (2, 3, 4), (0, 3), ()]
BOTH = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-6)], ids=["float64", "float32"]
)


@BOTH
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "name", ["relu", "sigmoid", "tanh", "gelu", "silu", "softplus", "logsigmoid"]
)
def test_activations(rng, name, shape, dtype, tolerance):
    x = np.asarray(3 * rng.standard_normal(shape))
    assert_parity(name, rng, [x], dtype=dtype, tolerance=5 * tolerance)
    if name == "gelu":
        assert_parity(name, rng, [x], approximate="tanh", dtype=dtype, tolerance=5 * tolerance)


def test_softplus_with_beta(rng):
    assert_parity("softplus", rng, [rng.standard_normal((3, 4))], beta=2.5)


def test_erf(rng):
    x = rng.standard_normal(500)
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    F.erf(ours).sum().backward()
    torch.erf(theirs).sum().backward()
    np.testing.assert_allclose(F.erf(ours).detach().numpy(), torch.erf(theirs).detach(), rtol=1e-14)
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad, rtol=1e-13)


@BOTH
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(rng, name, shape, dtype, tolerance):
    for dim in range(-max(len(shape), 1), max(len(shape), 1)):
        x = np.asarray(rng.standard_normal(shape))
        assert_parity(name, rng, [x], dim=dim, dtype=dtype, tolerance=tolerance)


@BOTH
@pytest.mark.parametrize("normalized", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("affine", ["both", "weight", "none"])
def test_normalisation(rng, normalized, affine, dtype, tolerance):
    x = rng.standard_normal((4, 2, 3, 5))
    weight = rng.standard_normal(normalized) if affine != "none" else None
    bias = rng.standard_normal(normalized) if affine == "both" else None
    kind = {"dtype": dtype, "tolerance": 5 * tolerance}

    def run(name, arrays, options):
        ours = [None if a is None else Tensor(a.astype(dtype), requires_grad=True) for a in arrays]
        theirs = [
            None if a is None else torch.tensor(a.astype(dtype), requires_grad=True) for a in arrays
        ]
        out = getattr(F, name)(ours[0], normalized, *ours[1:], **options)
        expected = getattr(T, name)(theirs[0], normalized, *theirs[1:], **options)
        dout = rng.standard_normal(out.shape).astype(dtype)
        out.backward(Tensor(dout))
        expected.backward(torch.tensor(dout))
        close = {"rtol": kind["tolerance"], "atol": kind["tolerance"]}
        np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), **close)
        for a, b in zip(ours, theirs, strict=True):
            if a is not None:
                np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), **close)

    run("layer_norm", [x, weight, bias], {})
    run("layer_norm", [x, weight, bias], {"eps": 0.3})
    run("rms_norm", [x, weight], {})
    run("rms_norm", [x, weight], {"eps": 0.3})


@BOTH
def test_normalize_and_cosine_similarity(rng, dtype, tolerance):
    x, y = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 1, 5))
    for dim in (0, 1, 2, -1):
        assert_parity("normalize", rng, [x], dim=dim, dtype=dtype, tolerance=5 * tolerance)
        assert_parity(
            "cosine_similarity", rng, [x, y], dim=dim, dtype=dtype, tolerance=5 * tolerance
        )
    assert_parity("normalize", rng, [x], p=3.0, dtype=dtype, tolerance=5 * tolerance)
    assert_parity("normalize", rng, [np.zeros((2, 3))])


@BOTH
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)])
def test_linear(rng, shape, dtype, tolerance):
    x, weight, bias = (
        rng.standard_normal(shape),
        rng.standard_normal((4, 5)),
        rng.standard_normal(4),
    )
    kind = {"dtype": dtype, "tolerance": tolerance}
    assert_parity("linear", rng, [x, weight, bias], **kind)
    assert_parity("linear", rng, [x, weight], **kind)
    assert_parity("linear", rng, [x, weight[0]], **kind)


@pytest.mark.parametrize("padding_idx", [None, 0, -2])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (), (0, 2)])
def test_embedding(rng, shape, padding_idx):
    ids = np.asarray(rng.integers(0, 4, shape))
    assert_parity("embedding", rng, [ids, rng.standard_normal((4, 3))], padding_idx=padding_idx)


def test_one_hot(rng):
    ids = rng.integers(0, 4, (2, 3))
    for classes in (-1, 4, 9):
        np.testing.assert_array_equal(
            F.one_hot(Tensor(ids), classes).numpy(), T.one_hot(torch.tensor(ids), classes).numpy()
        )


def test_pad(rng):
    for pad in [(1, 2), (0, 1, 2, 0), (-1, 1), (1, 1, 1, 1, 1, 1)]:
        assert_parity("pad", rng, [rng.standard_normal((2, 3, 4))], pad=pad, value=1.5)


CLASSES = [
    ((4,), ()),
    ((3, 4), (3,)),
    ((3, 4, 2), (3, 2)),
    ((2, 4, 3, 2), (2, 3, 2)),
    ((0, 4), (0,)),
]


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("shape", "target"), CLASSES)
@pytest.mark.parametrize("weighted", [True, False])
def test_cross_entropy(rng, shape, target, weighted, reduction, dtype, tolerance):
    x, y = 2 * rng.standard_normal(shape), np.asarray(rng.integers(0, 4, target))
    options = {"reduction": reduction, "dtype": dtype, "tolerance": 3 * tolerance}
    if weighted:
        options["weight"] = 0.5 + rng.random(4)
    some = y.copy()
    if some.ndim and some.size:
        some.reshape(-1)[::3] = -100
    for smoothing in (0.0, 0.1, 1.0):
        for classes in (y, some):
            assert_parity("cross_entropy", rng, [x, classes], label_smoothing=smoothing, **options)
        probabilities = rng.dirichlet(np.ones(4), target)
        if len(shape) > 1:
            probabilities = np.moveaxis(probabilities, -1, 1)
        assert_parity(
            "cross_entropy", rng, [x, probabilities], label_smoothing=smoothing, **options
        )
    assert_parity("cross_entropy", rng, [x, y], ignore_index=2, **options)


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("shape", "target"), CLASSES)
@pytest.mark.parametrize("weighted", [True, False])
def test_nll_loss(rng, shape, target, weighted, reduction, dtype, tolerance):
    x, y = -rng.random(shape), np.asarray(rng.integers(0, 4, target))
    options = {"reduction": reduction, "dtype": dtype, "tolerance": tolerance}
    if weighted:
        options["weight"] = 0.5 + rng.random(4)
    assert_parity("nll_loss", rng, [x, y], **options)
    assert_parity("nll_loss", rng, [x, y], ignore_index=1, **options)


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_other_losses(rng, reduction, dtype, tolerance):
    x, y = 3 * rng.standard_normal((3, 4)), rng.random((3, 4))
    kind = {"reduction": reduction, "dtype": dtype, "tolerance": tolerance}
    assert_parity("mse_loss", rng, [x, y], **kind)
    name = "binary_cross_entropy_with_logits"
    assert_parity(name, rng, [x, y], **kind)
    assert_parity(name, rng, [x, y], weight=rng.random(4), **kind)
    assert_parity(name, rng, [x, y], pos_weight=rng.random((3, 1)), weight=rng.random(4), **kind)
    assert_parity(name, rng, [1e4 * np.sign(x), y], **kind)


def test_nothing_but_ignored_targets(rng):
    x = rng.standard_normal((2, 3))
    y = np.full(2, -100)
    for reduction in ("mean", "sum", "none"):
        ours = F.cross_entropy(Tensor(x), Tensor(y), reduction=reduction).numpy()
        theirs = T.cross_entropy(torch.tensor(x), torch.tensor(y), reduction=reduction)
        np.testing.assert_array_equal(ours, theirs.numpy())


ATTENTION = [
    ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)),
    ((2, 5, 4), (2, 7, 4), (2, 7, 4)),
    ((5, 4), (7, 4), (7, 4)),
    ((2, 1, 3, 5, 4), (2, 1, 3, 7, 4), (2, 1, 3, 7, 4)),
    ((1, 1, 1, 4), (1, 1, 1, 4), (1, 1, 1, 4)),
    ((2, 3, 33, 8), (2, 3, 33, 8), (2, 3, 33, 8)),
]


@BOTH
@pytest.mark.parametrize("shapes", ATTENTION)
def test_attention(rng, shapes, dtype, tolerance):
    q, k, v = (rng.standard_normal(s) for s in shapes)
    kind = {"dtype": dtype, "tolerance": 5 * tolerance}
    name = "scaled_dot_product_attention"
    assert_parity(name, rng, [q, k, v], **kind)
    assert_parity(name, rng, [q, k, v], is_causal=True, **kind)
    assert_parity(name, rng, [q, k, v], scale=0.3, **kind)
    allowed = rng.random((q.shape[-2], k.shape[-2])) > 0.3
    allowed[:, 0] = True
    assert_parity(name, rng, [q, k, v], attn_mask=allowed, **kind)
    numbers = rng.standard_normal((q.shape[-2], k.shape[-2]))
    assert_parity(name, rng, [q, k, v, numbers], **kind)


@BOTH
@pytest.mark.parametrize("mask", ["bool", "numbers"])
def test_attention_where_a_query_sees_nothing(rng, mask, dtype, tolerance):
    q, k, v = (rng.standard_normal((2, 3, n, 4)) for n in (5, 7, 7))
    allowed = rng.random((2, 1, 5, 7)) > 0.3
    allowed[0, 0, 2] = False
    numbers = np.where(allowed, 0.0, -np.inf)
    assert_parity(
        "scaled_dot_product_attention",
        rng,
        [q, k, v],
        attn_mask=allowed if mask == "bool" else numbers,
        dtype=dtype,
        tolerance=5 * tolerance,
    )


@BOTH
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_with_shared_heads(rng, groups, causal, dtype, tolerance):
    q, k, v = (rng.standard_normal((2, h, 5, 4)) for h in (6, groups, groups))
    assert_parity(
        "scaled_dot_product_attention",
        rng,
        [q, k, v],
        enable_gqa=True,
        is_causal=causal,
        dtype=dtype,
        tolerance=5 * tolerance,
    )


def test_attention_weights_are_those_of_multihead_attention(rng):
    """PyTorch gives weights only through its layer: with identity projections they are ours."""
    x = rng.standard_normal((2, 5, 4))
    eye, zero = torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    layer = torch.nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.cat([eye] * 3))
        layer.in_proj_bias.zero_()
        layer.out_proj.weight.copy_(eye)
        layer.out_proj.bias.copy_(zero)
        t = torch.tensor(x)
        out, weights = layer(t, t, t, average_attn_weights=False)
    split = Tensor(x.reshape(2, 5, 2, 2).swapaxes(1, 2).copy())
    ours, our_weights = F.scaled_dot_product_attention(split, split, split, return_weights=True)
    np.testing.assert_allclose(our_weights.numpy(), weights.numpy(), rtol=1e-12)
    joined = ours.numpy().swapaxes(1, 2).reshape(2, 5, 4)
    np.testing.assert_allclose(joined, out.numpy(), rtol=1e-12)


def test_rotary_half_split_is_hugging_faces(rng):
    modeling = pytest.importorskip("transformers.models.llama.modeling_llama")
    q, k = rng.standard_normal((2, 2, 3, 7, 8))
    cos, sin = F.rotary_tables(7, 8, dtype=np.float64)
    wide = [torch.tensor(np.concatenate([t.numpy()] * 2, -1))[None] for t in (cos, sin)]
    expected = modeling.apply_rotary_pos_emb(torch.tensor(q), torch.tensor(k), *wide)
    for x, e in zip((q, k), expected, strict=True):
        np.testing.assert_allclose(F.apply_rotary(Tensor(x), cos, sin).numpy(), e, rtol=1e-12)


def test_extreme_values_like_pytorch(rng):
    x = np.array([[1e4, -1e4, 0.0], [np.nan, 1.0, 2.0], [-np.inf, 0.0, 1.0], [np.inf, 0.0, 1.0]])
    ours, theirs = Tensor(x.astype(np.float32)), torch.tensor(x.astype(np.float32))
    with np.errstate(invalid="ignore"):
        for name in ("softmax", "log_softmax"):
            a, b = getattr(F, name)(ours, 1), getattr(T, name)(theirs, 1)
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
        targets = np.array([1, 0, 1, 2])
        np.testing.assert_allclose(
            F.cross_entropy(ours, Tensor(targets), reduction="none").numpy(),
            T.cross_entropy(theirs, torch.tensor(targets), reduction="none").numpy(),
            rtol=1e-6,
        )
