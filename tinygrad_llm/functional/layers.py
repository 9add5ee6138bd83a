"""What the plainest layers do: linear maps, tables, dropout, padding."""

from collections.abc import Sequence

import numpy as np

from tinygrad_llm import ops, rng
from tinygrad_llm.functional._checks import (
    check_classes,
    check_floating,
    check_integer,
    check_like,
    check_probability,
    check_shape,
    check_tensor,
)
from tinygrad_llm.tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias. input: (..., K), weight: (N, K), bias: (N,) or None -> (..., N).

    A weight of shape (K,) gives (...), with a 0-d bias.
    """
    check_floating("linear", "input", input)
    check_like("linear", "weight", weight, input)
    check_like("linear", "bias", bias, input)
    shape, wanted = input.array.shape, weight.array.shape
    if not shape or len(wanted) not in (1, 2) or shape[-1] != wanted[-1]:
        raise ValueError(
            f"linear: input {shape} and weight {wanted} do not fit; the input's last size must be "
            f"the weight's last (weight is (out features, in features))"
        )
    check_shape("linear", "bias", bias, wanted[:-1])
    if len(wanted) == 1:
        out = input @ weight
        return out if bias is None else out + bias
    return ops.Linear.apply(input, weight, bias)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of a table. input: (...) integers, weight: (V, C) -> (..., C).

    padding_idx: this row gets no gradient (it may count from the end).
    """
    check_integer("embedding", "input", input)
    check_floating("embedding", "weight", weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight has shape {weight.shape}; it must be 2-d, (V, C)")
    rows = weight.array.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ValueError(
                f"embedding: padding_idx={padding_idx} is out of range; weight has {rows} rows"
            )
        padding_idx %= rows
    check_classes("embedding", "input", input, rows, things="rows")
    return ops.Embedding.apply(input, weight, padding_idx=padding_idx)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """(...) integers -> (..., num_classes) int64: 1 at the number, 0 elsewhere.

    num_classes: -1 is the largest number + 1.
    """
    check_integer("one_hot", "tensor", tensor)
    ids = tensor.array
    if num_classes == -1:
        if not ids.size:
            raise ValueError("one_hot: an empty tensor does not tell num_classes; give it")
        num_classes = int(ids.max()) + 1
    if num_classes < 1:
        raise ValueError(f"one_hot: num_classes={num_classes} must be at least 1 (or -1: guess)")
    check_classes("one_hot", "tensor", tensor, num_classes)
    return Tensor.from_op((ids[..., None] == np.arange(num_classes)).astype(np.int64))


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each element with probability p and divide the others by 1 - p (Srivastava et al. 2014).

    Follows `manual_seed`. Outside training, the input itself.
    """
    check_floating("dropout", "input", input)
    check_probability("dropout", "p", p)
    if not training or p == 0:
        return input
    seed, stream = rng.state.next_stream()
    return ops.Dropout.apply(input, p=p, seed=seed, stream=stream)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """pad: (before, after) of the last axis, then of the one before it, ...; negative sizes cut."""
    check_tensor("pad", "input", input)
    if mode != "constant":
        raise ValueError(f"pad: mode={mode!r} is not known; use 'constant'")
    return input.pad(pad, value)
