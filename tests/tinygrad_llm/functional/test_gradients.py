"""Every function against finite differences, over shapes and options that could go wrong."""

import numpy as np
import pytest

import tinygrad_llm.functional as F
from tinygrad_llm import Tensor, gradcheck, manual_seed


@pytest.fixture
def leaf(request):
    rng = np.random.default_rng(sum(map(ord, request.node.name)))
    return lambda *shape: Tensor(rng.standard_normal(shape), requires_grad=True)


SMOOTH = ["sigmoid", "tanh", "erf", "gelu", "silu", "softplus", "logsigmoid"]


@pytest.mark.parametrize("shape", [(2, 3), (1,), (), (0, 3), (4, 1, 2)])
@pytest.mark.parametrize("name", SMOOTH)
def test_activations(leaf, name, shape):
    assert gradcheck(getattr(F, name), leaf(*shape))


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
def test_softmax_along_any_axis(leaf, dim):
    assert gradcheck(lambda x: F.softmax(x, dim), leaf(2, 3, 4))
    assert gradcheck(lambda x: F.log_softmax(x, dim), leaf(2, 3, 4))


def test_softmax_of_one_number(leaf):
    assert F.softmax(leaf(), 0).item() == 1
    assert F.log_softmax(leaf(), -1).item() == 0
    assert gradcheck(lambda x: F.softmax(x, 0), leaf())


@pytest.mark.parametrize("shape", [(3,), (3, 4), (1, 4)])
def test_normalisation_over_several_axes(leaf, shape):
    x, weight, bias = leaf(2, *shape), leaf(*shape), leaf(*shape)
    assert gradcheck(lambda x, w, b: F.layer_norm(x, shape, w, b, 0.1), [x, weight, bias])
    assert gradcheck(lambda x, w: F.rms_norm(x, shape, w, 0.1), [x, weight])
    assert gradcheck(lambda x, b: F.layer_norm(x, shape, None, b, 0.1), [x, bias])
    assert gradcheck(lambda x: F.rms_norm(x, shape), x)


def test_swiglu(leaf):
    assert gradcheck(F.swiglu, [leaf(2, 3), leaf(2, 3)])


def test_views_are_differentiated_like_copies(leaf):
    x, w = leaf(4, 6), leaf(4)
    assert gradcheck(lambda x, w: F.layer_norm(x.T[::2], 4, w), [x, w])
    assert gradcheck(lambda x: F.softmax(x.T, -1), x)
    assert gradcheck(lambda x: F.gelu(x.T[1:]), x)
    assert gradcheck(lambda x, w: F.linear(x.T, w.expand(3, 4)), [x, w])


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (0, 4)])
def test_linear(leaf, shape):
    assert gradcheck(F.linear, [leaf(*shape), leaf(5, 4), leaf(5)])
    assert gradcheck(F.linear, [leaf(*shape), leaf(4), leaf()])


def test_embedding_adds_repeated_rows_and_skips_padding(leaf):
    ids = Tensor([[1, 0, 1], [1, 3, 3]])
    assert gradcheck(lambda w: F.embedding(ids, w), leaf(5, 2))
    weight = leaf(5, 2)
    F.embedding(ids, weight, padding_idx=-2).sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy()[:, 0], [1, 3, 0, 0, 0])


def test_dropout(leaf):
    def dropped(x):
        manual_seed(5)
        return F.dropout(x, 0.4)

    assert gradcheck(dropped, leaf(5, 7))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize(("shape", "target"), [((3,), ()), ((4, 3), (4,)), ((2, 3, 5), (2, 5))])
def test_cross_entropy(leaf, shape, target, reduction, smoothing):
    classes = Tensor(np.arange(np.prod(target, dtype=int)).reshape(target) % 3)
    weight = Tensor([0.5, 1.0, 2.0]).double()
    options = {"reduction": reduction, "label_smoothing": smoothing}
    x = leaf(*shape)
    assert gradcheck(lambda x: F.cross_entropy(x, classes, weight, **options), x)
    assert gradcheck(lambda x: F.cross_entropy(x, classes, ignore_index=1, **options), x)
    assert gradcheck(
        lambda x, t: F.cross_entropy(x, F.softmax(t, -1), weight, **options), [x, leaf(*shape)]
    )
    log_p = F.log_softmax(x, 0 if len(shape) == 1 else 1).detach().requires_grad_()
    assert gradcheck(
        lambda x: F.nll_loss(x, classes, weight, reduction=reduction, ignore_index=1), log_p
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_other_losses(leaf, reduction):
    x, y = leaf(3, 4), leaf(3, 4)
    assert gradcheck(lambda x, y: F.mse_loss(x, y, reduction), [x, y])

    def bce(x, y, w, p):
        return F.binary_cross_entropy_with_logits(x, y, w, pos_weight=p, reduction=reduction)

    assert gradcheck(bce, [x, y, leaf(4), leaf(3, 1)])


def test_binary_cross_entropy_at_zero():
    """relu(x) - x y + log(1 + exp(-|x|)) has corners there; the loss has none."""
    x = Tensor([0.0], requires_grad=True)
    F.binary_cross_entropy_with_logits(x, Tensor([1.0])).backward()
    assert x.grad.item() == -0.5


@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((5, 3), (4, 3), (4, 2)),
        ((2, 5, 3), (2, 4, 3), (2, 4, 2)),
        ((2, 2, 5, 3), (2, 2, 4, 3), (2, 2, 4, 2)),
        ((2, 1, 2, 5, 3), (2, 1, 2, 4, 3), (2, 1, 2, 4, 2)),
    ],
)
def test_attention_of_any_rank(leaf, q, k, v):
    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, causal_offset=1)

    assert attend(leaf(*q), leaf(*k), leaf(*v)).shape == (*q[:-1], 2)
    assert gradcheck(attend, [leaf(*q), leaf(*k), leaf(*v)])


@pytest.mark.parametrize(
    "mask", [(5, 4), (2, 1, 4), (3, 1, 5, 1), (2, 1, 2, 5, 4), (2, 3, 2, 5, 4)]
)
def test_attention_with_a_learned_mask(leaf, mask):
    shapes = (2, 3, 2, 5, 3), (2, 3, 2, 4, 3), (2, 3, 2, 4, 2)
    inputs = [leaf(*s) for s in (*shapes, mask)]
    assert gradcheck(F.scaled_dot_product_attention, inputs)

    def with_weights(q, k, v, m):
        return F.scaled_dot_product_attention(q, k, v, m, return_weights=True)

    assert gradcheck(with_weights, inputs)


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary(leaf, interleaved):
    cos, sin = F.rotary_tables(5, 6, dtype=np.float64)
    assert gradcheck(lambda x: F.apply_rotary(x, cos, sin, interleaved), leaf(2, 5, 8))


def test_normalize_and_cosine_similarity(leaf):
    assert gradcheck(lambda x: F.normalize(x, dim=0), leaf(3, 4))
    assert gradcheck(lambda x: F.normalize(x, p=3.0), leaf(3, 4))
    assert gradcheck(F.cosine_similarity, [leaf(3, 4), leaf(1, 4)])
    zero = Tensor(np.zeros((2, 3)), requires_grad=True)
    F.normalize(zero).sum().backward()
    assert np.isfinite(zero.grad.numpy()).all()


def test_pad(leaf):
    assert gradcheck(lambda x: F.pad(x, (1, 2, -1, 0), value=3.0), leaf(3, 4))
