"""Optimisers, learning-rate schedules and gradient clipping, by PyTorch's names."""

from tinygrad_llm.optim.adam import Adam, AdamW
from tinygrad_llm.optim.clipping import clip_grad_norm_, clip_grad_value_, grad_norm
from tinygrad_llm.optim.flat import flatten_state, unflatten_state
from tinygrad_llm.optim.groups import decay_groups
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.optim.scheduler import LambdaLR, LRScheduler
from tinygrad_llm.optim.schedules import (
    SCHEDULES,
    constant,
    exponential,
    inverse_square_root,
    learning_rate,
    noam,
    step_decay,
    warmup_cosine,
    warmup_linear,
    warmup_stable_decay,
)
from tinygrad_llm.optim.sgd import SGD

__all__ = [
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "LRScheduler",
    "LambdaLR",
    "Optimizer",
    "clip_grad_norm_",
    "clip_grad_value_",
    "constant",
    "decay_groups",
    "exponential",
    "flatten_state",
    "grad_norm",
    "inverse_square_root",
    "learning_rate",
    "noam",
    "step_decay",
    "unflatten_state",
    "warmup_cosine",
    "warmup_linear",
    "warmup_stable_decay",
]
