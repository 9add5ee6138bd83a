"""Reverse-mode differentiation: what an operation is, and how gradients walk back through them.

Every operation is a `Function`. Applying one computes its output and, if any input wants a
gradient, leaves the instance behind as a node of a graph whose edges point to the operations (or
leaves) its inputs came from. `backward` walks that graph from the loss, once.
Survey of the field: Baydin et al., "Automatic Differentiation in Machine Learning", JMLR 2018.

`function.py` says what an operation is, `walk.py` how gradients travel, `changes.py` how a change
in place is noticed, `grad_mode.py` how recording is switched off.
"""

from tinygrad_llm.autograd.changes import changes, owner
from tinygrad_llm.autograd.function import Array, Function, Variable
from tinygrad_llm.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    mode,
    no_grad,
    set_grad_enabled,
    watch,
)
from tinygrad_llm.autograd.walk import backward, grad, unbroadcast

__all__ = [
    "Array",
    "Function",
    "Variable",
    "backward",
    "changes",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "mode",
    "no_grad",
    "owner",
    "set_grad_enabled",
    "unbroadcast",
    "watch",
]
