"""Language models, from counting to GPT: build one by name, save it, load it."""

from tinygrad_llm.models.base import CausalLMOutput, LanguageModel, ModelConfig
from tinygrad_llm.models.checkpoints import (
    aliases,
    build,
    check_vocabulary,
    load,
    registry,
    save,
)
from tinygrad_llm.models.gpt import GPT2Config, GPT2LMHeadModel, GPT2Model
from tinygrad_llm.models.mlp import MLPConfig, MLPLanguageModel
from tinygrad_llm.models.ngram import NGram
from tinygrad_llm.models.rnn import RNNConfig, RNNLanguageModel

__all__ = [
    "CausalLMOutput",
    "GPT2Config",
    "GPT2LMHeadModel",
    "GPT2Model",
    "LanguageModel",
    "MLPConfig",
    "MLPLanguageModel",
    "ModelConfig",
    "NGram",
    "RNNConfig",
    "RNNLanguageModel",
    "aliases",
    "build",
    "check_vocabulary",
    "load",
    "registry",
    "save",
]
