"""Text in, batches out: corpora, tokens on disk, splits, and the loss axis of every model.

text -> `load_text` / `iter_text` -> a tokenizer -> `prepare` (cached, memory-mapped tokens)
-> `batch` for training, `evaluation_batches` for the whole validation text
-> `bits_per_character`, in which models with different tokenizers can be compared.
"""

from tinygrad_llm.data.batches import batch, bits_per_character, evaluation_batches, split
from tinygrad_llm.data.corpora import iter_text, load_text
from tinygrad_llm.data.token_corpus import TokenCorpus, prepare
from tinygrad_llm.data.tokens import read_tokens, write_tokens

__all__ = [
    "TokenCorpus",
    "batch",
    "bits_per_character",
    "evaluation_batches",
    "iter_text",
    "load_text",
    "prepare",
    "read_tokens",
    "split",
    "write_tokens",
]
