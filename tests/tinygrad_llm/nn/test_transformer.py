"""The block: where the norms stand, what passes through, and pieces with a cache."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn
from tinygrad_llm.generation.cache import KVCache

B, T, S, C, H = 2, 4, 5, 6, 3


def block_of(**options):
    tg.manual_seed(0)
    block = nn.TransformerBlock(C, H, **options).double()
    for module in block.modules():  # norms that do something
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            for p in module.parameters():
                p.array[...] = np.random.default_rng(p.numel()).standard_normal(p.shape)
    return block


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("activation", ["relu", "swiglu"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_the_norm_stands_where_it_should(random, check_slopes, norm, activation, norm_first):
    block = block_of(norm=norm, activation=activation, norm_first=norm_first, hidden_dim=7)
    x = random(B, T, C)
    given = tg.tensor(x)
    if norm_first:
        h = given + block.self_attn(block.norm1(given), is_causal=True)
        expected = h + block.feed_forward(block.norm3(h))
    else:
        h = block.norm1(given + block.self_attn(given, is_causal=True))
        expected = block.norm3(h + block.feed_forward(h))
    out = block(given, is_causal=True)
    np.testing.assert_allclose(out.array, expected.array, rtol=1e-12)
    assert isinstance(block.norm1, nn.LayerNorm if norm == "layer_norm" else nn.RMSNorm)
    assert check_slopes(block, x, is_causal=True)


@pytest.mark.parametrize("norm_first", [True, False])
def test_cross_attention_to_memory(random, check_slopes, norm_first):
    block = block_of(cross_attention=True, memory_dim=7, norm_first=norm_first, hidden_dim=5)
    x, memory = tg.tensor(random(B, T, C)), tg.tensor(random(B, S, 7))
    tokens = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])

    def attend(h):
        return block.self_attn(h, is_causal=True)

    def look_up(h):
        return block.cross_attn(h, memory, key_mask=tokens)

    h = x
    for norm, layer in (
        (block.norm1, attend),
        (block.norm2, look_up),
        (block.norm3, block.feed_forward),
    ):
        h = h + layer(norm(h)) if norm_first else norm(h + layer(h))
    out = block(x, memory, memory_key_mask=tokens, is_causal=True)
    np.testing.assert_allclose(out.array, h.array, rtol=1e-12)
    assert check_slopes(block, x.array, memory.array, memory_key_mask=tokens)
    changed = memory.array.copy()
    changed[1, 3:] += 5
    again = block(x, tg.tensor(changed), memory_key_mask=tokens, is_causal=True)
    np.testing.assert_array_equal(again.array, out.array)
    only_first = block(x, memory, memory_mask=np.arange(S) < 1).array
    changed[:, 1:] += 7
    np.testing.assert_array_equal(
        block(x, tg.tensor(changed), memory_mask=np.arange(S) < 1).array, only_first
    )


def test_memory_is_needed_exactly_where_it_is_used():
    x, memory = tg.zeros(B, T, C), tg.zeros(B, S, C)
    with pytest.raises(ValueError, match="needs memory"):
        nn.TransformerBlock(C, H, cross_attention=True)(x)
    with pytest.raises(ValueError, match=r"takes no memory \(cross_attention=False\)"):
        nn.TransformerBlock(C, H)(x, memory)


def test_masks_reach_the_attention(random):
    block = block_of()
    x = random(B, T, C)
    tokens = np.array([[1, 1, 1, 1], [0, 0, 1, 1]])
    out = block(tg.tensor(x), key_mask=tokens).array
    changed = x.copy()
    changed[1, :2] += 9
    np.testing.assert_allclose(
        block(tg.tensor(changed), key_mask=tokens).array[1, 2:], out[1, 2:], rtol=1e-12
    )
    assert not np.allclose(block(tg.tensor(changed)).array[1, 2:], out[1, 2:])
    diagonal = block(tg.tensor(x), attn_mask=np.eye(T, dtype=bool)).array
    alone = block(tg.tensor(x[:, 2:3])).array
    np.testing.assert_allclose(diagonal[:, 2:3], alone, rtol=1e-10)


def test_a_stack_with_a_cache_equals_the_whole_text(random):
    tg.manual_seed(2)
    rotary = nn.RotaryPositions(2)
    blocks = [
        nn.TransformerBlock(
            8, 4, num_kv_heads=2, rotary=rotary, activation="swiglu", norm="rms_norm", layer_index=i
        ).double()
        for i in range(3)
    ]
    x = tg.tensor(random(B, 6, 8))

    def run(x, cache=None, position_ids=None):
        for block in blocks:
            x = block(x, is_causal=True, cache=cache, position_ids=position_ids)
        return x.array

    with tg.no_grad():
        whole = run(x)
        cache = KVCache(3, B)
        pieces = [run(x[:, :3], cache), run(x[:, 3:4], cache), run(x[:, 4:], cache)]
        np.testing.assert_allclose(np.concatenate(pieces, 1), whole, rtol=1e-11, atol=1e-13)
        # Positions count: elsewhere in the text all distances are the same, and so is the result.
        moved = run(x, position_ids=np.arange(6) + 11)
        np.testing.assert_allclose(moved, whole, rtol=1e-9, atol=1e-11)
        spread = run(x, position_ids=np.arange(6) * 2)
        assert not np.allclose(spread, whole, rtol=1e-3)


def test_dropout_in_training_alone(random):
    block = block_of(dropout=0.4)
    x = tg.tensor(random(B, T, C))
    assert sum(isinstance(m, nn.Dropout) and m.p == 0.4 for m in block.modules()) == 2
    assert block.self_attn.dropout == 0.4
    first = block(x).array
    assert not np.allclose(block(x).array, first)
    block.eval()
    np.testing.assert_array_equal(block(x).array, block(x).array)
    # With everything dropped, pre-norm leaves x alone: the residual stream itself is not dropped.
    block.train()
    block.dropout.p = 1.0
    np.testing.assert_array_equal(block(x).array, x.array)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="norm='batch_norm'; use 'layer_norm' or 'rms_norm'"):
        nn.TransformerBlock(4, 2, norm="batch_norm")
    with pytest.raises(ValueError, match="activation='gleu'"):
        nn.TransformerBlock(4, 2, activation="gleu")


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_eps_and_bias_reach_every_part(norm):
    block = nn.TransformerBlock(C, H, norm=norm, eps=0.5, bias=False, cross_attention=True)
    assert [block.norm1.eps, block.norm2.eps, block.norm3.eps] == [0.5] * 3
    assert not any(name.endswith("bias") for name, _ in block.named_parameters())
    biased = nn.TransformerBlock(C, H, norm=norm, cross_attention=True)
    layers = [m for m in biased.modules() if isinstance(m, (nn.Linear, nn.LayerNorm))]
    assert len(layers) == 10 + 3 * (norm == "layer_norm")
    assert all(m.bias is not None for m in layers)


def test_shared_rotary_positions_are_no_parameters():
    rotary = nn.RotaryPositions(2)
    model = nn.Sequential(*(nn.TransformerBlock(4, 2, rotary=rotary, bias=False) for _ in range(2)))
    names = list(model.state_dict())
    assert names[:4] == [f"0.self_attn.{p}_proj.weight" for p in ("q", "k", "v", "out")]
    assert not any("rotary" in name for name in names)
    assert model.num_parameters() == 2 * (4 * 16 + 2 * 4 + 2 * 4 * 16)
