"""Attention against loops over heads and tokens, and what masks, groups and caches must not do."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn
from tinygrad_llm.generation.cache import KVCache

B, T, S, H, D = 2, 4, 5, 3, 2  # all different; C = H * D = 6
C = H * D


def naive(layer, query, key, value, allowed=None, added=None):
    """(output, weights), one head, row and token at a time."""

    def project(linear, x):
        return x @ linear.weight.array.T + (0 if linear.bias is None else linear.bias.array)

    q, k, v = (
        project(linear, x)
        for linear, x in (
            (layer.q_proj, query),
            (layer.k_proj, key),
            (layer.v_proj, value),
        )
    )
    size, heads = layer.head_dim, layer.num_heads
    shared = heads // layer.num_kv_heads
    joined = np.zeros((*query.shape[:2], heads * size))
    weights = np.zeros((len(query), heads, query.shape[1], key.shape[1]))
    for b in range(len(query)):
        for h in range(heads):
            mine = slice(h * size, (h + 1) * size)
            theirs = slice(h // shared * size, (h // shared + 1) * size)
            for t in range(query.shape[1]):
                scores = k[b, :, theirs] @ q[b, t, mine] / np.sqrt(size)
                if added is not None:
                    scores = scores + added[b, h, t]
                if allowed is not None:
                    scores = np.where(allowed[b, h, t], scores, -np.inf)
                p = np.exp(scores - scores.max())
                p /= p.sum()
                weights[b, h, t] = p
                joined[b, t, mine] = p @ v[b, :, theirs]
    return project(layer.out_proj, joined), weights


def layer_of(**options):
    tg.manual_seed(0)
    return nn.MultiHeadAttention(C, H, **options).double()


def close(result, expected):
    np.testing.assert_allclose(result.array, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_self_attention(random, check_slopes, bias):
    layer = layer_of(bias=bias)
    x = random(B, T, C)
    expected, weights = naive(layer, x, x, x)
    close(layer(tg.tensor(x)), expected)
    out, w = layer(tg.tensor(x), need_weights=True)
    close(out, expected)
    close(w, weights)
    assert w.shape == (B, H, T, T)
    assert check_slopes(layer, x)
    assert len(list(layer.parameters())) == (8 if bias else 4)


def test_cross_attention_with_other_widths(random, check_slopes):
    layer = layer_of(kdim=7, vdim=4)
    query, key, value = random(B, T, C), random(B, S, 7), random(B, S, 4)
    expected, weights = naive(layer, query, key, value)
    out, w = layer(*map(tg.tensor, (query, key, value)), need_weights=True)
    close(out, expected)
    close(w, weights)
    assert check_slopes(layer, query, key, value)
    same = layer_of(kdim=7, vdim=7)
    memory = tg.tensor(key)
    close(same(tg.tensor(query), memory), same(tg.tensor(query), memory, memory).array)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_heads(random, check_slopes, groups):
    tg.manual_seed(1)
    layer = nn.MultiHeadAttention(8, 4, num_kv_heads=groups, head_dim=3).double()
    x = random(B, T, 8)
    expected, weights = naive(layer, x, x, x)
    out, w = layer(tg.tensor(x), need_weights=True)
    close(out, expected)
    close(w, weights)
    assert layer.k_proj.weight.shape == (groups * 3, 8)
    assert layer.out_proj.weight.shape == (8, 12)
    assert check_slopes(layer, x, is_causal=True)


def test_masks_of_all_kinds(random, check_slopes):
    layer = layer_of()
    x, memory = random(B, T, C), random(B, S, C)
    rng = np.random.default_rng(2)
    allowed = rng.random((B, H, T, S)) < 0.6
    allowed[..., 0] = True
    added = rng.standard_normal((B, H, T, S))
    tokens = np.ones((B, S), int)
    tokens[1, 3:] = 0
    given = tg.tensor(x), tg.tensor(memory)

    def check(**masks):
        full = np.broadcast_to(masks.get("attn_mask", np.True_), (B, H, T, S))
        parts = {"added": full} if full.dtype != bool else {"allowed": full}
        if "key_mask" in masks:
            seen = masks["key_mask"][:, None, None, :].astype(bool)
            parts["allowed"] = np.broadcast_to(seen, full.shape) & parts.get("allowed", True)
        expected, weights = naive(layer, x, memory, memory, **parts)
        out, w = layer(*given, need_weights=True, **masks)
        close(out, expected)
        close(w, weights)
        tensors = {name: tg.tensor(mask) for name, mask in masks.items()}
        close(layer(*given, **tensors), expected)

    check(attn_mask=allowed)
    check(attn_mask=allowed[0, 0])  # (T, S): the same for all
    check(attn_mask=allowed[:, :1])
    check(attn_mask=added)
    check(attn_mask=added[0, 0])
    check(key_mask=tokens)
    check(key_mask=tokens.astype(bool))
    check(attn_mask=allowed, key_mask=tokens)
    check(attn_mask=added[0], key_mask=tokens)
    assert check_slopes(layer, x, memory, attn_mask=tg.tensor(added), key_mask=tokens)


@pytest.mark.parametrize("extra", ["none", "key_mask", "attn_mask", "float mask"])
def test_causal_attention_sees_no_future(random, extra):
    layer = layer_of()
    x = random(B, T, C)
    tokens = np.ones((B, T), bool)
    tokens[0, 0] = False
    masks = {
        "none": {},
        "key_mask": {"key_mask": tokens},
        "attn_mask": {"attn_mask": tokens[:, None, None, :]},
        "float mask": {"attn_mask": np.where(tokens, 0.5, -0.5)[:, None, None, :]},
    }[extra]
    out = layer(tg.tensor(x), is_causal=True, **masks).array
    allowed = np.broadcast_to(np.tril(np.ones((T, T), bool)), (B, H, T, T)).copy()
    added = None
    if extra == "float mask":
        added = np.broadcast_to(masks["attn_mask"], (B, H, T, T))
    elif extra != "none":
        allowed &= tokens[:, None, None, :]
    rows = np.s_[:, 1:]  # row 0 of the first sequence sees nothing at all where masked
    expected = naive(layer, x, x, x, allowed | (~allowed.any(-1, keepdims=True)), added)[0]
    np.testing.assert_allclose(out[rows], expected[rows], rtol=1e-10)
    for t in range(1, T):
        changed = x.copy()
        changed[:, t] += 1
        again = layer(tg.tensor(changed), is_causal=True, **masks).array
        np.testing.assert_array_equal(again[:, :t], out[:, :t])
        assert not np.allclose(again[1, t], out[1, t])
        assert not np.allclose(again[1, -1], out[1, -1])


def test_padding_changes_nothing_whatever_it_holds(random):
    layer = layer_of()
    short = random(1, 3, C)
    expected = layer(tg.tensor(short)).array
    for filling in (0.0, 1e3):
        padded = np.concatenate([np.full((1, 2, C), filling), short], axis=1)
        out = layer(tg.tensor(padded), key_mask=np.array([[0, 0, 1, 1, 1]])).array
        np.testing.assert_allclose(out[:, 2:], expected, rtol=1e-10)


@pytest.mark.parametrize("steps", [[1, 1, 1, 1, 1, 1, 1], [4, 3], [3, 1, 2, 1]])
@pytest.mark.parametrize("rotary", [True, False])
def test_with_a_cache_pieces_equal_the_whole(random, steps, rotary):
    tg.manual_seed(1)
    turn = nn.RotaryPositions(4) if rotary else None
    layers = [
        nn.MultiHeadAttention(8, 2, num_kv_heads=1, rotary=turn, layer_index=i).double()
        for i in range(2)
    ]
    x = tg.tensor(random(B, 7, 8))
    tokens = np.ones((B, 7), int)
    tokens[1, :2] = 0

    def run(x, key_mask, cache):
        for layer in layers:
            x = x + layer(x, key_mask=key_mask, is_causal=True, cache=cache)
        return x.array

    with tg.no_grad():
        whole = run(x, tokens, None)
        cache = KVCache(2, B)
        done, pieces = 0, []
        for count in steps:
            end = done + count
            pieces.append(run(x[:, done:end], tokens[:, :end], cache))
            done = end
            assert cache.length == done
    joined = np.concatenate(pieces, axis=1)
    np.testing.assert_allclose(joined[0], whole[0], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(joined[1, 2:], whole[1, 2:], rtol=1e-11, atol=1e-13)


def test_dropout_of_weights_in_training_alone(random):
    layer = layer_of(dropout=0.5)
    x = tg.tensor(random(B, T, C))
    plain = layer.eval()(x).array
    np.testing.assert_array_equal(layer(x).array, plain)
    layer.train()
    tg.manual_seed(4)
    first = layer(x).array
    assert not np.allclose(first, plain)
    assert not np.allclose(layer(x).array, first)
    tg.manual_seed(4)
    np.testing.assert_array_equal(layer(x).array, first)


def test_one_token_one_head_and_nothing_at_all(random):
    layer = nn.MultiHeadAttention(3, 1).double()
    x = random(1, 1, 3)
    expected, _ = naive(layer, x, x, x)
    close(layer(tg.tensor(x), is_causal=True), expected)
    assert layer(tg.zeros(0, 2, 3, dtype=tg.float64)).shape == (0, 2, 3)
    assert layer(tg.zeros(2, 0, 3, dtype=tg.float64)).shape == (2, 0, 3)


def attend(*shapes, **masks):
    """Width 6, 3 heads, keys of width 4."""
    return nn.MultiHeadAttention(6, 3, kdim=4)(*(s and tg.zeros(*s) for s in shapes), **masks)


def attend_to_itself(*others, **masks):
    return nn.MultiHeadAttention(6, 3)(tg.zeros(2, 3, 6), *others, **masks)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.MultiHeadAttention(6, 4), ValueError, "embed_dim=6 is not divisible by num_h"),
        (lambda: nn.MultiHeadAttention(6, 6, 4), ValueError, "multiple of num_kv_heads=4"),
        (lambda: nn.MultiHeadAttention(6, 3, dropout=2), ValueError, "dropout=2"),
        (
            lambda: attend((2, 3, 5), (2, 5, 4)),
            ValueError,
            r"query has shape \(2, 3, 5\), expected \(batch, tokens, 6\)",
        ),
        (lambda: attend((3, 6)), ValueError, r"query has shape \(3, 6\)"),
        (
            lambda: attend((2, 3, 6), (2, 5, 6)),
            ValueError,
            r"key has shape \(2, 5, 6\), expected \(batch, tokens, 4\)",
        ),
        (lambda: attend((2, 3, 6), (3, 5, 4)), ValueError, "key has a batch of 3, query one of 2"),
        (lambda: attend((2, 3, 6), (2, 5, 4), (2, 4, 6)), ValueError, "5 keys, but 4 values"),
        (lambda: attend((2, 3, 6), None, (2, 5, 6)), ValueError, "value is given, but no key"),
        (
            lambda: attend_to_itself(key_mask=np.ones((2, 4), int)),
            ValueError,
            r"key_mask: int64 of shape \(2, 4\) .* \(2, 3\)",
        ),
        (
            lambda: attend_to_itself(key_mask=np.ones((2, 3))),
            ValueError,
            "key_mask: float64",
        ),
        (
            lambda: attend_to_itself(cache=KVCache(1, 2)),
            RuntimeError,
            r"cache= is for generation.*no_grad\(\)",
        ),
        (
            lambda: attend_to_itself(tg.zeros(2, 5, 6), cache=KVCache(1, 2)),
            ValueError,
            "give no key",
        ),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
