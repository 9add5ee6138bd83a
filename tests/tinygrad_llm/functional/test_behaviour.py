"""What the functions promise beyond their formulas."""

import numpy as np
import pytest

import tinygrad_llm.functional as F
from tinygrad_llm import Tensor, manual_seed, randn
from tinygrad_llm.device import replace_kernel


def test_dropout_follows_the_seed_and_differs_from_call_to_call():
    x = Tensor(np.ones((20, 30), np.float32))
    manual_seed(3)
    first, second = F.dropout(x, 0.5).numpy(), F.dropout(x, 0.5).numpy()
    manual_seed(3)
    np.testing.assert_array_equal(F.dropout(x, 0.5).numpy(), first)
    assert (first != second).any()
    manual_seed(4)
    assert (F.dropout(x, 0.5).numpy() != first).any()


def test_dropout_in_evaluation_is_the_input():
    x = randn(3)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x


def test_attention_dropout_follows_the_seed_and_backward_uses_the_same_mask():
    manual_seed(1)
    q, k, v = (Tensor(randn(1, 2, 6, 4).numpy(), requires_grad=True) for _ in range(3))
    manual_seed(9)
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    manual_seed(9)
    again, weights = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, return_weights=True)
    np.testing.assert_allclose(out.detach().numpy(), again.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert 0.2 < (weights.detach().numpy() == 0).mean() < 0.8
    assert F.scaled_dot_product_attention(q, k, v, dropout_p=0.5).detach().numpy().tolist() != (
        out.detach().numpy().tolist()
    )


def test_weights_are_probabilities_that_make_the_output():
    q, k, v = randn(2, 4, 5, 3), randn(2, 2, 7, 3), randn(2, 2, 7, 3)
    out, weights = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, causal_offset=2, enable_gqa=True, return_weights=True
    )
    assert weights.shape == (2, 4, 5, 7)
    np.testing.assert_allclose(weights.numpy().sum(-1), 1, rtol=1e-5)
    assert (np.triu(weights.numpy(), 3) == 0).all()
    fused = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, causal_offset=2, enable_gqa=True
    )
    np.testing.assert_allclose(out.numpy(), fused.numpy(), rtol=1e-5, atol=1e-6)


def test_a_cached_query_attends_like_the_whole_sequence():
    q, k, v = randn(1, 2, 6, 4), randn(1, 2, 6, 4), randn(1, 2, 6, 4)
    whole = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    last = F.scaled_dot_product_attention(q[:, :, 4:], k, v, is_causal=True, causal_offset=4)
    np.testing.assert_allclose(last.numpy(), whole.numpy()[:, :, 4:], rtol=1e-5, atol=1e-6)


def test_causal_and_mask_together():
    q, k, v = randn(2, 1, 5, 4), randn(2, 1, 5, 4), randn(2, 1, 5, 4)
    padding = np.ones((2, 1, 1, 5), bool)
    padding[1, ..., 3:] = False
    both = F.scaled_dot_product_attention(q, k, v, Tensor(padding), is_causal=True)
    merged = Tensor(padding & np.tri(5, dtype=bool))
    one = F.scaled_dot_product_attention(q, k, v, merged)
    np.testing.assert_allclose(both.numpy(), one.numpy(), rtol=1e-5, atol=1e-6)


def test_cross_entropy_of_ignored_targets_only():
    x = randn(2, 3).requires_grad_()
    loss = F.cross_entropy(x, Tensor([-100, -100]))
    assert np.isnan(loss.item())
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros((2, 3)))
    assert F.cross_entropy(x, Tensor([-100, -100]), reduction="sum").item() == 0


def test_one_hot():
    out = F.one_hot(Tensor([[2, 0]]))
    assert out.dtype == np.int64
    assert out.tolist() == [[[0, 0, 1], [1, 0, 0]]]
    assert F.one_hot(Tensor([1]), 4).tolist() == [[0, 1, 0, 0]]
    assert F.one_hot(Tensor(np.zeros((0, 2), np.int64)), 3).shape == (0, 2, 3)


def test_softmax_casts_first():
    out = F.softmax(Tensor([1, 1]), 0, dtype="float64")
    assert out.dtype == np.float64
    assert out.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_large_logits(name):
    out = getattr(F, name)(Tensor([[1e4, 0.0]]), 1)
    assert np.isfinite(out.numpy()).all()


def test_no_accidental_float64():
    x, w = randn(4, 6).requires_grad_(), randn(6).requires_grad_()
    ids = Tensor([0, 5, 2, 2])
    results = [
        F.softmax(x, 1),
        F.log_softmax(x, 0),
        F.layer_norm(x, 6, w, w),
        F.rms_norm(x, 6, w),
        F.gelu(x),
        F.gelu(x, "tanh"),
        F.silu(x),
        F.softplus(x, beta=2.0),
        F.logsigmoid(x),
        F.erf(x),
        F.swiglu(x, x),
        F.dropout(x, 0.3),
        F.linear(x, x, w[:4]),
        F.embedding(ids, x.T),
        F.cross_entropy(x, ids),
        F.cross_entropy(x, ids, w.detach(), label_smoothing=0.1),
        F.cross_entropy(x, F.softmax(x, 1), label_smoothing=0.1),
        F.nll_loss(x, ids, w),
        F.mse_loss(x, x * 2),
        F.binary_cross_entropy_with_logits(x, x.sigmoid()),
        F.scaled_dot_product_attention(x, x, x, is_causal=True, dropout_p=0.1),
        F.scaled_dot_product_attention(x, x, x, return_weights=True)[1],
        F.apply_rotary(x, *F.rotary_tables(4, 6)),
        F.normalize(x),
        F.cosine_similarity(x, x),
        F.pad(x, (1, 1)),
    ]
    for i, out in enumerate(results):
        assert out.dtype == np.float32, i
        out.sum().backward()
    assert x.grad.dtype == np.float32
    assert w.grad.dtype == np.float32


@pytest.mark.parametrize(
    "use",
    [
        lambda x, y: F.gelu(y),
        lambda x, y: F.layer_norm(y, 4),
        lambda x, y: F.linear(x, y),
        lambda x, y: F.scaled_dot_product_attention(x, y, y),
        lambda x, y: F.cross_entropy(y, Tensor([0, 1, 2])),
    ],
)
def test_a_saved_input_changed_in_place_is_noticed(use):
    x = randn(3, 4).requires_grad_()
    y = x * 2
    out = use(x, y)
    out2 = out if out.shape == () else out.sum()
    y += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        out2.backward()


def test_a_saved_output_changed_in_place_is_noticed():
    out = F.softmax(randn(3, 4).requires_grad_() * 2, 1)
    total = out.sum()
    out += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        total.backward()


def test_a_students_kernel_is_used():
    def wrong(x):
        return np.full_like(x, 7.0)

    x = randn(2, 3)
    with replace_kernel("softmax_forward", wrong):
        assert F.softmax(x, 1).tolist() == [[7.0] * 3] * 2
    assert F.softmax(x, 1).tolist() != [[7.0] * 3] * 2
