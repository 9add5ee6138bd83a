"""Layers, their initial values, and their state."""

from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.state import IncompatibleKeys
from tinygrad_llm.nn.walk import Parameter

__all__ = ["IncompatibleKeys", "Module", "Parameter"]
