"""The block that Transformers are stacked from."""

from __future__ import annotations

import functools
from typing import Any

from tinygrad_llm.nn.activation import Dropout
from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.feed_forward import FeedForward, SwiGLU
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.normalization import LayerNorm, RMSNorm
from tinygrad_llm.nn.positions import RotaryPositions
from tinygrad_llm.tensor import Tensor


class TransformerBlock(Module):
    """Attention, then feed-forward, each added to what it has read. (B, T, C) -> (B, T, C).

    norm_first=True (pre-norm): x + f(norm(x)). The stream itself is never normalised, gradients
    reach the first layer undamped, and deep models train without care; a norm is due after the last
    block. False (post-norm): norm(x + f(x)), as in Vaswani et al., 2017, and BERT: needs warm-up.
    Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.

    cross_attention: between the two, attend to `memory` (a translator's decoder); its width is
    memory_dim, C if None. norm: "layer_norm" or "rms_norm". activation: of the feed-forward layer,
    or "swiglu" for the gated one. The rest is MultiHeadAttention's.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden_dim: int | None = None,
        dropout: float = 0.0,
        activation: str = "gelu",
        norm_first: bool = True,
        norm: str = "layer_norm",
        eps: float = 1e-5,
        bias: bool = True,
        cross_attention: bool = False,
        memory_dim: int | None = None,
        num_kv_heads: int | None = None,
        rotary: RotaryPositions | None = None,
        layer_index: int = 0,
        dtype: Any = None,
    ):
        def new_norm() -> Module:
            if norm == "layer_norm":
                return LayerNorm(dim, eps=eps, bias=bias, dtype=dtype)
            return RMSNorm(dim, eps=eps, dtype=dtype)

        if norm not in ("layer_norm", "rms_norm"):
            raise ValueError(f"TransformerBlock: norm={norm!r}; use 'layer_norm' or 'rms_norm'")
        shared: dict[str, Any] = {"dropout": dropout, "bias": bias, "dtype": dtype}
        self.norm_first = norm_first
        self.self_attn = MultiHeadAttention(
            dim, num_heads, num_kv_heads, rotary=rotary, layer_index=layer_index, **shared
        )
        self.norm1 = new_norm()
        self.cross_attn: MultiHeadAttention | None = None
        self.norm2: Module | None = None
        if cross_attention:
            self.cross_attn = MultiHeadAttention(
                dim, num_heads, num_kv_heads, kdim=memory_dim, vdim=memory_dim, **shared
            )
            self.norm2 = new_norm()
        self.feed_forward = (
            SwiGLU(dim, hidden_dim, **shared)
            if activation == "swiglu"
            else FeedForward(dim, hidden_dim, activation, **shared)
        )
        self.norm3 = new_norm()
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        attn_mask: Any = None,
        key_mask: Any = None,
        memory_mask: Any = None,
        memory_key_mask: Any = None,
        is_causal: bool = False,
        position_ids: Any = None,
        cache: Any = None,
    ) -> Tensor:
        """x: (B, T, C), memory: (B, S, memory_dim).

        The masks are MultiHeadAttention's, for x and, with memory_ in front, for memory.
        """
        if (memory is None) != (self.cross_attn is None):
            needed = "needs memory" if memory is None else "takes no memory (cross_attention=False)"
            raise ValueError(f"TransformerBlock: this block {needed}")

        def attend(h: Tensor) -> Tensor:
            return self.self_attn(
                h,
                attn_mask=attn_mask,
                key_mask=key_mask,
                is_causal=is_causal,
                position_ids=position_ids,
                cache=cache,
            )

        x = self._residual(x, self.norm1, attend)
        if self.cross_attn is not None:
            look_up = functools.partial(
                self.cross_attn, key=memory, attn_mask=memory_mask, key_mask=memory_key_mask
            )
            x = self._residual(x, self.norm2, look_up)
        return self._residual(x, self.norm3, self.feed_forward)

    def _residual(self, x: Tensor, norm: Any, layer: Any) -> Tensor:
        if self.norm_first:
            return x + self.dropout(layer(norm(x)))
        return norm(x + self.dropout(layer(x)))

    def extra_repr(self) -> str:
        return f"norm_first={self.norm_first}"
