"""What the tokenizer tests share: a small trained tokenizer, GPT-2's own, text that is nasty."""

import pydoc_data.topics
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tinygrad_llm.tokenizers import Tokenizer, load

END = "<|endoftext|>"

# White space of every kind (U+001C to U+001F are white space for `re`, not for Unicode),
# contractions, combining marks, joined emoji, digits of other scripts, control characters.
NASTY = [
    *" \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2028\u2029\u202f\u205f\u3000\u200b\ufeff",
    *"\0\x01\x7f\xad.,!'\"#<|>_-",
    *"aAzZ09\u00e9\u0301\u0e01\u0e33\u4e2d\u0661\u00bd\u2167\u01c5\u02b0\u0903\U0001d7d8\U0010ffff",
    *"\U0001f600\U0001f468\u200d\U0001f469\U0001f3fd\ufe0f",
    *["'s", "'S", "'re", "'ll", "'ve", "\u2019s", "don't", "''", " the", "  ", "\r\n", "\n\n"],
    *["1234", "hello", "HELLO", " 42", "<|endoftext", "endoftext|>", "\u0130\u0131", "e\u0301"],
]


@pytest.fixture(scope="session")
def nasty() -> st.SearchStrategy[str]:
    """Text made of runs of the above and of any other characters except surrogates."""
    any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    run = st.builds(str.__mul__, st.sampled_from(NASTY), st.integers(1, 9))
    return st.lists(st.one_of(st.sampled_from(NASTY), run, any_text), max_size=12).map("".join)


@pytest.fixture(scope="session")
def english() -> str:
    """130,000 characters that come with every Python."""
    return "".join(pydoc_data.topics.topics.values())[:130_000]


@pytest.fixture(scope="session")
def small(english: str) -> Tokenizer:
    """500 tokens, two of them special."""
    return Tokenizer.train(english, 500, [END, "<|pad|>"])


@pytest.fixture
def gpt2_files(data_folder: Path) -> tuple[Path, Path]:
    return data_folder / "gpt2" / "encoder.json", data_folder / "gpt2" / "vocab.bpe"


@pytest.fixture
def gpt2(gpt2_files: tuple[Path, Path]) -> Tokenizer:
    tokenizer = load(gpt2_files[0].parent)
    assert isinstance(tokenizer, Tokenizer)
    return tokenizer
