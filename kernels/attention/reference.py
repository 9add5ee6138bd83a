"""Scaled dot-product attention (Vaswani et al. 2017), forward and backward, in NumPy.

    scores = scale q k^T,    p = softmax(scores where allowed),    out = p v

p has Tq * Tk elements a head and is never kept. Forward saves the log-sum-exp of each row of
scores; from it backward makes p = exp(scores - logsumexp) again, a tile of queries at a time (the
recomputation of Dao et al., "FlashAttention", 2022). Under a causal mask a tile of queries meets
only the keys up to its end, so nearly half of the work is left out.

A query that may attend to nothing has out = 0, logsumexp = -inf and passes no gradient.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ..dropout.bits import random_bits, stream_key, threshold

Array = Any
TILE = 1 << 17  # scores made at a time: 512 kB of float32, half of a core's second-level cache


def _tiles(shape: tuple[int, ...], causal: bool, offset: int) -> Iterator[tuple[slice, ...]]:
    """Cut (B, H, Tq, Tk) scores into tiles of about TILE: slices of B, all H, Tq and Tk."""
    sequences, heads, queries, keys = shape
    step = max(1, min(queries, max(32, TILE // max(1, heads * keys))))
    together = max(1, TILE // max(1, heads * step * keys)) if step >= queries else 1
    for b in range(0, sequences, together):
        for first in range(0, queries, step):
            last = min(first + step, queries)
            seen = max(0, min(keys, last + offset)) if causal else keys
            yield (
                slice(b, min(b + together, sequences)),
                slice(None),
                slice(first, last),
                slice(seen),
            )


def _stacked(x: Array, groups: int) -> Array:
    """(b, H, t, D) -> (b, G, H/G * t, D): the query heads that share a key head, as more rows."""
    b, heads, t, width = x.shape
    return x if groups == heads else x.reshape(b, groups, heads // groups * t, width)


@lru_cache(maxsize=64)
def _late(queries: int, keys: int, shift: int, dtype: np.dtype) -> Array:
    """0 where key j <= query i + shift, -inf where j comes later. (queries, keys)"""
    late = np.arange(keys) > np.arange(queries)[:, None] + shift
    return np.where(late, -np.inf, 0).astype(dtype)


def _scores(
    q: Array, k: Array, mask: Array | None, causal: bool, offset: int, tile: tuple[slice, ...]
) -> Array:
    """q: (b, H, t, D), scaled, k: (b, G, s, D) -> masked scores of the tile, (b, H, t, s)."""
    rows = _stacked(q, k.shape[1]) @ k.swapaxes(-1, -2)  # (b, G, H/G * t, s)
    scores = rows.reshape(*q.shape[:-1], k.shape[2])  # (b, H, t, s)
    if mask is not None:
        scores += mask[tile]
    if causal:
        # Every query of the tile sees the keys before `start`; add -inf only from there.
        reach = tile[2].start + offset  # the last key that the first query may see
        start = max(0, reach + 1)
        if start < k.shape[2]:
            scores[..., start:] += _late(q.shape[2], k.shape[2] - start, reach - start, q.dtype)
    return scores


def _kept(shape: tuple[int, ...], tile: tuple[slice, ...], p: float, key: tuple[int, int]) -> Array:
    """The dropout mask of a tile, (b, H, t, s). Position: the C-order index into (B, H, Tq, Tk)."""
    axes = [np.arange(n, dtype=np.int64)[part] for n, part in zip(shape, tile, strict=True)]
    position = np.zeros((), np.int64)
    for n, axis in zip(shape, axes, strict=True):
        position = position[..., None] * n + axis
    if math.prod(shape) < 1 << 32:
        position = position.astype(np.uint32)
    return random_bits(position, key) >= np.uint32(threshold(p))


def _wide(*arrays: Array | None) -> Any:
    """float16 arrays as float32."""
    return [a.astype(np.float32) if a is not None and a.dtype == np.float16 else a for a in arrays]


def _for_blas(x: Array) -> Array:
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def _prepared(q: Array, k: Array, v: Array, mask: Array | None) -> tuple[Array, ...]:
    shape = (*q.shape[:3], k.shape[2])  # (B, H, Tq, Tk)
    if mask is not None:
        if mask.dtype == np.bool_:
            mask = np.where(mask, q.dtype.type(0), q.dtype.type(-np.inf))
        mask = np.broadcast_to(mask, shape)  # a view
    return _for_blas(q), _for_blas(k), _for_blas(v), mask, shape


def attention_forward(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    offset: int = 0,
    scale: float | None = None,
    dropout_p: float = 0.0,
    seed: int = 0,
    stream: int = 0,
) -> tuple[Array, Array]:
    """q: (B, H, Tq, D), k: (B, G, Tk, D), v: (B, G, Tk, E) -> out: (B, H, Tq, E), logsumexp:
    (B, H, Tq). H is a multiple of G; query head h reads key head h // (H/G).

    mask: broadcasts to (B, H, Tq, Tk); True where a query may attend, or numbers added to the
    scores. causal: query i attends to keys 0..i+offset only. scale: 1/sqrt(D) if None. Dropout
    zeroes elements of p; its mask is a function of (seed, stream, position), see dropout/bits.py.
    """
    if q.dtype == np.float16:
        q, k, v, mask = _wide(q, k, v, mask)
        settings = causal, offset, scale, dropout_p, seed, stream
        wide, logsumexp = attention_forward(q, k, v, mask, *settings)
        return wide.astype(np.float16), logsumexp
    q, k, v, mask, shape = _prepared(q, k, v, mask)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    out = np.empty_like(q, shape=(*shape[:3], v.shape[-1]))  # (B, H, Tq, E), axes in q's order
    logsumexp = np.empty(shape[:3], q.dtype)  # (B, H, Tq)
    key, inverse = stream_key(seed, stream), 1 / (1 - dropout_p) if dropout_p < 1 else 0.0
    for tile in _tiles(shape, causal, offset):
        seen = (tile[0], slice(None), tile[3])
        p = _scores(q[tile[:3]] * scale, k[seen], mask, causal, offset, tile)  # (b, H, t, s)
        largest = p.max(axis=-1, keepdims=True, initial=-np.inf)  # (b, H, t, 1)
        largest[largest == -np.inf] = 0  # nothing to attend to: all exponentials are 0, not nan
        p -= largest
        np.exp(p, out=p)
        total = np.vecdot(p, np.ones(p.shape[-1], p.dtype))[..., None]  # (b, H, t, 1)
        if dropout_p:
            p *= _kept(shape, tile, dropout_p, key)
        o = _stacked(p, k.shape[1]) @ v[seen]  # (b, G, H/G * t, E)
        o = o.reshape(*p.shape[:3], v.shape[-1])  # (b, H, t, E)
        nothing = total == 0
        total[nothing] = 1
        # Dividing E numbers a row here is cheaper than dividing s probabilities above.
        np.divide(o, total, out=out[tile[:3]])
        if dropout_p:
            out[tile[:3]] *= inverse
        np.log(total, out=total)
        total += largest
        total[nothing] = -np.inf
        logsumexp[tile[:3]] = total[..., 0]
    return out, logsumexp


def attention_backward(
    dout: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    logsumexp: Array,
    mask: Array | None = None,
    causal: bool = False,
    offset: int = 0,
    scale: float | None = None,
    dropout_p: float = 0.0,
    seed: int = 0,
    stream: int = 0,
    needs_dmask: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """dout: (B, H, Tq, E) and forward's arguments and results -> dq, dk, dv, dmask, shaped as
    theirs. dmask is None unless asked for (a mask of numbers may be learned: Shaw et al. 2018).

    With dp = dout v^T, softmax gives dscores = p * (dp - sum_j p_j dp_j), and that sum is also
    sum(dout * out), which needs no row of p (and holds under dropout).
    """
    if q.dtype == np.float16:
        dout, q, k, v, out, mask = _wide(dout, q, k, v, out, mask)
        settings = causal, offset, scale, dropout_p, seed, stream
        wide = attention_backward(dout, q, k, v, out, logsumexp, mask, *settings, needs_dmask)
        return tuple(a if a is None else a.astype(np.float16) for a in wide)  # type: ignore[return-value]
    dmask = np.zeros(_four(mask.shape), q.dtype) if needs_dmask else None  # type: ignore[union-attr]
    mask_shape = None if mask is None else mask.shape
    q, k, v, mask, shape = _prepared(q, k, v, mask)
    dout = _for_blas(dout)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    dq, dk, dv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
    key, inverse = stream_key(seed, stream), 1 / (1 - dropout_p) if dropout_p < 1 else 0.0
    groups = k.shape[1]
    for tile in _tiles(shape, causal, offset):
        seen = (tile[0], slice(None), tile[3])
        scaled = q[tile[:3]] * scale  # (b, H, t, D)
        p = _scores(scaled, k[seen], mask, causal, offset, tile)  # (b, H, t, s)
        lse = logsumexp[tile[:3]][..., None]  # (b, H, t, 1)
        p -= np.where(lse == -np.inf, 0, lse)
        np.exp(p, out=p)
        d = dout[tile[:3]]  # (b, H, t, E)
        dots = np.vecdot(d, out[tile[:3]])[..., None]  # (b, H, t, 1)
        ds = _stacked(d, groups) @ v[seen].swapaxes(-1, -2)  # (b, G, H/G * t, s)
        ds = ds.reshape(p.shape)  # (b, H, t, s): dp, which becomes dscores
        used = p  # (b, H, t, s): what multiplied v
        if dropout_p:
            kept = _kept(shape, tile, dropout_p, key) * p.dtype.type(inverse)
            used = p * kept
            ds *= kept
        dv[seen] += _stacked(used, groups).swapaxes(-1, -2) @ _stacked(d, groups)
        ds -= dots
        ds *= p
        if dmask is not None:
            _add_to_mask(dmask, ds, tile)
        rows = _stacked(ds, groups)  # (b, G, H/G * t, s)
        np.multiply((rows @ k[seen]).reshape(scaled.shape), scale, out=dq[tile[:3]])
        dk[seen] += rows.swapaxes(-1, -2) @ _stacked(scaled, groups)
    return dq, dk, dv, None if dmask is None else dmask.reshape(mask_shape)


def _four(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A mask's shape with leading ones."""
    return (1,) * (4 - len(shape)) + shape


def _add_to_mask(dmask: Array, ds: Array, tile: tuple[slice, ...]) -> None:
    """Sum a tile's dscores over the axes along which the mask was broadcast."""
    stretched = tuple(i for i, n in enumerate(dmask.shape) if n == 1)
    place = tuple(slice(None) if i in stretched else part for i, part in enumerate(tile))
    dmask[place] += ds.sum(axis=stretched, keepdims=True)
