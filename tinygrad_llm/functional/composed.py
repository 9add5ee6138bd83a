"""The textbook formulas, written with Tensor's own methods: no backward of their own.

Each function here has a fused twin in this package that computes the same in one operation, with a
gradient written by hand. These are slower and keep every intermediate, but they can be read, and
tests hold the twins equal, values and gradients.
"""

import math

from tinygrad_llm import ops
from tinygrad_llm.tensor import Tensor, arange


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`; x and result of the same shape."""
    # Subtracting the maximum avoids overflow and does not change the result, so the gradient
    # through the maximum is 0: detached, it is not computed.
    e = (x - x.detach().amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """x - log(sum(exp(x))) along `dim`; x and result of the same shape."""
    shifted = x - x.detach().amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def layer_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Over the last axis. x: (..., C), weight and bias: (C,)."""
    centred = x - x.mean(-1, keepdim=True)
    y = centred / ((centred * centred).mean(-1, keepdim=True) + eps).sqrt()
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Over the last axis. x: (..., C), weight: (C,)."""
    y = x / ((x * x).mean(-1, keepdim=True) + eps).sqrt()
    return y if weight is None else y * weight


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh())
    return 0.5 * x * (1 + ops.Erf.apply(x / math.sqrt(2)))


def silu(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return silu(gate) * up


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x: (..., in), weight: (out, in), bias: (out,) -> (..., out)."""
    y = x @ weight.transpose(-1, -2)
    return y if bias is None else y + bias


def embedding(ids: Tensor, weight: Tensor) -> Tensor:
    """ids: any shape, weight: (V, C) -> (*ids.shape, C)."""
    return weight[ids]


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The mean over rows, weighted. logits: (N, C), targets: (N,) class numbers, weight: (C,).

    A row whose target is ignore_index does not count; if none counts, the result is nan.
    """
    classes = logits.shape[1]
    used = targets != ignore_index  # (N,)
    targets = targets.masked_fill(~used, 0)
    minus_log = -log_softmax(logits, 1)  # (N, C)
    nll = minus_log.gather(1, targets.unsqueeze(1)).squeeze(1)  # (N,)
    counts = used.to(logits.dtype)  # (N,)
    # For label smoothing: -log p summed over every class c, times w_c, target or not.
    every = minus_log.sum(1) if weight is None else minus_log @ weight  # (N,)
    every = every * counts
    if weight is not None:
        counts = counts * weight[targets]
    loss = (1 - label_smoothing) * nll * counts + label_smoothing / classes * every
    return loss.sum() / counts.sum()


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    offset: int = 0,
    scale: float | None = None,
    dropout_p: float = 0.0,
    seed: int = 0,
    stream: int = 0,
) -> tuple[Tensor, Tensor]:
    """q: (..., H, Tq, D), k: (..., G, Tk, D), v: (..., G, Tk, E) -> out and weights, which are
    (..., H, Tq, E) and (..., H, Tq, Tk)."""
    if k.ndim > 2 and q.shape[-3] != k.shape[-3]:
        shared = q.shape[-3] // k.shape[-3]
        k, v = k.repeat_interleave(shared, -3), v.repeat_interleave(shared, -3)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = (q * scale) @ k.transpose(-1, -2)  # (..., H, Tq, Tk)
    forbidden = None
    if mask is not None and mask.dtype.kind == "b":
        forbidden = ~mask
    elif mask is not None:
        scores = scores + mask
    if causal:
        late = arange(k.shape[-2]) > arange(q.shape[-2]).unsqueeze(1) + offset  # (Tq, Tk)
        forbidden = late if forbidden is None else forbidden | late
    if forbidden is not None:
        scores = scores.masked_fill(forbidden, -math.inf)
    weights = _softmax_or_nothing(scores)
    if dropout_p:
        weights = ops.Dropout.apply(weights, p=dropout_p, seed=seed, stream=stream)
    return weights @ v, weights


def _softmax_or_nothing(scores: Tensor) -> Tensor:
    """softmax(scores, -1), but a row of nothing but -inf gives 0 where 0/0 would give nan."""
    if not scores.shape[-1]:
        return scores
    nothing = scores.detach().amax(-1, keepdim=True) == -math.inf  # (..., Tq, 1)
    if not nothing.any():
        return softmax(scores, -1)
    return softmax(scores.masked_fill(nothing, 0.0), -1).masked_fill(nothing, 0.0)
