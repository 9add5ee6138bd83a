"""Attention, and the rotation that tells it positions."""

from typing import Any

import numpy as np

from tinygrad_llm import dtypes, ops, rng
from tinygrad_llm.functional import composed
from tinygrad_llm.functional._checks import (
    check_floating,
    check_like,
    check_probability,
    check_tensor,
)
from tinygrad_llm.tensor import Tensor

SDPA = "scaled_dot_product_attention"


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    causal_offset: int = 0,
    return_weights: bool = False,
) -> Any:
    """softmax(scale query key^T + mask) value (Vaswani et al. 2017).

    query: (..., H, Tq, D), key: (..., H, Tk, D), value: (..., H, Tk, E) -> (..., H, Tq, E).
    attn_mask: broadcasts to (..., H, Tq, Tk); True where a query may attend, or numbers that are
    added to the scores (they may require a gradient). scale: 1/sqrt(D) if None. dropout_p applies
    whenever it is given: pass 0 in evaluation. enable_gqa: key and value may have fewer heads, of
    which each serves H / heads neighbouring query heads. A query that may attend to nothing gets 0.

    Beyond PyTorch: is_causal goes together with attn_mask; query i sees keys 0..i + causal_offset
    (with a KV cache of n tokens, causal_offset=n); return_weights=True returns (output, weights),
    weights (..., H, Tq, Tk) being what the values are multiplied by; it keeps that matrix in
    memory, which the plain call does not.
    """
    check_floating(SDPA, "query", query)
    check_like(SDPA, "key", key, query)
    check_like(SDPA, "value", value, query)
    check_probability(SDPA, "dropout_p", dropout_p)
    _check_shapes(query.array.shape, key.array.shape, value.array.shape, enable_gqa)
    if attn_mask is not None:
        _check_mask(attn_mask, query, (*query.array.shape[:-1], key.array.shape[-2]))
    seed, stream = rng.state.next_stream() if dropout_p else (0, 0)
    options: dict[str, Any] = {
        "causal": is_causal,
        "offset": causal_offset,
        "scale": scale,
        "dropout_p": dropout_p,
        "seed": seed,
        "stream": stream,
    }
    if return_weights:
        return composed.attention(query, key, value, attn_mask, **options)
    return ops.Attention.apply(query, key, value, attn_mask, **options)


def _check_shapes(
    q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], grouped: bool
) -> None:
    fits = (
        len(q) == len(k) == len(v) >= 2
        and q[-1] == k[-1]
        and k[:-1] == v[:-1]
        and (q[:-2] == k[:-2] or (grouped and len(q) > 2 and q[:-3] == k[:-3]))
    )
    if not fits:
        raise ValueError(
            f"{SDPA}: query {q}, key {k} and value {v} do not fit; they must be (..., H, Tq, D), "
            f"(..., H, Tk, D) and (..., H, Tk, E)"
            + ("" if grouped else "; fewer heads for key and value need enable_gqa=True")
        )
    if q[:-2] != k[:-2] and (k[-3] == 0 or q[-3] % k[-3]):
        raise ValueError(f"{SDPA}: {q[-3]} query heads cannot share {k[-3]} key heads evenly")


def _check_mask(mask: Any, query: Tensor, shape: tuple[int, ...]) -> None:
    check_tensor(SDPA, "attn_mask", mask)
    if mask.dtype != np.bool_ and mask.dtype != query.dtype:
        raise TypeError(
            f"{SDPA}: attn_mask is {mask.dtype}; accepted are bool (True: may attend) and the "
            f"query's {query.dtype} (added to the scores)"
        )
    given = mask.array.shape
    if len(given) > len(shape) or any(
        n not in (1, m) for n, m in zip(given[::-1], shape[::-1], strict=False)
    ):
        raise ValueError(
            f"{SDPA}: attn_mask has shape {given}, which does not broadcast to {shape}"
        )


def apply_rotary(input: Tensor, cos: Any, sin: Any, interleaved: bool = False) -> Tensor:
    """Turn pairs of features by an angle per position (Su et al., "RoFormer", 2021).

    input: (..., T, D); cos, sin: (T, R/2), from `rotary_tables`, or any shape that broadcasts to
    (..., T, R/2); features beyond R <= D stay as they are. interleaved: pairs are neighbours
    (RoFormer, GPT-J); else feature i pairs with i + R/2 (GPT-NeoX, Hugging Face's Llama).
    """
    check_floating("apply_rotary", "input", input)
    cos, sin = (t.array if isinstance(t, Tensor) else np.asarray(t) for t in (cos, sin))
    shape = input.array.shape
    wanted = (*shape[:-1], cos.shape[-1] if cos.ndim else 0)
    try:
        fits = cos.shape == sin.shape and np.broadcast_shapes(cos.shape, wanted) == wanted
    except ValueError:
        fits = False
    if not fits or 2 * cos.shape[-1] > shape[-1]:
        raise ValueError(
            f"apply_rotary: cos {cos.shape} and sin {sin.shape} do not fit the input {shape}; they "
            f"must be (T, R/2) with T={shape[-2] if len(shape) > 1 else '?'} and R <= {shape[-1:]}"
        )
    return ops.Rotary.apply(input, cos, sin, interleaved=interleaved)


def rotary_tables(
    positions: int | Any, dim: int, base: float = 10000.0, dtype: Any = None
) -> tuple[Tensor, Tensor]:
    """cos and sin of position * base^(-2i/dim), (T, dim/2) each.

    positions: a length (0, 1, ..., T-1) or the positions themselves. Angles are made in float64:
    in float32 those of distant positions would be off.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"rotary_tables: dim={dim} must be even and at least 2")
    if isinstance(positions, int):
        positions = np.arange(positions)
    elif isinstance(positions, Tensor):
        positions = positions.array
    frequency = base ** (-np.arange(0, dim, 2) / dim)  # (dim/2,)
    angle = np.asarray(positions, np.float64)[..., None] * frequency  # (T, dim/2)
    resolved = dtypes.DEFAULT if dtype is None else dtypes.resolve(dtype)
    return (
        Tensor.from_op(np.cos(angle).astype(resolved)),
        Tensor.from_op(np.sin(angle).astype(resolved)),
    )
