"""Losses. reduction: "mean", "sum" or "none"."""

from tinygrad_llm import ops
from tinygrad_llm.functional._checks import (
    check_classes,
    check_floating,
    check_integer,
    check_like,
    check_probability,
    check_reduction,
    check_shape,
    check_tensor,
    reduced,
)
from tinygrad_llm.functional.activation import log_softmax
from tinygrad_llm.tensor import Tensor


def _class_dim(input: Tensor) -> int:
    """(C,) or (N, C, d1, ...): PyTorch has the classes in dimension 1."""
    return 0 if input.ndim == 1 else 1


def _check_input(name: str, input: Tensor, weight: Tensor | None) -> None:
    check_floating(name, "input", input)
    if not input.ndim:
        raise ValueError(f"{name}: input is 0-d; it must be (C,), (N, C) or (N, C, d1, ...)")
    check_like(name, "weight", weight, input)
    check_shape(name, "weight", weight, (input.array.shape[_class_dim(input)],))


def _check_targets(name: str, input: Tensor, target: Tensor, ignore_index: int) -> None:
    check_integer(name, "target", target)
    shape, dim = input.array.shape, _class_dim(input)
    check_shape(name, "target", target, shape[:dim] + shape[dim + 1 :])
    check_classes(name, "target", target, shape[dim], ignore_index)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input) at the target, the loss of a classifier that gives logits.

    input: (C,), (N, C) or (N, C, d1, ...). target: class numbers, shaped as input without C, or
    probabilities, shaped as input. weight: (C,), how much each class counts; with class numbers,
    "mean" then divides by the sum of the targets' weights. Targets equal to ignore_index count for
    nothing; if all do, the mean is nan. label_smoothing s moves that much probability from the
    target to all classes evenly (Szegedy et al. 2016).
    """
    name = "cross_entropy"
    _check_input(name, input, weight)
    check_reduction(name, reduction)
    check_probability(name, "label_smoothing", label_smoothing)
    check_tensor(name, "target", target)
    if target.dtype.kind == "f":
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    _check_targets(name, input, target, ignore_index)
    if weight is not None and weight.requires_grad:
        raise ValueError(f"{name}: no gradient reaches weight; give weight.detach()")
    return ops.CrossEntropy.apply(
        input,
        target,
        weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    """-sum_c weight_c target_c log softmax(input)_c, target holding probabilities."""
    check_like("cross_entropy", "target (of probabilities)", target, input)
    check_shape("cross_entropy", "target (of probabilities)", target, input.array.shape)
    dim = _class_dim(input)
    classes = input.array.shape[dim]
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    if weight is not None:
        target = target * weight.reshape(-1, *(1,) * (input.ndim - dim - 1))
    return reduced(-(log_softmax(input, dim) * target).sum(dim), reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input at the target, for an input of log-probabilities; arguments as in cross_entropy."""
    _check_input("nll_loss", input, weight)
    check_reduction("nll_loss", reduction)
    _check_targets("nll_loss", input, target, ignore_index)
    dim = _class_dim(input)
    used = target != ignore_index
    number = target.masked_fill(~used, 0)
    counts = used.to(input.dtype)
    if weight is not None:
        counts = counts * weight[number]
    picked = input.gather(dim, number.unsqueeze(dim)).squeeze(dim)
    loss = -picked.masked_fill(~used, 0.0) * counts
    return loss.sum() / counts.sum() if reduction == "mean" else reduced(loss, reduction)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2. One shape: (N, 1) against (N,) is a mistake, not a broadcast."""
    check_floating("mse_loss", "input", input)
    check_like("mse_loss", "target", target, input)
    check_shape("mse_loss", "target", target, input.array.shape)
    check_reduction("mse_loss", reduction)
    difference = input - target
    return reduced(difference * difference, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(y log sigmoid(x) + (1 - y) log(1 - sigmoid(x))), accurate for large |x|.

    weight multiplies each loss, pos_weight the part of y; both are broadcast.
    """
    name = "binary_cross_entropy_with_logits"
    check_floating(name, "input", input)
    check_like(name, "target", target, input)
    check_shape(name, "target", target, input.array.shape)
    check_like(name, "weight", weight, input)
    check_like(name, "pos_weight", pos_weight, input)
    check_reduction(name, reduction)
    # With -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = x + softplus(-x):
    minus_log = ops.Softplus.apply(-input)
    if pos_weight is not None:
        minus_log = minus_log * (target * (pos_weight - 1) + 1)
    loss = (1 - target) * input + minus_log
    return reduced(loss if weight is None else loss * weight, reduction)
