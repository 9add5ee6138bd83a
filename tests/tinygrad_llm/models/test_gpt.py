"""GPT-2: what only it has. Equality with Hugging Face's is in pretrained/test_gpt2.py."""

import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import models, rng
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models.gpt import GPT2Config, GPT2LMHeadModel

V, P = 11, 10


def build(seed=2, **config):
    tg.manual_seed(seed)
    sizes = {"vocab_size": V, "n_positions": P, "n_embd": 12, "n_layer": 2, "n_head": 3}
    no_dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(**{**sizes, **no_dropout, **config}))


def ids_of(shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


def test_defaults_are_the_smallest_gpt2():
    # Counted from the shapes in the paper's table 2; nothing of that size is built here.
    c = GPT2Config()
    block = 4 * c.n_embd**2 + 4 * c.n_embd + 8 * c.n_embd**2 + 5 * c.n_embd + 4 * c.n_embd
    total = (c.vocab_size + c.n_positions) * c.n_embd + c.n_layer * block + 2 * c.n_embd
    assert total == 124_439_808
    small = build()
    s = small.config
    block = 12 * s.n_embd**2 + 13 * s.n_embd
    assert small.num_parameters() == (V + P) * s.n_embd + s.n_layer * block + 2 * s.n_embd


def test_names_and_shapes_of_the_parameters():
    shapes = {name: p.shape for name, p in build(n_layer=1).named_parameters()}
    assert shapes == {
        "transformer.wte.weight": (V, 12),
        "transformer.wpe.weight": (P, 12),
        "transformer.h.0.ln_1.weight": (12,),
        "transformer.h.0.ln_1.bias": (12,),
        "transformer.h.0.attn.c_attn.weight": (36, 12),
        "transformer.h.0.attn.c_attn.bias": (36,),
        "transformer.h.0.attn.c_proj.weight": (12, 12),
        "transformer.h.0.attn.c_proj.bias": (12,),
        "transformer.h.0.ln_2.weight": (12,),
        "transformer.h.0.ln_2.bias": (12,),
        "transformer.h.0.mlp.c_fc.weight": (48, 12),
        "transformer.h.0.mlp.c_fc.bias": (48,),
        "transformer.h.0.mlp.c_proj.weight": (12, 48),
        "transformer.h.0.mlp.c_proj.bias": (12,),
        "transformer.ln_f.weight": (12,),
        "transformer.ln_f.bias": (12,),
    }


def test_without_bias_there_is_none():
    names = [name for name, _ in build(bias=False).named_parameters()]
    assert names
    assert not [name for name in names if name.endswith("bias")]


def test_initial_values():
    model = build(n_embd=96, n_layer=8, vocab_size=200)
    residual = 0.02 / math.sqrt(16)
    for name, p in model.named_parameters():
        if name.endswith(".bias"):
            assert not p.array.any(), name
        elif p.ndim == 1:
            assert (p.array == 1).all(), name
        else:
            expected = residual if name.endswith("c_proj.weight") else 0.02
            # The standard deviation of n normal values is known to about 1 / sqrt(2 n).
            spread = 5 / math.sqrt(2 * p.numel())
            assert p.array.std() == pytest.approx(expected, rel=spread), name
            assert abs(p.array.mean()) < 5 * expected / math.sqrt(p.numel()), name


def test_tied_words_are_one_matrix_and_their_gradients_add_up():
    model = build()
    assert model.lm_head.weight is model.transformer.wte.weight
    untied = build(tie_word_embeddings=False)
    untied.load_state_dict(model.state_dict())
    assert untied.num_parameters() - model.num_parameters() == V * 12
    inputs, targets = ids_of((2, 5)), ids_of((2, 5), 1)
    for m in (model, untied):
        m.loss(inputs, targets).backward()
    both = untied.lm_head.weight.grad + untied.transformer.wte.weight.grad
    np.testing.assert_allclose(model.lm_head.weight.grad.array, both.array, rtol=1e-4, atol=1e-6)


def test_attention_weights_on_request():
    model = build().eval()
    ids = ids_of((2, 6))
    out = model(ids, output_attentions=True, output_hidden_states=True)
    np.testing.assert_allclose(out.logits.array, model(ids).logits.array, rtol=1e-4, atol=1e-5)
    assert len(out.attentions) == 2
    for weights in out.attentions:
        assert weights.shape == (2, 3, 6, 6)
        np.testing.assert_allclose(weights.array.sum(-1), 1, rtol=1e-5)
        assert not np.triu(weights.array, 1).any()
        assert (weights.array[..., 0] > 0).all()
    assert [state.shape for state in out.hidden_states] == [(2, 6, 12)] * 3
    np.testing.assert_allclose(
        model.lm_head(out.hidden_states[-1]).array, out.logits.array, rtol=1e-5, atol=1e-6
    )


def normed(x, p, name, eps):
    centred = x - x.mean(-1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return x * p[f"{name}.weight"] + p[f"{name}.bias"]


def applied(x, p, name):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def gpt2_by_definition(p, ids, config):
    """The logits of one sequence, head by head and token by token: the paper, and nothing fused."""
    length, size = len(ids), config.n_embd // config.n_head
    x = p["transformer.wte.weight"][ids] + p["transformer.wpe.weight"][:length]
    for layer in range(config.n_layer):
        h = f"transformer.h.{layer}"
        qkv = applied(normed(x, p, f"{h}.ln_1", config.layer_norm_epsilon), p, f"{h}.attn.c_attn")
        q, k, v = np.split(qkv, 3, axis=1)
        y = np.zeros_like(x)
        for head in range(config.n_head):
            part = slice(head * size, (head + 1) * size)
            for t in range(length):
                scores = k[: t + 1, part] @ q[t, part] / math.sqrt(size)
                weights = np.exp(scores - scores.max())
                y[t, part] = weights / weights.sum() @ v[: t + 1, part]
        x = x + applied(y, p, f"{h}.attn.c_proj")
        z = applied(normed(x, p, f"{h}.ln_2", config.layer_norm_epsilon), p, f"{h}.mlp.c_fc")
        z = z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
        x = x + applied(z, p, f"{h}.mlp.c_proj")
    return normed(x, p, "transformer.ln_f", config.layer_norm_epsilon) @ p["lm_head.weight"].T


def test_logits_are_those_of_the_definition():
    model = build(layer_norm_epsilon=1e-2).double().eval()
    generator = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.array[...] += 0.5 * generator.standard_normal(parameter.shape)
    tensors = {name: tensor.array for name, tensor in model.state_dict().items()}
    ids = ids_of((2, 7))
    logits = model(ids).logits.array
    for row in range(2):
        expected = gpt2_by_definition(tensors, ids[row], model.config)
        np.testing.assert_allclose(logits[row], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("field", "masks"), [("embd_pdrop", 1), ("attn_pdrop", 2), ("resid_pdrop", 4)]
)
def test_every_dropout_has_its_places(field, masks):
    # Each mask is drawn from a stream of its own: there are 2 layers, and resid is in two places.
    model = build(**{field: 0.5})
    drawn = rng.state.streams
    first = model(ids_of((4, 9))).logits.array
    assert rng.state.streams - drawn == masks
    assert np.abs(model(ids_of((4, 9))).logits.array - first).max() > 1e-5
    model.eval()(ids_of((4, 9)))
    assert rng.state.streams - drawn == 2 * masks


def test_positions_matter_and_can_be_given():
    model = build().eval()
    ids = np.array([[4, 4, 4, 4]])
    logits = model(ids).logits.array[0]
    assert np.abs(logits[0] - logits[1]).max() > 1e-4
    counted = model(ids, position_ids=np.arange(4)[None]).logits.array[0]
    np.testing.assert_array_equal(counted, logits)
    moved = model(ids, position_ids=np.arange(4)[None] + 3).logits.array[0]
    assert np.abs(moved - logits).max() > 1e-4
    with pytest.raises(IndexError, match="10"):
        model(ids, position_ids=[[7, 8, 9, P]])


def test_a_sequence_that_is_too_long_is_refused():
    model = build()
    assert model(ids_of((1, P))).logits.shape == (1, P, V)
    with pytest.raises(ValueError, match=r"11 tokens \(0 of them in the cache\).*n_positions=10"):
        model(ids_of((1, P + 1)))
    cache = model.new_cache(1)
    model.next_token_logits(ids_of((1, P)), cache=cache)
    with pytest.raises(ValueError, match=r"11 tokens \(10 of them in the cache\)"):
        model.next_token_logits(ids_of((1, 1)), cache=cache)


def test_forward_with_a_cache_gives_the_logits_of_all_new_positions():
    model = build().eval()
    ids = ids_of((2, 8))
    whole = model(ids).logits.array
    first = model(ids[:, :3], use_cache=True)
    second = model(ids[:, 3:], past_key_values=first.past_key_values)
    np.testing.assert_allclose(first.logits.array, whole[:, :3], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second.logits.array, whole[:, 3:], rtol=1e-4, atol=1e-5)
    assert second.past_key_values.length == 8
    assert not second.logits.requires_grad


def test_padding_and_batches_of_it_give_no_nan():
    model = build().eval()
    ids, mask = ids_of((3, 5)), np.ones((3, 5), int)
    mask[0, :4] = 0
    mask[1, :] = 0  # a row of nothing but padding
    mask[2, 3:] = 0  # padding on the right
    out = model(ids, attention_mask=mask).logits.array
    assert np.isfinite(out).all()
    right = model(ids[2:, :3]).logits.array
    np.testing.assert_allclose(out[2:, :3], right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"scale_attn_weights": False}, False),
        ({"scale_attn_by_inverse_layer_idx": True}, False),
        ({"activation_function": "relu"}, False),
        ({"activation_function": "gelu"}, False),
        ({"activation_function": "gelu_pytorch_tanh"}, True),
        ({"layer_norm_epsilon": 1e-1}, False),
        ({"n_head": 4}, False),
    ],
)
def test_every_option_of_the_architecture_has_an_effect(changes, same):
    # Far from the initial values, where small differences do not show.
    def logits(model):
        generator = np.random.default_rng(1)
        for parameter in model.parameters():
            parameter.array[...] += generator.standard_normal(parameter.shape)
        return model(ids_of((2, 6))).logits.array

    difference = np.abs(logits(build()) - logits(build(**changes))).max()
    assert (difference == 0) if same else (difference > 1e-4)


def test_cross_attention_is_not_ours():
    with pytest.raises(ConfigError, match="add_cross_attention=True is not accepted"):
        GPT2Config.from_dict({"add_cross_attention": True})


def test_build_knows_gpt_by_both_names():
    for name in ("gpt", "gpt2"):
        model = models.build(name, vocab_size=V, n_positions=P, n_embd=8, n_layer=1, n_head=2)
        assert isinstance(model, GPT2LMHeadModel)
        assert model.model_type == "gpt2"
