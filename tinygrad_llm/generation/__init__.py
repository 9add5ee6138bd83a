"""Writing text with a language model: sampling, beam search, the KV cache, streaming.

`generate` and `stream` work with anything that has `next_token_logits`: a GPT, a recurrent
network, an n-gram model. Names and meanings are Hugging Face's.
"""

from tinygrad_llm.generation.cache import KVCache
from tinygrad_llm.generation.config import GenerationConfig
from tinygrad_llm.generation.generate import generate
from tinygrad_llm.generation.text import TextStreamer, generate_text, stream

__all__ = [
    "GenerationConfig",
    "KVCache",
    "TextStreamer",
    "generate",
    "generate_text",
    "stream",
]
