"""What a row of the op table is, and how its sample inputs are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class T:
    """A tensor to be made: values, dtype and how they lie in memory.

    kind: "normal"; "positive" (in [0.5, 2)); "apart" (all different, at least 0.1 from each other);
    "ties" (few different values); "probability" (rows that sum to 1); "index" (integers in
    [0, high)); "mask" (bool); "integer" (int64 in [-4, 5), never 0).
    layout: "plain", "transposed" (axes reversed), "strided" (every other element), "expanded"
    (the first axis has stride 0).
    """

    shape: Shape
    kind: str = "normal"
    high: int = 0
    layout: str = "plain"
    grad: bool = True

    @property
    def floating(self) -> bool:
        return self.kind not in ("index", "mask", "integer")

    def make(self, rng: np.random.Generator, dtype: Any = np.float64) -> np.ndarray:
        """The array; values of float tensors do not depend on `dtype` but for rounding."""
        shape = self.shape
        if self.layout == "transposed":
            return self._values(rng, shape[::-1], dtype).T
        if self.layout == "strided":
            wide = self._values(rng, (*shape[:-1], 2 * shape[-1]), dtype)
            return wide[..., ::2]
        if self.layout == "expanded":
            return np.broadcast_to(self._values(rng, (1, *shape[1:]), dtype), shape)
        return self._values(rng, shape, dtype)

    def _values(self, rng: np.random.Generator, shape: Shape, dtype: Any) -> np.ndarray:
        n = math.prod(shape)
        if self.kind == "index":
            return np.asarray(rng.integers(0, self.high, shape))
        if self.kind == "mask":
            # The first two differ, so that no mask is all of one kind by chance.
            return np.asarray((rng.permutation(n) % 2 == 0).reshape(shape))
        if self.kind == "integer":
            return np.asarray(rng.integers(1, 5, shape) * rng.choice([-1, 1], shape))
        values: Any
        if self.kind == "positive":
            values = rng.uniform(0.5, 2.0, shape)
        elif self.kind == "apart":
            values = (rng.permutation(n) - n / 2 + 0.25).reshape(shape) * 0.125
        elif self.kind == "ties":
            values = rng.integers(-1, 2, shape) * 0.5
        elif self.kind == "probability":
            values = rng.uniform(0.1, 1.0, shape)
            values = values / values.sum(axis=1 if len(shape) > 1 else 0, keepdims=True)
        else:
            values = rng.standard_normal(shape)
        return np.asarray(values, dtype)


@dataclass(frozen=True)
class Sample:
    """Arguments of one call: tensors (also in lists), plain values, keywords."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True  # whether finite differences exist: no ties, no nan, float64 throughout

    def tensors(self) -> list[T]:
        return [x for x in _flat(self.args) + _flat(list(self.kwargs.values())) if isinstance(x, T)]

    def arrays(self, seed: int = 0, dtype: Any = np.float64) -> list[np.ndarray]:
        """The values of the tensors, in the order of `tensors()`."""
        rng = np.random.default_rng(seed)
        return [t.make(rng, dtype) for t in self.tensors()]

    def call(self, function: Callable[..., Any], values: Sequence[Any]) -> Any:
        """function(...) with `values` in the places of the tensors."""
        queue = list(values)

        def filled(x: Any) -> Any:
            if isinstance(x, T):
                return queue.pop(0)
            if isinstance(x, (list, tuple)):
                return type(x)([filled(entry) for entry in x])
            return x

        args = [filled(x) for x in self.args]
        return function(*args, **{name: filled(x) for name, x in self.kwargs.items()})

    def __str__(self) -> str:
        return ", ".join(
            [_short(x) for x in self.args] + [f"{k}={_short(v)}" for k, v in self.kwargs.items()]
        )


def s(*args: Any, **kwargs: Any) -> Sample:
    return Sample(args, kwargs)


def kink(*args: Any, **kwargs: Any) -> Sample:
    """A sample whose gradient is a convention, so that only PyTorch can say what it is."""
    return Sample(args, kwargs, smooth=False)


@dataclass(frozen=True)
class Op:
    """One public operation.

    torch: the same in PyTorch, as an expression over `torch` ("" if PyTorch has none).
    roundings: how many roundings lie between input and output of one element, at most; sums add
    one for each term (see `tolerance`).
    """

    name: str
    call: Callable[..., Any]
    torch: str
    samples: Sequence[Sample]
    roundings: int = 4
    differentiable: bool = True


def tolerance(op: Op, sample: Sample, dtype: Any, output_size: int) -> float:
    """How far two correct implementations may be apart, relative to the largest value.

    Each is off by at most (roundings + terms) half-units of the dtype's epsilon (Higham, "Accuracy
    and Stability of Numerical Algorithms", section 3.1); no sum here, forward or backward, has more
    terms than the largest of its arguments and its result has elements.
    """
    sizes = [math.prod(t.shape) for t in sample.tensors()]
    terms = max([output_size, *sizes])
    return (op.roundings + terms) * float(np.finfo(dtype).eps)


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return [x for entry in values for x in _flat(entry)]
    return [values]


def _short(x: Any) -> str:
    if isinstance(x, T):
        extra = "" if x.layout == "plain" else f" {x.layout}"
        return f"{x.kind}{list(x.shape)}{extra}"
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(_short(entry) for entry in x) + "]"
    return str(x)


# Patterns that many operations share: sizes all different, then 1, 0 and no axis; memory that
# does not lie in order.
SHAPES: tuple[Shape, ...] = ((2, 3, 4), (5,), (3, 1, 2), (1,), (), (0, 3))
LAYOUTS: tuple[tuple[Shape, str], ...] = (
    ((2, 3, 4), "transposed"),
    ((3, 5), "strided"),
    ((4, 3), "expanded"),
)
PAIRS: tuple[tuple[Shape, Shape], ...] = (
    ((2, 3, 4), (2, 3, 4)),
    ((2, 3, 4), (3, 4)),
    ((4,), (2, 3, 4)),
    ((2, 1, 4), (3, 1)),
    ((1, 3), (2, 1)),
    ((2, 3), ()),
    ((), (5,)),
    ((), ()),
    ((1,), (3,)),
    ((0, 3), (1, 3)),
    ((0, 3), (3,)),
)


def unary(kind: str = "normal", integers: bool = False, **kwargs: Any) -> list[Sample]:
    samples = [s(T(shape, kind), **kwargs) for shape in SHAPES]
    samples += [s(T(shape, kind, layout=layout), **kwargs) for shape, layout in LAYOUTS]
    if integers:
        samples.append(s(T((2, 3), "integer"), **kwargs))
    return samples


def binary(a: str = "normal", b: str = "normal", integers: bool = True) -> list[Sample]:
    samples = [s(T(x, a), T(y, b)) for x, y in PAIRS]
    samples += [
        s(T((2, 3, 4), a, layout="transposed"), T((2, 3, 4), b)),
        s(T((3, 5), a, layout="strided"), T((5,), b)),
        s(T((4, 3), a), T((4, 3), b, layout="expanded")),
    ]
    if integers:
        samples += [
            s(T((2, 3), "integer"), T((3,), "integer")),
            s(T((2, 3), a), T((3,), "integer")),
        ]
    return samples


def reduction(kind: str = "normal", dims: bool = True, **kwargs: Any) -> list[Sample]:
    """All axes, one, several, negative, kept or not; one element, no axis, no element."""
    x = T((2, 3, 4), kind)
    samples = [
        s(x, **kwargs),
        s(x, dim=1, **kwargs),
        s(x, dim=-1, keepdim=True, **kwargs),
        s(T((2, 3, 4), kind, layout="transposed"), dim=0, **kwargs),
        s(T((3, 5), kind, layout="strided"), dim=1, **kwargs),
        s(T((4, 3), kind, layout="expanded"), dim=1, **kwargs),
        s(T((3, 1), kind), dim=1, **kwargs),
        s(T((), kind), dim=0, **kwargs),
        s(T((0, 3), kind), dim=1, **kwargs),
    ]
    if dims:
        samples += [s(x, dim=(0, 2), **kwargs), s(x, dim=(2, 0), keepdim=True, **kwargs)]
    return samples
