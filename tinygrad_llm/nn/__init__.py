"""Layers, their initial values, and their state."""

from tinygrad_llm import functional
from tinygrad_llm.nn import init
from tinygrad_llm.nn.activation import (
    GELU,
    Dropout,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.containers import ModuleDict, ModuleList, Sequential
from tinygrad_llm.nn.feed_forward import FeedForward, SwiGLU
from tinygrad_llm.nn.linear import Embedding, Identity, Linear
from tinygrad_llm.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, NLLLoss
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.normalization import LayerNorm, RMSNorm
from tinygrad_llm.nn.positions import LearnedPositions, RotaryPositions, SinusoidalPositions
from tinygrad_llm.nn.state import IncompatibleKeys
from tinygrad_llm.nn.transformer import TransformerBlock
from tinygrad_llm.nn.walk import Parameter

__all__ = [
    "GELU",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "FeedForward",
    "Identity",
    "IncompatibleKeys",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiHeadAttention",
    "NLLLoss",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "RotaryPositions",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "SwiGLU",
    "Tanh",
    "TransformerBlock",
    "functional",
    "init",
]
