"""Activations, and softmax along an axis."""

from typing import Any

from tinygrad_llm import dtypes, ops
from tinygrad_llm.functional._checks import check_floating, check_like, check_shape, check_tensor
from tinygrad_llm.tensor import Tensor


def relu(input: Tensor) -> Tensor:
    """max(x, 0)."""
    check_tensor("relu", "input", input)
    return input.relu()


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    check_tensor("sigmoid", "input", input)
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    check_tensor("tanh", "input", input)
    return input.tanh()


def erf(input: Tensor) -> Tensor:
    """The error function; a normal variable is below x with probability (1 + erf(x/sqrt 2)) / 2."""
    check_floating("erf", "input", input)
    return ops.Erf.apply(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016).

    approximate: "none" is exact; "tanh" is the approximation that GPT-2 was trained with.
    """
    check_floating("gelu", "input", input)
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r} is not known; use 'none' or 'tanh'")
    return ops.Gelu.apply(input, approximate=approximate)


def silu(input: Tensor) -> Tensor:
    """x sigmoid(x), also called swish."""
    check_floating("silu", "input", input)
    return ops.Silu.apply(input)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020), the gated activation of Llama. One shape, one dtype."""
    check_floating("swiglu", "gate", gate)
    check_like("swiglu", "up", up, gate)
    check_shape("swiglu", "up", up, gate.array.shape)
    return ops.Swiglu.apply(gate, up)


def softplus(input: Tensor, beta: float = 1.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, a smooth relu."""
    check_floating("softplus", "input", input)
    if beta == 1.0:
        return ops.Softplus.apply(input)
    return ops.Softplus.apply(input * beta) / beta


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), accurate where sigmoid(x) would round to 0."""
    check_floating("logsigmoid", "input", input)
    return -ops.Softplus.apply(-input)


def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along dim. dtype: cast the input to it first."""
    return _softmax("softmax", ops.Softmax, input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log(softmax(x, dim)), accurate where the softmax would round to 0."""
    return _softmax("log_softmax", ops.LogSoftmax, input, dim, dtype)


def _softmax(name: str, function: Any, input: Tensor, dim: int, dtype: Any) -> Tensor:
    check_tensor(name, "input", input)
    if dtype is not None:
        input = input.to(dtype=dtypes.resolve(dtype))
    check_floating(name, "input", input)
    return function.apply(input, dim=ops.as_dim(name, dim, input.array.shape))
