"""Checks that many functions share. Each is a few comparisons; the words come only on failure."""

from typing import Any

from tinygrad_llm.tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


def check_tensor(function: str, argument: str, x: Any) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{function}: {argument} must be a Tensor, not {type(x).__name__}")


def check_floating(function: str, argument: str, x: Any) -> None:
    check_tensor(function, argument, x)
    if x.array.dtype.kind != "f":
        raise TypeError(
            f"{function}: {argument} is {x.dtype}; accepted are floating-point tensors (x.float())"
        )


def check_like(function: str, argument: str, x: Any, input: Tensor) -> None:
    """x is None or a tensor of input's dtype."""
    if x is None:
        return
    check_tensor(function, argument, x)
    if x.array.dtype != input.array.dtype:
        raise TypeError(
            f"{function}: {argument} is {x.dtype}, but input is {input.dtype}; give both one dtype"
        )


def check_shape(function: str, argument: str, x: Tensor | None, shape: tuple[int, ...]) -> None:
    if x is not None and x.array.shape != shape:
        raise ValueError(f"{function}: {argument} has shape {x.shape}; it must be {shape}")


def check_integer(function: str, argument: str, x: Any) -> None:
    check_tensor(function, argument, x)
    if x.array.dtype.kind not in "iu":
        raise TypeError(f"{function}: {argument} is {x.dtype}; accepted are integer tensors")


def check_classes(
    function: str,
    argument: str,
    x: Tensor,
    count: int,
    ignore_index: int | None = None,
    things: str = "classes",
) -> None:
    """Every number in x is in [0, count) (or is ignore_index); if not, name the first that is not.

    Two passes over x, and a third only when something is found.
    """
    ids = x.array
    if not ids.size or (ids.min() >= 0 and ids.max() < count):
        return
    wrong = (ids < 0) | (ids >= count)
    if ignore_index is not None:
        wrong &= ids != ignore_index
    if wrong.any():
        raise IndexError(
            f"{function}: {argument} holds {int(ids[wrong][0])}, which is out of range; there are "
            f"{count} {things}, numbered from 0"
            + ("" if ignore_index is None else f" (ignore_index={ignore_index})")
        )


def check_probability(function: str, argument: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{function}: {argument}={p} is not a probability; use 0 to 1")


def check_reduction(function: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{function}: reduction={reduction!r} is not known; use one of "
            + ", ".join(map(repr, REDUCTIONS))
        )


def reduced(x: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return x
    return x.sum() if reduction == "sum" else x.mean()
