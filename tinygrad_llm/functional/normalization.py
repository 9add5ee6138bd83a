"""Normalisation of activations and of vectors."""

from collections.abc import Sequence

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.functional._checks import check_floating, check_like, check_shape
from tinygrad_llm.tensor import Tensor


def _trailing(name: str, input: Tensor, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """normalized_shape as a tuple that is the end of input's shape."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    given = input.array.shape
    if not shape or given[len(given) - len(shape) :] != shape or len(shape) > len(given):
        raise ValueError(
            f"{name}: normalized_shape={shape} must be the last axes of the input, whose shape "
            f"is {given}"
        )
    return shape


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba et al. 2016).

    var is the mean squared distance from the mean (divided by n, not n - 1). weight, bias:
    normalized_shape or None.
    """
    check_floating("layer_norm", "input", input)
    shape = _trailing("layer_norm", input, normalized_shape)
    check_like("layer_norm", "weight", weight, input)
    check_like("layer_norm", "bias", bias, input)
    check_shape("layer_norm", "weight", weight, shape)
    check_shape("layer_norm", "bias", bias, shape)
    return ops.LayerNorm.apply(input, weight, bias, ndim=len(shape), eps=eps)


def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axes (Zhang and Sennrich 2019).

    eps: None is the machine epsilon of the input's dtype.
    """
    check_floating("rms_norm", "input", input)
    shape = _trailing("rms_norm", input, normalized_shape)
    check_like("rms_norm", "weight", weight, input)
    check_shape("rms_norm", "weight", weight, shape)
    if eps is None:
        eps = float(np.finfo(input.dtype).eps)
    return ops.RMSNorm.apply(input, weight, ndim=len(shape), eps=eps)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(||x||_p, eps) along dim."""
    check_floating("normalize", "input", input)
    ops.as_dim("normalize", dim, input.array.shape)
    if p == 2.0:
        # Clamped before the root, whose slope at 0 is infinite.
        return input / (input * input).sum(dim, keepdim=True).clamp(min=eps * eps).sqrt()
    return input / (input.abs() ** p).sum(dim, keepdim=True).clamp(min=eps**p) ** (1 / p)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(||x1||, eps) max(||x2||, eps)) along dim; the shapes are broadcast."""
    check_floating("cosine_similarity", "x1", x1)
    check_like("cosine_similarity", "x2", x2, x1)
    try:
        shape = np.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise ValueError(
            f"cosine_similarity: x1 {x1.shape} and x2 {x2.shape} cannot be broadcast together"
        ) from None
    ops.as_dim("cosine_similarity", dim, shape)
    x1, x2 = x1.expand(shape), x2.expand(shape)
    return (normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps)).sum(dim)
