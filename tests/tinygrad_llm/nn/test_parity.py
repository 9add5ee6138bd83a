"""The layers beside PyTorch's and Hugging Face's: outputs and all gradients, weights copied."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")

B, T, S, C, H = 2, 5, 7, 12, 3
# About a hundred roundings on the way, and sums over up to 48 terms.
TOLERANCE = {np.float64: 1e-11, np.float32: 2e-5}


def array(t):
    return t.detach().numpy()


def copy_weights(ours, theirs, rename=lambda name: name):
    """Load theirs into ours; rename maps their names to ours, or to a list for a stacked one."""
    state = {}
    for name, tensor in theirs.state_dict().items():
        to = rename(name)
        if isinstance(to, list):
            state.update(zip(to, np.split(array(tensor), len(to)), strict=True))
        else:
            state[to] = array(tensor)
    ours.load_state_dict(state)


def their_gradients(theirs, rename):
    found = {}
    for name, p in theirs.named_parameters():
        to = rename(name)
        if isinstance(to, list):
            found.update(zip(to, np.split(p.grad.numpy(), len(to)), strict=True))
        else:
            found[to] = p.grad.numpy()
    return found


def compare(ours, theirs, inputs, call=None, their_call=None, rename=lambda n: n, dtype=np.float64):
    """Same outputs, gradients of inputs and of parameters, for random weights of the outputs."""
    theirs = theirs.to(torch.float64 if dtype is np.float64 else torch.float32)
    ours.to(dtype)
    copy_weights(ours, theirs, rename)
    inputs = [x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs]
    mine = [tg.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    yours = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    out = (call or ours)(*mine)
    expected = (their_call or theirs)(*yours)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(out.array, array(expected), rtol=tolerance, atol=tolerance)
    weights = np.random.default_rng(9).standard_normal(out.shape).astype(dtype)
    (out * tg.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    for x, y in zip(mine, yours, strict=True):
        if y.grad is not None:
            close(x.grad.array, y.grad.numpy(), tolerance)
    expected_gradients = their_gradients(theirs, rename)
    for name, p in ours.named_parameters():
        close(p.grad.array, expected_gradients.pop(name), tolerance, name)
    assert not expected_gradients


def close(a, b, tolerance, name=""):
    np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=10 * tolerance, err_msg=name)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


both = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@both
def test_simple_layers(dtype):
    x = normal(B, T, C)
    ids = np.random.default_rng(0).integers(0, 9, (B, T))
    compare(nn.Linear(C, 5), torch.nn.Linear(C, 5), [x], dtype=dtype)
    compare(nn.Linear(C, 5, bias=False), torch.nn.Linear(C, 5, bias=False), [x], dtype=dtype)
    compare(nn.Embedding(9, C, 3), torch.nn.Embedding(9, C, padding_idx=3), [ids], dtype=dtype)
    compare(nn.LayerNorm(C), torch.nn.LayerNorm(C), [x], dtype=dtype)
    compare(nn.LayerNorm((T, C), 1e-2), torch.nn.LayerNorm((T, C), 1e-2), [x], dtype=dtype)
    compare(nn.LayerNorm(C, bias=False), torch.nn.LayerNorm(C, bias=False), [x], dtype=dtype)
    compare(nn.RMSNorm(C), torch.nn.RMSNorm(C), [x], dtype=dtype)
    for name in ("ReLU", "GELU", "SiLU", "Sigmoid", "Tanh"):
        compare(getattr(nn, name)(), getattr(torch.nn, name)(), [x], dtype=dtype)
    compare(nn.GELU("tanh"), torch.nn.GELU("tanh"), [x], dtype=dtype)
    compare(nn.Softmax(1), torch.nn.Softmax(1), [x], dtype=dtype)
    model = nn.Sequential(nn.Linear(C, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
    theirs = torch.nn.Sequential(
        torch.nn.Linear(C, 8), torch.nn.GELU(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
    )
    compare(model, theirs, [x], dtype=dtype)


def test_losses():
    x, y = normal(6, 4), normal(6, 4)
    ids = np.array([0, 3, 1, 2, 2, -100])
    for options in ({}, {"reduction": "sum"}, {"label_smoothing": 0.2}):
        compare(nn.CrossEntropyLoss(**options), torch.nn.CrossEntropyLoss(**options), [x, ids])
    compare(nn.MSELoss(), torch.nn.MSELoss(), [x, y])
    compare(nn.NLLLoss(), torch.nn.NLLLoss(), [x, ids])
    compare(nn.BCEWithLogitsLoss(), torch.nn.BCEWithLogitsLoss(), [x, y])


QKV = ["q_proj", "k_proj", "v_proj"]


def renamed_attention(name):
    """Names inside torch.nn.MultiheadAttention -> ours. It stacks q, k and v."""
    head, _, last = name.rpartition("in_proj_")
    if last in ("weight", "bias"):
        return [f"{head}{part}.{last}" for part in QKV]
    return name.replace("_proj_weight", "_proj.weight")


@both
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float", "padding"])
def test_multi_head_attention(dtype, bias, mask):
    ours = nn.MultiHeadAttention(C, H, bias=bias)
    theirs = torch.nn.MultiheadAttention(C, H, bias=bias, batch_first=True)
    allowed = np.random.default_rng(1).random((T, T)) < 0.6
    np.fill_diagonal(allowed, True)
    added = normal(T, T).astype(dtype)
    tokens = np.array([[True] * 5, [True] * 3 + [False] * 2])
    our_masks, their_masks = {
        "none": ({}, {}),
        "causal": (
            {"is_causal": True},
            {"attn_mask": torch.triu(torch.ones(T, T, dtype=bool), 1), "is_causal": True},
        ),
        # True means the opposite in this one place of PyTorch.
        "bool": ({"attn_mask": allowed}, {"attn_mask": torch.tensor(~allowed)}),
        "float": ({"attn_mask": added}, {"attn_mask": torch.tensor(added)}),
        "padding": ({"key_mask": tokens}, {"key_padding_mask": torch.tensor(~tokens)}),
    }[mask]
    compare(
        ours,
        theirs,
        [normal(B, T, C)],
        lambda x: ours(x, **our_masks),
        lambda x: theirs(x, x, x, need_weights=False, **their_masks)[0],
        renamed_attention,
        dtype,
    )
    x = normal(B, T, C).astype(dtype)
    weights = ours(tg.tensor(x), need_weights=True, **our_masks)[1]
    x = torch.tensor(x)
    expected = theirs(x, x, x, average_attn_weights=False, **their_masks)[1]
    close(weights.array, array(expected), TOLERANCE[dtype])


@both
def test_cross_attention_with_other_widths(dtype):
    ours = nn.MultiHeadAttention(C, H, kdim=8, vdim=6)
    theirs = torch.nn.MultiheadAttention(C, H, kdim=8, vdim=6, batch_first=True)

    def rename(name):
        return [f"{p}.bias" for p in QKV] if name == "in_proj_bias" else renamed_attention(name)

    compare(
        ours,
        theirs,
        [normal(B, T, C), normal(B, S, 8), normal(B, S, 6)],
        their_call=lambda q, k, v: theirs(q, k, v)[0],
        rename=rename,
        dtype=dtype,
    )


def renamed_block(norms, cross):
    def rename(name):
        for theirs, ours in norms.items():
            name = name.replace(theirs, ours)
        for linear in ("linear1", "linear2"):
            name = name.replace(linear, f"feed_forward.{linear}")
        return renamed_attention(name.replace("multihead_attn", cross))

    return rename


@both
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_encoder_layer(dtype, norm_first, activation):
    ours = nn.TransformerBlock(C, H, 20, activation=activation, norm_first=norm_first)
    theirs = torch.nn.TransformerEncoderLayer(
        C, H, 20, dropout=0.0, activation=activation, norm_first=norm_first, batch_first=True
    )
    padding = np.array([[True] * 5, [True] * 3 + [False] * 2])
    compare(
        ours,
        theirs,
        [normal(B, T, C)],
        lambda x: ours(x, key_mask=padding),
        lambda x: theirs(x, src_key_padding_mask=torch.tensor(~padding)),
        renamed_block({"norm2": "norm3"}, ""),
        dtype,
    )


@both
@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_decoder_layer(dtype, norm_first):
    ours = nn.TransformerBlock(
        C, H, 20, activation="relu", norm_first=norm_first, cross_attention=True
    )
    theirs = torch.nn.TransformerDecoderLayer(
        C, H, 20, dropout=0.0, norm_first=norm_first, batch_first=True
    )
    padding = np.array([[True] * 7, [True] * 4 + [False] * 3])
    causal = torch.triu(torch.ones(T, T, dtype=bool), 1)
    compare(
        ours,
        theirs,
        [normal(B, T, C), normal(B, S, C)],
        lambda x, m: ours(x, m, memory_key_mask=padding, is_causal=True),
        lambda x, m: theirs(x, m, tgt_mask=causal, memory_key_padding_mask=torch.tensor(~padding)),
        renamed_block({}, "cross_attn"),
        dtype,
    )


def test_a_llama_layer_is_a_block_with_other_parts():
    """RMS norm, SwiGLU, grouped heads, half-split rotary positions, no biases."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = llama.LlamaConfig(
        hidden_size=C,
        intermediate_size=20,
        num_attention_heads=H,
        num_key_value_heads=1,
        max_position_embeddings=32,
        rms_norm_eps=1e-6,
        attn_implementation="eager",
    )
    theirs = llama.LlamaDecoderLayer(config, 0)
    rotary = llama.LlamaRotaryEmbedding(config)
    ours = nn.TransformerBlock(
        C,
        H,
        20,
        activation="swiglu",
        norm="rms_norm",
        eps=1e-6,
        bias=False,
        num_kv_heads=1,
        rotary=nn.RotaryPositions(4),  # at size 2, all conventions of pairs are one
    )
    positions = np.array([0, 1, 2, 3, 11])
    mask = torch.full((T, T), -torch.inf).triu(1)[None, None]

    def their_call(x):
        turns = rotary(x, torch.tensor(positions)[None])
        out = theirs(x, attention_mask=mask, position_embeddings=turns)
        return out[0] if isinstance(out, tuple) else out

    names = {"mlp": "feed_forward", "o_proj": "out_proj", "input_layernorm": "norm1"}
    names["post_attention_layernorm"] = "norm3"

    def rename(name):
        for their_name, our_name in names.items():
            name = name.replace(their_name, our_name)
        return name

    compare(
        ours,
        theirs,
        [normal(B, T, C)],
        lambda x: ours(x, is_causal=True, position_ids=positions),
        their_call,
        rename,
        np.float32,  # its norms and softmax are computed in float32, whatever comes in
    )


def test_interleaved_rotary_positions_are_gptjs():
    gptj = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    x = normal(B, T, H, 8)
    table = gptj.create_sinusoidal_positions(32, 6).double()
    positions = torch.arange(T)[None].repeat(B, 1)
    sin, cos = torch.split(table[positions], 3, dim=-1)
    turned = gptj.apply_rotary_pos_emb(torch.tensor(x[..., :6]), sin, cos)
    expected = np.concatenate([array(turned), x[..., 6:]], axis=-1)
    rotary = nn.RotaryPositions(6, interleaved=True)
    out = rotary(tg.tensor(x.swapaxes(1, 2)))
    # Their table is float32.
    np.testing.assert_allclose(out.array.swapaxes(1, 2), expected, atol=1e-6)


def test_a_bert_layer_is_a_post_norm_block():
    bert = pytest.importorskip("transformers.models.bert.modeling_bert")
    config = bert.BertConfig(
        hidden_size=C,
        num_attention_heads=H,
        intermediate_size=20,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    theirs = bert.BertLayer(config)
    ours = nn.TransformerBlock(C, H, 20, norm_first=False, eps=1e-12)
    names = {
        "attention.self.query": "self_attn.q_proj",
        "attention.self.key": "self_attn.k_proj",
        "attention.self.value": "self_attn.v_proj",
        "attention.output.dense": "self_attn.out_proj",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "feed_forward.linear1",
        "output.dense": "feed_forward.linear2",
        "output.LayerNorm": "norm3",
    }

    def rename(name):
        front, _, last = name.rpartition(".")
        return f"{names[front]}.{last}"

    def their_call(x):
        out = theirs(x)
        return out[0] if isinstance(out, tuple) else out

    compare(ours, theirs, [normal(B, T, C)], their_call=their_call, rename=rename)
