"""Text to ids and back. Read in this order:

base.py        what every tokenizer can do
characters.py  one id for each character
split.py       cutting text into pretokens, also a text that is larger than memory
train.py       learning byte pairs
merging.py     applying them to one pretoken
bpe.py         the byte-level BPE tokenizer made of these
gpt2_form.py   its files as GPT-2 has them (vocab.json, merges.txt)
json_form.py   tokenizer.json, as Hugging Face has it
saving.py      save and load of any kind
"""

from tinygrad_llm.tokenizers.base import BaseTokenizer
from tinygrad_llm.tokenizers.bpe import Tokenizer
from tinygrad_llm.tokenizers.characters import CharTokenizer
from tinygrad_llm.tokenizers.saving import load
from tinygrad_llm.tokenizers.split import GPT2_PATTERN
from tinygrad_llm.tokenizers.train import train_bpe, train_bpe_from_text

__all__ = [
    "GPT2_PATTERN",
    "BaseTokenizer",
    "CharTokenizer",
    "Tokenizer",
    "load",
    "train_bpe",
    "train_bpe_from_text",
]
