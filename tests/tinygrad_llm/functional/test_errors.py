"""A wrong argument is named, with what was given and what is accepted."""
# ruff: noqa: E501 (a table reads better with one case a line)

import re

import numpy as np
import pytest

import tinygrad_llm.functional as F
from tinygrad_llm import Tensor

FLOATS, WIDE = Tensor(np.zeros((2, 5), np.float32)), Tensor(np.zeros((2, 5)))
INTS = Tensor(np.zeros((2, 5), np.int64))
IDS = Tensor([1, 3])


def heads(*shape, dtype=np.float32):
    return Tensor(np.zeros(shape, dtype))


SDPA = F.scaled_dot_product_attention
CASES = [
    (lambda: F.softmax(FLOATS, 3), IndexError, "softmax: dim=3 is out of range for shape (2, 5)"),
    (lambda: F.log_softmax(FLOATS, -3), IndexError, "log_softmax: dim=-3 is out of range"),
    (lambda: F.softmax(FLOATS, 1.5), TypeError, "softmax: dim=1.5"),
    (lambda: F.softmax(INTS, 1), TypeError, "softmax: input is int64"),
    (lambda: F.softmax(np.zeros(3), 0), TypeError, "softmax: input must be a Tensor, not ndarray"),
    (lambda: F.gelu(INTS), TypeError, "gelu: input is int64"),
    (lambda: F.gelu(FLOATS, "erf"), ValueError, "gelu: approximate='erf' is not known"),
    (lambda: F.silu([1.0]), TypeError, "silu: input must be a Tensor, not list"),
    (lambda: F.swiglu(FLOATS, WIDE), TypeError, "swiglu: up is float64, but input is float32"),
    (lambda: F.swiglu(FLOATS, heads(5)), ValueError, "swiglu: up has shape (5,); it must be (2, 5)"),
    (lambda: F.layer_norm(FLOATS, 4), ValueError, "layer_norm: normalized_shape=(4,) must be"),
    (lambda: F.layer_norm(FLOATS, (3, 2, 5)), ValueError, "whose shape is (2, 5)"),
    (lambda: F.layer_norm(FLOATS, ()), ValueError, "layer_norm: normalized_shape=()"),
    (lambda: F.layer_norm(FLOATS, 5, heads(4)), ValueError, "weight has shape (4,); it must be (5,)"),
    (lambda: F.layer_norm(FLOATS, 5, None, heads(2, 5)), ValueError, "bias has shape (2, 5)"),
    (lambda: F.rms_norm(FLOATS, 5, Tensor(np.ones(5))), TypeError, "rms_norm: weight is float64"),
    (lambda: F.linear(FLOATS, heads(5, 4)), ValueError, "linear: input (2, 5) and weight (5, 4)"),
    (lambda: F.linear(FLOATS, heads(4, 5), heads(5)), ValueError, "bias has shape (5,); it must be (4,)"),
    (lambda: F.linear(INTS, heads(4, 5)), TypeError, "linear: input is int64"),
    (lambda: F.linear(FLOATS, WIDE), TypeError, "linear: weight is float64, but input is float32"),
    (lambda: F.embedding(IDS, heads(3, 2)), IndexError, "embedding: input holds 3, which is out of range; there are 3 rows"),
    (lambda: F.embedding(Tensor([-1]), heads(3, 2)), IndexError, "embedding: input holds -1"),
    (lambda: F.embedding(FLOATS, heads(3, 2)), TypeError, "embedding: input is float32; accepted are integer"),
    (lambda: F.embedding(IDS, heads(3)), ValueError, "embedding: weight has shape (3,)"),
    (lambda: F.embedding(IDS, heads(9, 2), 9), ValueError, "padding_idx=9 is out of range; weight has 9"),
    (lambda: F.one_hot(IDS, 3), IndexError, "one_hot: tensor holds 3"),
    (lambda: F.one_hot(FLOATS), TypeError, "one_hot: tensor is float32"),
    (lambda: F.one_hot(Tensor(np.zeros(0, np.int64))), ValueError, "one_hot: an empty tensor"),
    (lambda: F.one_hot(IDS, 0), ValueError, "one_hot: num_classes=0"),
    (lambda: F.dropout(FLOATS, 1.5), ValueError, "dropout: p=1.5 is not a probability"),
    (lambda: F.dropout(FLOATS, float("nan")), ValueError, "dropout: p=nan"),
    (lambda: F.dropout(INTS, 0.5), TypeError, "dropout: input is int64"),
    (lambda: F.pad(FLOATS, (1, 1), mode="reflect"), ValueError, "pad: mode='reflect'"),
    (lambda: F.cross_entropy(FLOATS, Tensor([1, 5])), IndexError, "cross_entropy: target holds 5, which is out of range; there are 5 classes"),
    (lambda: F.cross_entropy(FLOATS, Tensor([-1, 2])), IndexError, "target holds -1"),
    (lambda: F.cross_entropy(FLOATS, Tensor([1, 2, 3])), ValueError, "target has shape (3,); it must be (2,)"),
    (lambda: F.cross_entropy(FLOATS, heads(2)), ValueError, "target (of probabilities) has shape (2,)"),
    (lambda: F.cross_entropy(FLOATS, WIDE), TypeError, "target (of probabilities) is float64"),
    (lambda: F.cross_entropy(INTS, IDS), TypeError, "cross_entropy: input is int64"),
    (lambda: F.cross_entropy(heads(), Tensor(0)), ValueError, "cross_entropy: input is 0-d"),
    (lambda: F.cross_entropy(FLOATS, IDS, heads(2)), ValueError, "weight has shape (2,); it must be (5,)"),
    (lambda: F.cross_entropy(FLOATS, IDS, reduction="avg"), ValueError, "reduction='avg' is not known; use one of 'mean', 'sum', 'none'"),
    (lambda: F.cross_entropy(FLOATS, IDS, label_smoothing=2), ValueError, "label_smoothing=2"),
    (lambda: F.cross_entropy(FLOATS, Tensor([True, False])), TypeError, "target is bool"),
    (lambda: F.cross_entropy(FLOATS, IDS, heads(5).requires_grad_()), ValueError, "no gradient reaches weight"),
    (lambda: F.nll_loss(FLOATS, Tensor([0, 7])), IndexError, "nll_loss: target holds 7"),
    (lambda: F.mse_loss(FLOATS, heads(2, 1)), ValueError, "mse_loss: target has shape (2, 1); it must be (2, 5)"),
    (lambda: F.binary_cross_entropy_with_logits(FLOATS, heads(5)), ValueError, "target has shape (5,)"),
    (lambda: SDPA(heads(2, 3, 4), heads(2, 3, 5), heads(2, 3, 4)), ValueError, "query (2, 3, 4), key (2, 3, 5)"),
    (lambda: SDPA(heads(3, 4), heads(2, 4), heads(3, 4)), ValueError, "do not fit"),
    (lambda: SDPA(heads(4), heads(4), heads(4)), ValueError, "do not fit"),
    (lambda: SDPA(heads(4, 3, 2), heads(2, 3, 2), heads(2, 3, 2)), ValueError, "need enable_gqa=True"),
    (lambda: SDPA(heads(4, 3, 2), heads(3, 3, 2), heads(3, 3, 2), enable_gqa=True), ValueError, "4 query heads cannot share 3 key heads"),
    (lambda: SDPA(heads(3, 2), heads(3, 2), heads(3, 2, dtype=np.float64)), TypeError, "value is float64"),
    (lambda: SDPA(heads(3, 2), heads(3, 2), heads(3, 2), INTS), TypeError, "attn_mask is int64; accepted are bool (True: may attend) and the query's float32"),
    (lambda: SDPA(heads(3, 2), heads(3, 2), heads(3, 2), heads(3, 2)), ValueError, "attn_mask has shape (3, 2), which does not broadcast to (3, 3)"),
    (lambda: SDPA(heads(3, 2), heads(3, 2), heads(3, 2), heads(1, 3, 3)), ValueError, "does not broadcast"),
    (lambda: SDPA(heads(3, 2), heads(3, 2), heads(3, 2), dropout_p=-1), ValueError, "dropout_p=-1"),
    (lambda: F.apply_rotary(heads(3, 4), *F.rotary_tables(2, 4)), ValueError, "apply_rotary: cos (2, 2)"),
    (lambda: F.apply_rotary(heads(3, 4), *F.rotary_tables(3, 6)), ValueError, "do not fit the input (3, 4)"),
    (lambda: F.rotary_tables(3, 5), ValueError, "rotary_tables: dim=5 must be even"),
    (lambda: F.normalize(FLOATS, dim=2), IndexError, "normalize: dim=2 is out of range"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[re.sub(r"\W+", "_", c[2])[:40] for c in CASES])
def test_message(case):
    call, error, message = case
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_an_ignored_target_may_be_out_of_range():
    loss = F.cross_entropy(FLOATS, Tensor([-100, 2]))
    np.testing.assert_allclose(loss.item(), np.log(5), rtol=1e-6)
    with pytest.raises(IndexError, match=r"-100.*ignore_index=7"):
        F.cross_entropy(FLOATS, Tensor([-100, 2]), ignore_index=7)
