"""Making tensors: from values, of constants, at random. Random ones follow `manual_seed`."""

from __future__ import annotations

import operator
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
        devices.resolve(device)
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
    """fill_value everywhere; its kind decides the dtype unless one is given."""
    devices.resolve(device)
    value = fill_value.item() if isinstance(fill_value, (Tensor, np.generic)) else fill_value
    like = Tensor(value).dtype if dtype is None else dtypes.resolve(dtype)
    shape = ops.as_shape("full", (size,))
    return _finished(Tensor(np.full(shape, value, like)), requires_grad)


def zeros_like(input: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    return zeros(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def ones_like(input: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    return ones(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def full_like(
    input: Tensor, fill_value: Any, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    dtype = dtype or input.dtype
    return full(input.shape, fill_value, dtype=dtype, requires_grad=requires_grad)


def empty_like(input: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    return empty(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def arange(
    *bounds: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """arange(end), arange(start, end) or arange(start, end, step); integers give int64."""
    if not 1 <= len(bounds) <= 3:
        raise TypeError(f"arange: takes end, or start and end, or also step, not {bounds}")
    numbers = [b.item() if isinstance(b, (Tensor, np.generic)) else b for b in bounds]
    if len(numbers) == 3 and numbers[2] == 0:
        raise ValueError("arange: step=0 never arrives; use another one")
    default = np.int64 if all(isinstance(n, int) for n in numbers) else dtypes.DEFAULT
    return _finished(
        Tensor(np.arange(*numbers), dtype=dtype or default, device=device), requires_grad
    )


def linspace(start: float, end: float, steps: int, dtype: Any = None) -> Tensor:
    """`steps` numbers at equal distances, both ends included."""
    return Tensor(np.linspace(start, end, steps), dtype=dtype or dtypes.DEFAULT)


def eye(n: int, m: int | None = None, dtype: Any = None) -> Tensor:
    """1 on the main diagonal, 0 elsewhere."""
    return Tensor(np.eye(n, m, dtype=dtypes.resolve(dtype or dtypes.DEFAULT)))


def _random(draw: Any) -> Any:
    """A function that makes random values of a float dtype, for _filled."""

    def make(shape: Any, dtype: np.dtype) -> np.ndarray:
        if dtype.kind != "f":
            raise TypeError(f"random values are floating point, not {dtype}; see randint")
        # float16 by way of float32; float64 gets all of its bits.
        wide = np.float32 if dtype.itemsize < 8 else np.float64
        return np.asarray(draw(shape, dtype=wide)).astype(dtype, copy=False)

    return make


def randn(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    make = _random(rng.state.generator.standard_normal)
    return _filled(make, "randn", size, dtype, requires_grad, device)


def rand(
    *size: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Uniform in [0, 1)."""
    make = _random(rng.state.generator.random)
    return _filled(make, "rand", size, dtype, requires_grad, device)


def randint(
    low: Any, high: Any = None, size: Any = None, dtype: Any = None, device: str | None = None
) -> Tensor:
    """randint(high, size) or randint(low, high, size): uniform integers in [low, high)."""
    devices.resolve(device)
    if size is None:
        low, high, size = 0, low, high
    if high is None:
        low, high = 0, low
    low, high = operator.index(low), operator.index(high)
    if low >= high:
        raise ValueError(f"randint: no integer lies in [{low}, {high})")
    shape = ops.as_shape("randint", (size,))
    values = rng.state.generator.integers(low, high, shape)
    return Tensor(values, dtype=dtype or dtypes.int64)


def randperm(n: int) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    return Tensor(rng.state.generator.permutation(n), dtype=dtypes.int64)


def randn_like(input: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    return randn(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def rand_like(input: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    return rand(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)
