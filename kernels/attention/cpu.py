"""Attention, one head at a time within the cache: products in register tiles, softmax between.

A block of queries meets all the keys it may see; its scores are a few rows that stay in the cache,
so no online softmax is needed. Under a causal mask, tiles beyond the last visible key are left out.
Backward makes the probabilities again from logsumexp. Formulas: reference.py.
"""

import math
from typing import Any

import numpy as np

from .._arrays import F32, addresses, room_like, walkable
from .._jit import compiled, instead_of
from .._scalar import LOWEST, ONE, ZERO, exp, f32, kept, largest
from .._threads import share
from .._tiles import FIRST, LANES, PANEL, ROWS, UNIT, add_product, memory, product
from ..dropout.bits import stream_key, threshold
from . import reference
from .blocks import hide, pack_panels, pack_rows, round_up, scores, unpack_rows, visible

Array = Any

SMALL = 1 << 15  # multiply-adds below which NumPy is no slower
FEW = 4  # queries, below which laying the keys out for many does not pay
GRAIN = 1 << 20  # multiply-adds a thread is woken for
QUERIES = np.int64(32)  # a block: its scores against 512 keys take 64 kB
WIDE = np.int64(
    64
)  # rows of scores are this multiple long, so that loops over them have no remainder
INFINITY = f32(np.inf)
EVERYTHING = np.int64(1 << 60)  # the "size" of an array that is given by its address
_SUMS = {"contract", "reassoc"}
# A strided array is an address and the steps of batch, head and position, in elements.
_STEPS = "UniTuple(int64, 3)"
_ARRAY = f"int64, {_STEPS}"
_SHAPE = "UniTuple(int64, 7)"  # B, H, G, Tq, Tk, D, E
_OPTIONS = "boolean, int64, float64, UniTuple(uint32, 3), float64"  # keys and limit; 1 / (1 - p)
_LSE = "float32[::1]"


@compiled(f"void({_ARRAY}, {_ARRAY}, {_ARRAY}, {_ARRAY}, {_ARRAY}, {_LSE}, {_SHAPE}, {_OPTIONS}, "
          "intp, intp)", fastmath=_SUMS)  # fmt: skip
def _forward(  # type: ignore[no-untyped-def]
    q, q_steps, k, k_steps, v, v_steps, mask, mask_steps, out, out_steps, logsumexp,
    shape, causal, offset, scale, dropout, inverse, first, last,
):  # fmt: skip
    _, heads, groups, queries, keys, d, e = shape
    masked, dropping = mask != 0, dropout[2] != 0
    q, k, v = memory(q, EVERYTHING), memory(k, EVERYTHING), memory(v, EVERYTHING)
    mask, out = memory(mask, EVERYTHING), memory(out, EVERYTHING)
    ld, ew = round_up(keys, WIDE), round_up(e, LANES)
    panels = np.empty(round_up(keys, PANEL) * d, np.float32)  # k^T
    values = np.empty(keys * ew, np.float32)  # (Tk, E)
    rows = np.empty(QUERIES * d, np.float32)  # (QUERIES, D)
    s = np.empty(QUERIES * ld, np.float32)  # (QUERIES, Tk)
    o = np.empty(QUERIES * ew, np.float32)  # (QUERIES, E)
    shares = np.empty(QUERIES, np.float32)
    for task in range(first, last):
        b, g = task // groups, task % groups
        pack_panels(panels, k, b * k_steps[0] + g * k_steps[1], k_steps[2], keys, d)
        pack_rows(
            values, ew, v, b * v_steps[0] + g * v_steps[1], v_steps[2], FIRST, keys, keys, e, ONE
        )
        for h in range(g * (heads // groups), (g + 1) * (heads // groups)):
            q_at = b * q_steps[0] + h * q_steps[1]
            out_at = b * out_steps[0] + h * out_steps[1]
            mask_at = b * mask_steps[0] + h * mask_steps[1]
            for start in range(0, queries, QUERIES):
                count = QUERIES if start + QUERIES <= queries else queries - start
                padded = round_up(count, ROWS)
                pack_rows(rows, d, q, q_at, q_steps[2], start, count, padded, d, f32(scale))
                scores(s, ld, rows, d, panels, d, start, count, keys, causal, offset)
                for i in range(count):
                    query = start + i
                    limit = visible(query, keys, causal, offset)
                    # As wide as the widest of the tile, whose rows are multiplied together.
                    tile = visible(start + i // ROWS * ROWS + ROWS - 1, keys, causal, offset)
                    row = s[i * ld : i * ld + round_up(tile, WIDE)]
                    hide(row, limit, mask, mask_at + query * mask_steps[2], masked)
                    most = largest(row)
                    most = ZERO if most == LOWEST else most  # nothing to attend to: 0, not nan
                    total = ZERO
                    for j in range(row.size):
                        p = exp(row[j] - most)
                        row[j] = p
                        total += p
                    at = (b * heads + h) * queries + query
                    logsumexp[at] = f32(math.log(total)) + most
                    if dropping:
                        start_bits = np.uint32(at * keys)
                        for j in range(row.size):
                            keep = kept(
                                start_bits, np.uint32(j), dropout[0], dropout[1], dropout[2]
                            )
                            row[j] *= f32(inverse) if keep else ZERO
                    shares[i] = ONE / (ONE if total == ZERO else total)
                for i in range(0, count, ROWS):
                    depth = visible(start + i + ROWS - 1, keys, causal, offset)
                    product(o, i * ew, ew, s, i * ld, ld, UNIT, values, FIRST, ew, ew, depth)
                # Scaling E numbers a row here is cheaper than Tk probabilities above.
                for i in range(count):
                    here = o[i * ew : (i + 1) * ew]
                    for j in range(ew):
                        here[j] *= shares[i]
                unpack_rows(out, out_at, out_steps[2], start, count, o, ew, e, ONE)


@compiled(f"void({', '.join([_ARRAY] * 9)}, {_LSE}, {_SHAPE}, {_OPTIONS}, intp, intp)",
          fastmath=_SUMS)  # fmt: skip
def _backward(  # type: ignore[no-untyped-def]
    dout, dout_steps, q, q_steps, k, k_steps, v, v_steps, out, out_steps, mask, mask_steps,
    dq, dq_steps, dk, dk_steps, dv, dv_steps, logsumexp,
    shape, causal, offset, scale, dropout, inverse, first, last,
):  # fmt: skip
    _, heads, groups, queries, keys, d, e = shape
    masked, dropping = mask != 0, dropout[2] != 0
    q, k, v = memory(q, EVERYTHING), memory(k, EVERYTHING), memory(v, EVERYTHING)
    dq, dk, dv = memory(dq, EVERYTHING), memory(dk, EVERYTHING), memory(dv, EVERYTHING)
    dout, out, mask = memory(dout, EVERYTHING), memory(out, EVERYTHING), memory(mask, EVERYTHING)
    ld, dw, ew = round_up(keys, WIDE), round_up(d, LANES), round_up(e, LANES)
    k_panels = np.empty(round_up(keys, PANEL) * d, np.float32)  # k^T
    v_panels = np.empty(round_up(keys, PANEL) * e, np.float32)  # v^T
    k_rows = np.empty(keys * dw, np.float32)  # (Tk, D)
    dk_rows = np.empty(round_up(keys, ROWS) * dw, np.float32)
    dv_rows = np.empty(round_up(keys, ROWS) * ew, np.float32)
    rows, dq_rows = np.empty(QUERIES * dw, np.float32), np.empty(QUERIES * dw, np.float32)
    d_rows = np.empty(QUERIES * ew, np.float32)  # of dout
    s, ds = np.empty(QUERIES * ld, np.float32), np.empty(QUERIES * ld, np.float32)
    for task in range(first, last):
        b, g = task // groups, task % groups
        k_at, v_at = b * k_steps[0] + g * k_steps[1], b * v_steps[0] + g * v_steps[1]
        pack_panels(k_panels, k, k_at, k_steps[2], keys, d)
        pack_panels(v_panels, v, v_at, v_steps[2], keys, e)
        pack_rows(k_rows, dw, k, k_at, k_steps[2], FIRST, keys, keys, d, ONE)
        dk_rows[:], dv_rows[:] = ZERO, ZERO
        for h in range(g * (heads // groups), (g + 1) * (heads // groups)):
            q_at = b * q_steps[0] + h * q_steps[1]
            dq_at = b * dq_steps[0] + h * dq_steps[1]
            dout_at = b * dout_steps[0] + h * dout_steps[1]
            out_at = b * out_steps[0] + h * out_steps[1]
            mask_at = b * mask_steps[0] + h * mask_steps[1]
            for start in range(0, queries, QUERIES):
                count = QUERIES if start + QUERIES <= queries else queries - start
                padded = round_up(count, ROWS)
                pack_rows(rows, dw, q, q_at, q_steps[2], start, count, padded, d, f32(scale))
                pack_rows(d_rows, ew, dout, dout_at, dout_steps[2], start, count, padded, e, ONE)
                scores(s, ld, rows, dw, k_panels, d, start, count, keys, causal, offset)
                scores(ds, ld, d_rows, ew, v_panels, e, start, count, keys, causal, offset)
                for i in range(count):
                    query = start + i
                    limit = visible(query, keys, causal, offset)
                    tile = visible(start + i // ROWS * ROWS + ROWS - 1, keys, causal, offset)
                    width = round_up(tile, WIDE)
                    row, drow = s[i * ld : i * ld + width], ds[i * ld : i * ld + width]
                    hide(row, limit, mask, mask_at + query * mask_steps[2], masked)
                    at = (b * heads + h) * queries + query
                    lse = logsumexp[at]
                    lse = INFINITY if lse == LOWEST else lse  # all p are 0
                    dot = ZERO  # sum_j p_j dp_j, which is dout . out
                    at_out = out_at + query * out_steps[2]
                    mine, theirs = d_rows[i * ew : i * ew + e], out[at_out : at_out + e]
                    for j in range(e):
                        dot += mine[j] * theirs[j]
                    if dropping:
                        start_bits = np.uint32(at * keys)
                        for j in range(width):
                            keep = kept(
                                start_bits, np.uint32(j), dropout[0], dropout[1], dropout[2]
                            )
                            factor = f32(inverse) if keep else ZERO
                            p = exp(row[j] - lse)
                            row[j] = p * factor  # what multiplied v
                            drow[j] = p * (drow[j] * factor - dot)
                    else:
                        for j in range(width):
                            p = exp(row[j] - lse)
                            row[j] = p
                            drow[j] = p * (drow[j] - dot)
                for i in range(0, count, ROWS):
                    depth = visible(start + i + ROWS - 1, keys, causal, offset)
                    product(dq_rows, i * dw, dw, ds, i * ld, ld, UNIT, k_rows, FIRST, dw, dw, depth)
                unpack_rows(dq, dq_at, dq_steps[2], start, count, dq_rows, dw, d, f32(scale))
                for j in range(0, visible(start + count - 1, keys, causal, offset), ROWS):
                    sees = j - offset - start  # the first query to see key j
                    begin = sees if causal and sees > 0 else FIRST
                    at = begin * ld + j
                    add_product(
                        dv_rows,
                        j * ew,
                        ew,
                        s,
                        at,
                        UNIT,
                        ld,
                        d_rows,
                        begin * ew,
                        ew,
                        ew,
                        count - begin,
                    )
                    add_product(
                        dk_rows,
                        j * dw,
                        dw,
                        ds,
                        at,
                        UNIT,
                        ld,
                        rows,
                        begin * dw,
                        dw,
                        dw,
                        count - begin,
                    )
        dk_at, dv_at = b * dk_steps[0] + g * dk_steps[1], b * dv_steps[0] + g * dv_steps[1]
        unpack_rows(dk, dk_at, dk_steps[2], FIRST, keys, dk_rows, dw, d, ONE)
        unpack_rows(dv, dv_at, dv_steps[2], FIRST, keys, dv_rows, ew, e, ONE)


def _as_numbers(mask: Array | None, shape: tuple[int, ...]) -> Array | None:
    """A mask as float32 to be added, (B, H, Tq, Tk), its stretched axes not copied but the last."""
    if mask is None:
        return None
    if mask.dtype == np.bool_:
        mask = np.where(mask, ZERO, LOWEST)
    mask = np.ascontiguousarray(np.broadcast_to(mask, (*mask.shape[:-1], shape[-1])))
    return np.broadcast_to(mask, shape)


def _left_to_numpy(q: Array, k: Array, v: Array, mask: Array | None, p: float) -> bool:
    batch, heads, queries, d = q.shape
    scores = batch * heads * queries * k.shape[2]
    return (
        not q.dtype == k.dtype == v.dtype == F32
        or (mask is not None and mask.dtype not in (np.bool_, F32))
        or scores * d < max(SMALL, 1)
        or v.shape[-1] == 0
        or queries < FEW
        or p >= 1
        or (p > 0 and scores >= 1 << 32)  # positions of the dropout mask that take 64 bits
    )


def _options(
    q: Array, causal: bool, offset: int, scale: float | None, p: float, seed: int, stream: int
) -> list[Any]:
    key = (np.uint32(n) for n in stream_key(seed, stream))
    limit = np.uint32(threshold(p) if p else 0)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    return [bool(causal), int(offset), scale, (*key, limit), 1 / (1 - p)]


@instead_of(reference.attention_forward)
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
    if _left_to_numpy(q, k, v, mask, dropout_p):
        return reference.attention_forward(
            q, k, v, mask, causal, offset, scale, dropout_p, seed, stream
        )
    shape = (*q.shape[:2], *k.shape[1:2], q.shape[2], k.shape[2], q.shape[3], v.shape[3])
    q, k, v = walkable(q), walkable(k), walkable(v)
    mask = _as_numbers(mask, (*q.shape[:3], k.shape[2]))
    out = room_like(q, (*q.shape[:3], v.shape[-1]))  # (B, H, Tq, E)
    logsumexp = np.empty(q.shape[:3], F32)  # (B, H, Tq)
    arguments = [
        *addresses(q, k, v, mask, out),
        logsumexp.reshape(-1),
        shape,
        *_options(q, causal, offset, scale, dropout_p, seed, stream),
    ]
    _on_threads(_forward, arguments, shape)
    return out, logsumexp


@instead_of(reference.attention_backward)
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
    if needs_dmask or _left_to_numpy(q, k, v, mask, dropout_p):
        return reference.attention_backward(
            dout, q, k, v, out, logsumexp, mask, causal, offset, scale, dropout_p, seed, stream,
            needs_dmask,
        )  # fmt: skip
    shape = (*q.shape[:2], *k.shape[1:2], q.shape[2], k.shape[2], q.shape[3], v.shape[3])
    dout, out, q, k, v = (walkable(x) for x in (dout, out, q, k, v))
    mask = _as_numbers(mask, (*q.shape[:3], k.shape[2]))
    dq, dk, dv = room_like(q, q.shape), room_like(k, k.shape), room_like(v, v.shape)
    arguments = [
        *addresses(dout, q, k, v, out, mask, dq, dk, dv),
        np.ascontiguousarray(logsumexp).reshape(-1),
        shape,
        *_options(q, causal, offset, scale, dropout_p, seed, stream),
    ]
    _on_threads(_backward, arguments, shape)
    return dq, dk, dv, None


def _on_threads(kernel: Any, arguments: list[Any], shape: tuple[int, ...]) -> None:
    """A task is one sequence and one key head with all the query heads that share it."""
    batch, heads, groups, queries, keys, d, e = shape
    work = heads // groups * queries * keys * (d + e)  # multiply-adds of a task
    share(lambda first, last: kernel(*arguments, first, last), batch * groups, 1 + GRAIN // work)
