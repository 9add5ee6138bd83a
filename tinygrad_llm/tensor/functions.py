"""Tensor's methods as functions: `exp(x)` is `x.exp()`, as in PyTorch.

Each has the method's arguments and description; a number, list or array becomes a tensor first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad_llm.tensor.core import Tensor
from tinygrad_llm.tensor.creation import as_tensor

# fmt: off
__all__ = [
    "abs", "add", "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "argsort", "bmm",
    "ceil", "chunk", "clamp", "clip", "clone", "cos", "cumsum", "detach", "div", "dot", "eq",
    "equal", "exp", "flatten", "flip", "floor", "floor_divide", "gather", "ge", "gt",
    "index_select", "isfinite", "isinf", "isnan", "le", "log", "log_softmax", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logsumexp", "lt", "masked_fill", "masked_select",
    "matmul", "max", "maximum", "mean", "min", "minimum", "mm", "mul", "narrow", "ne", "neg",
    "nonzero", "norm", "numel", "permute", "pow", "reciprocal", "relu", "remainder",
    "repeat_interleave", "reshape", "round", "rsqrt", "scatter_add", "select", "sigmoid", "sign",
    "sin", "softmax", "sort", "split", "sqrt", "square", "squeeze", "std", "sub", "sum",
    "swapaxes", "take_along_dim", "tanh", "topk", "transpose", "tril", "triu", "unbind",
    "unflatten", "unsqueeze", "var",
]
# fmt: on


def _function(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        return method(as_tensor(input), *args, **kwargs)

    function.__module__, function.__qualname__ = __name__, method.__name__
    return function


abs = _function(Tensor.abs)
add = _function(Tensor.add)
all = _function(Tensor.all)
allclose = _function(Tensor.allclose)
amax = _function(Tensor.amax)
amin = _function(Tensor.amin)
any = _function(Tensor.any)
argmax = _function(Tensor.argmax)
argmin = _function(Tensor.argmin)
argsort = _function(Tensor.argsort)
bmm = _function(Tensor.bmm)
ceil = _function(Tensor.ceil)
chunk = _function(Tensor.chunk)
clamp = _function(Tensor.clamp)
clip = _function(Tensor.clip)
clone = _function(Tensor.clone)
cos = _function(Tensor.cos)
cumsum = _function(Tensor.cumsum)
detach = _function(Tensor.detach)
div = _function(Tensor.div)
dot = _function(Tensor.dot)
eq = _function(Tensor.eq)
equal = _function(Tensor.equal)
exp = _function(Tensor.exp)
flatten = _function(Tensor.flatten)
flip = _function(Tensor.flip)
floor = _function(Tensor.floor)
floor_divide = _function(Tensor.floor_divide)
gather = _function(Tensor.gather)
ge = _function(Tensor.ge)
gt = _function(Tensor.gt)
index_select = _function(Tensor.index_select)
isfinite = _function(Tensor.isfinite)
isinf = _function(Tensor.isinf)
isnan = _function(Tensor.isnan)
le = _function(Tensor.le)
log = _function(Tensor.log)
log_softmax = _function(Tensor.log_softmax)
logical_and = _function(Tensor.logical_and)
logical_not = _function(Tensor.logical_not)
logical_or = _function(Tensor.logical_or)
logical_xor = _function(Tensor.logical_xor)
logsumexp = _function(Tensor.logsumexp)
lt = _function(Tensor.lt)
masked_fill = _function(Tensor.masked_fill)
masked_select = _function(Tensor.masked_select)
matmul = _function(Tensor.matmul)
max = _function(Tensor.max)
maximum = _function(Tensor.maximum)
mean = _function(Tensor.mean)
min = _function(Tensor.min)
minimum = _function(Tensor.minimum)
mm = _function(Tensor.mm)
mul = _function(Tensor.mul)
narrow = _function(Tensor.narrow)
ne = _function(Tensor.ne)
neg = _function(Tensor.neg)
nonzero = _function(Tensor.nonzero)
norm = _function(Tensor.norm)
numel = _function(Tensor.numel)
permute = _function(Tensor.permute)
pow = _function(Tensor.pow)
reciprocal = _function(Tensor.reciprocal)
relu = _function(Tensor.relu)
remainder = _function(Tensor.remainder)
repeat_interleave = _function(Tensor.repeat_interleave)
reshape = _function(Tensor.reshape)
round = _function(Tensor.round)
rsqrt = _function(Tensor.rsqrt)
scatter_add = _function(Tensor.scatter_add)
select = _function(Tensor.select)
sigmoid = _function(Tensor.sigmoid)
sign = _function(Tensor.sign)
sin = _function(Tensor.sin)
softmax = _function(Tensor.softmax)
sort = _function(Tensor.sort)
split = _function(Tensor.split)
sqrt = _function(Tensor.sqrt)
square = _function(Tensor.square)
squeeze = _function(Tensor.squeeze)
std = _function(Tensor.std)
sub = _function(Tensor.sub)
sum = _function(Tensor.sum)
swapaxes = _function(Tensor.swapaxes)
take_along_dim = _function(Tensor.take_along_dim)
tanh = _function(Tensor.tanh)
topk = _function(Tensor.topk)
transpose = _function(Tensor.transpose)
tril = _function(Tensor.tril)
triu = _function(Tensor.triu)
unbind = _function(Tensor.unbind)
unflatten = _function(Tensor.unflatten)
unsqueeze = _function(Tensor.unsqueeze)
var = _function(Tensor.var)
