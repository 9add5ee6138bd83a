"""Attention with several heads: each token gathers from others what it asks for."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_llm.functional as F
from tinygrad_llm import autograd
from tinygrad_llm.autograd import Variable
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.positions import RotaryPositions
from tinygrad_llm.tensor import Tensor


class MultiHeadAttention(Module):
    """softmax(Q K^T / sqrt(D)) V in num_heads subspaces of size D, joined by a linear map.

    Self-attention: attention(x). Cross-attention: attention(x, memory).

    embed_dim: C of the queries and of the output. num_kv_heads: how many heads keys and values have
    (grouped-query attention, Ainslie et al., 2023; 1 is multi-query); a divisor of num_heads.
    kdim, vdim: width of what keys and values are made from, if not C. head_dim: D, if not
    C / num_heads. rotary: turns queries and keys. layer_index: the place of this layer in a cache.
    Vaswani et al., "Attention Is All You Need", 2017.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        head_dim: int | None = None,
        rotary: RotaryPositions | None = None,
        layer_index: int = 0,
        dtype: Any = None,
    ):
        kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        _check_heads(embed_dim, num_heads, kv_heads, head_dim)
        if not 0 <= dropout <= 1:
            raise ValueError(f"MultiHeadAttention: dropout={dropout} must be from 0 to 1")
        self.embed_dim, self.num_heads, self.num_kv_heads = embed_dim, num_heads, kv_heads
        self.head_dim = embed_dim // num_heads if head_dim is None else head_dim
        self.dropout, self.layer_index = dropout, layer_index
        kdim = embed_dim if kdim is None else kdim
        vdim = embed_dim if vdim is None else vdim
        inner, kv_inner = num_heads * self.head_dim, kv_heads * self.head_dim
        self.q_proj = Linear(embed_dim, inner, bias=bias, dtype=dtype)
        self.k_proj = Linear(kdim, kv_inner, bias=bias, dtype=dtype)
        self.v_proj = Linear(vdim, kv_inner, bias=bias, dtype=dtype)
        self.out_proj = Linear(inner, embed_dim, bias=bias, dtype=dtype)
        self.rotary = rotary

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attn_mask: Any = None,
        key_mask: Any = None,
        is_causal: bool = False,
        position_ids: Any = None,
        cache: Any = None,
        need_weights: bool = False,
    ) -> Any:
        """query (B, T, C), key and value (B, S, ..) -> (B, T, C); with weights (B, H, T, S) too.

        key: None is self-attention. value: None is the key.
        attn_mask: bool (True: may attend) or numbers to add to the scores; anything that broadcasts
        to (B, H, T, S). As in scaled_dot_product_attention; torch.nn.MultiheadAttention's own masks
        mean the opposite. key_mask: (B, S), 1 or True for tokens, 0 for padding. is_causal: token
        i sees those up to i. position_ids: (T,) or (B, T), for rotary. cache: keys and values of
        the tokens before (generation.cache.KVCache); S counts them, and no gradient flows to them.
        """
        self._check(query, key, value, cache)
        key = query if key is None else key
        value = key if value is None else value
        q = self._split(self.q_proj(query), self.num_heads)  # (B, H, T, D)
        k = self._split(self.k_proj(key), self.num_kv_heads)  # (B, G, S, D)
        v = self._split(self.v_proj(value), self.num_kv_heads)  # (B, G, S, D)
        if self.rotary is not None:
            if position_ids is None and cache is not None:
                position_ids = cache.length + np.arange(query.shape[1])
            q, k = self.rotary(q, position_ids), self.rotary(k, position_ids)
        past = 0
        if cache is not None:
            past = cache.length
            arrays = cache.update(k.array, v.array, self.layer_index)
            k, v = (Tensor.from_op(array) for array in arrays)  # (B, G, past + T, D)
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_combined(attn_mask, key_mask, q, k),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
            enable_gqa=self.num_kv_heads != self.num_heads,
            causal_offset=past,
            return_weights=need_weights,
        )
        out, weights = out if need_weights else (out, None)
        b, t = query.shape[:2]
        joined = out.transpose(1, 2).reshape(b, t, self.num_heads * self.head_dim)
        result = self.out_proj(joined)  # (B, T, C)
        return (result, weights) if need_weights else result

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """(B, T, heads * D) -> (B, heads, T, D)."""
        b, t = x.shape[:2]
        return x.reshape(b, t, heads, self.head_dim).transpose(1, 2)

    def _check(self, query: Tensor, key: Tensor | None, value: Tensor | None, cache: Any) -> None:
        name = type(self).__name__
        widths = (self.embed_dim, self.k_proj.in_features, self.v_proj.in_features)
        for argument, x, width in zip(
            ("query", "key", "value"), (query, key, value), widths, strict=True
        ):
            if x is not None and (x.ndim != 3 or x.shape[-1] != width):
                raise ValueError(
                    f"{name}: {argument} has shape {x.shape}, expected (batch, tokens, {width})"
                )
            if x is not None and x.shape[0] != query.shape[0]:
                raise ValueError(
                    f"{name}: {argument} has a batch of {x.shape[0]}, query one of {query.shape[0]}"
                )
        if key is None and value is not None:
            raise ValueError(f"{name}: value is given, but no key")
        if key is not None and value is not None and key.shape[1] != value.shape[1]:
            raise ValueError(
                f"{name}: {key.shape[1]} keys, but {value.shape[1]} values; each key has one value"
            )
        if cache is not None and key is not None and key is not query:
            raise ValueError(f"{name}: cache= holds earlier tokens of the query; give no key")
        if cache is not None and autograd.is_grad_enabled():
            raise RuntimeError(
                f"{name}: cache= is for generation, no gradient flows through it; use no_grad()"
            )

    def extra_repr(self) -> str:
        groups = f", num_kv_heads={self.num_kv_heads}" * (self.num_kv_heads != self.num_heads)
        return f"{self.embed_dim}, num_heads={self.num_heads}{groups}, dropout={self.dropout}"


def _combined(attn_mask: Any, key_mask: Any, q: Tensor, k: Tensor) -> Tensor | None:
    """Both masks as one that broadcasts to (B, H, T, S)."""
    mask = None
    if attn_mask is not None:
        mask = attn_mask if isinstance(attn_mask, Tensor) else Tensor(np.asarray(attn_mask))
        if mask.dtype.kind == "f":
            mask = mask.to(q.dtype)
    if key_mask is None:
        return mask
    tokens = key_mask.array if isinstance(key_mask, Variable) else np.asarray(key_mask)
    if tokens.shape != (q.shape[0], k.shape[2]) or tokens.dtype.kind not in "biu":
        raise ValueError(
            f"key_mask: {tokens.dtype} of shape {tokens.shape} was given, expected bools or "
            f"integers of shape {(q.shape[0], k.shape[2])}, 1 or True for tokens"
        )
    allowed = tokens.astype(bool)[:, None, None, :]  # (B, 1, 1, S)
    if mask is None or mask.dtype == bool:
        return Tensor(allowed if mask is None else allowed & mask.array)
    shape = np.broadcast_shapes(mask.shape, allowed.shape)
    return mask.expand(shape).masked_fill(Tensor(~allowed), -np.inf)


def _check_heads(embed_dim: int, num_heads: int, kv_heads: int, head_dim: int | None) -> None:
    if num_heads < 1 or kv_heads < 1 or num_heads % kv_heads:
        raise ValueError(
            f"MultiHeadAttention: num_heads={num_heads} must be a multiple of "
            f"num_kv_heads={kv_heads}"
        )
    if head_dim is None and embed_dim % num_heads:
        raise ValueError(
            f"MultiHeadAttention: embed_dim={embed_dim} is not divisible by num_heads={num_heads}"
        )
