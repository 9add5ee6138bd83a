"""Making tensors: from values, of constants, at random. Random ones follow `manual_seed`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm import device as devices
from tinygrad_llm import dtypes, ops, rng
from tinygrad_llm.tensor.core import Tensor


def tensor(
    data: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """A tensor with a copy of `data`. An array keeps its dtype; Python floats become float32."""
    result = Tensor(data, dtype=dtype, device=device)
    result.array = np.array(result.array)
    return _finished(result, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """`data` as a tensor, sharing memory where it can; a tensor is returned as it is."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype=dtype)
    return Tensor(data, dtype=dtype, device=device)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy.ndarray, not {type(array).__name__}")
    return Tensor(array)


def _finished(result: Tensor, requires_grad: bool) -> Tensor:
    return result.requires_grad_() if requires_grad else result


def _filled(
    make: Any, name: str, sizes: Any, dtype: Any, requires_grad: bool, device: Any
) -> Tensor:
    devices.resolve(device)
    resolved = dtypes.DEFAULT if dtype is None else dtypes.resolve(dtype)
    return _finished(Tensor(make(ops.as_shape(name, sizes), resolved)), requires_grad)


def zeros(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    return _filled(np.zeros, "zeros", size, dtype, requires_grad, device)


def ones(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    return _filled(np.ones, "ones", size, dtype, requires_grad, device)


def empty(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Values are whatever the memory held."""
    return _filled(np.empty, "empty", size, dtype, requires_grad, device)


def full(
    size: Any,
    fill_value: Any,
    dtype: Any = None,
    requires_grad: bool = False,
    device: str | None = None,
) -> Tensor:
    devices.resolve(device)
    like = Tensor(fill_value).dtype if dtype is None else dtypes.resolve(dtype)
    shape = ops.as_shape("full", (size,))
    return _finished(Tensor(np.full(shape, fill_value, like)), requires_grad)


def zeros_like(input: Tensor, dtype: Any = None) -> Tensor:
    return zeros(input.shape, dtype=dtype or input.dtype)


def ones_like(input: Tensor, dtype: Any = None) -> Tensor:
    return ones(input.shape, dtype=dtype or input.dtype)


def full_like(input: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    return full(input.shape, fill_value, dtype=dtype or input.dtype)


def empty_like(input: Tensor, dtype: Any = None) -> Tensor:
    return empty(input.shape, dtype=dtype or input.dtype)


def arange(*bounds: float, dtype: Any = None, device: str | None = None) -> Tensor:
    """arange(end), arange(start, end) or arange(start, end, step); integers give int64."""
    if not 1 <= len(bounds) <= 3:
        raise TypeError(f"arange: takes end, or start and end, or also step, not {bounds}")
    return Tensor(np.arange(*bounds).tolist() if not _integers(bounds) else np.arange(*bounds),
                  dtype=dtype, device=device)  # fmt: skip


def _integers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(v, (int, np.integer)) for v in values)


def linspace(start: float, end: float, steps: int, dtype: Any = None) -> Tensor:
    return Tensor(np.linspace(start, end, steps), dtype=dtype or dtypes.DEFAULT)


def eye(n: int, m: int | None = None, dtype: Any = None) -> Tensor:
    """1 on the main diagonal, 0 elsewhere."""
    return Tensor(np.eye(n, m, dtype=dtypes.resolve(dtype or dtypes.DEFAULT)))


def randn(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""

    def make(shape: Any, resolved: Any) -> np.ndarray:
        return rng.state.generator.standard_normal(shape).astype(resolved)

    return _filled(make, "randn", size, dtype, requires_grad, device)


def rand(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Uniform in [0, 1)."""

    def make(shape: Any, resolved: Any) -> np.ndarray:
        draw = np.float32 if resolved.itemsize <= 4 else np.float64
        return rng.state.generator.random(shape, dtype=draw).astype(resolved)

    return _filled(make, "rand", size, dtype, requires_grad, device)


def randint(low: int, high: int, size: Any, dtype: Any = dtypes.int64) -> Tensor:
    """Uniform integers in [low, high)."""
    shape = ops.as_shape("randint", (size,))
    return Tensor(rng.state.generator.integers(low, high, shape), dtype=dtype)


def randperm(n: int) -> Tensor:
    return Tensor(rng.state.generator.permutation(n))


def randn_like(input: Tensor) -> Tensor:
    return randn(input.shape, dtype=input.dtype)


def rand_like(input: Tensor) -> Tensor:
    return rand(input.shape, dtype=input.dtype)
