"""Equal, id for id, to the two tokenizers that the world uses: tiktoken and HF's tokenizers."""

import json
import os
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm.tokenizers import GPT2_PATTERN, CharTokenizer, Tokenizer, load

pytestmark = pytest.mark.parity

tiktoken = pytest.importorskip("tiktoken")
hf = pytest.importorskip("tokenizers")

END = "<|endoftext|>"

PATTERNS = {
    "gpt2": GPT2_PATTERN,
    "gpt4": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "digits": r"\p{N}",  # all else is left over
    "whole": r"[\s\S]+",
}


def to_tiktoken(ours):
    """The same vocabulary in tiktoken, which takes a token's id for its rank."""
    special = set(ours.special_tokens.values())
    ranks = {token: token_id for token_id, token in ours.vocab.items() if token_id not in special}
    theirs = tiktoken.Encoding(
        "ours", pat_str=ours.pattern, mergeable_ranks=ranks, special_tokens=ours.special_tokens
    )
    return lambda text: theirs.encode(text, allowed_special="all")


def to_hf(ours, folder):
    """What HF reads of what we save."""
    ours.save(folder)
    return hf.Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    """GPT-2: ours, tiktoken's encode, and HF's made from GPT-2's own files."""
    if not os.environ.get("TINYGRAD_LLM_DATA"):
        pytest.skip("TINYGRAD_LLM_DATA names no folder with the data sets")
    folder = Path(os.environ["TINYGRAD_LLM_DATA"]) / "gpt2"
    ours = load(folder)
    theirs = hf.ByteLevelBPETokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    theirs.add_special_tokens([END])
    return ours, to_tiktoken(ours), lambda text: theirs.encode(text).ids


def assert_equal(trio, text):
    ours, by_tiktoken, by_hf = trio
    ids = ours.encode(text)
    assert ids == by_tiktoken(text)
    assert ids == by_hf(text)
    assert list(ours.encode_iterable(text)) == ids
    assert ours.decode(ids) == text


class TestGpt2:
    @settings(max_examples=400)
    @given(data=st.data())
    def test_nasty_text(self, trio, nasty, data):
        assert_equal(trio, data.draw(nasty))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "a" * 10_000,
            " " * 5_000 + "a" + "\n" * 5_000,
            "\r\n" * 999,
            "=" * 3_000 + " " + "-" * 77,
            "0123456789" * 300,
            "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 50,
            "\u0e33\u0e01" * 500,
            "e\u0301\u0302" * 500,
            "\x00" * 300,
            "\ufffd\ufeff\u200b\u2060" * 30,
            "'s 'S 'ss 'll 'LL 'l l' ''re 're' \u2019s " * 9,
            f"{END}{END} {END}\n{END[:-1]}{END}",
        ],
        ids=range(14),
    )
    def test_long_runs(self, trio, text):
        assert_equal(trio, text)

    def test_random_letters_without_end(self, trio):
        rng = random.Random(7)
        assert_equal(trio, "".join(rng.choices("etaoinshrdlu", k=20_000)))
        assert_equal(trio, "".join(rng.choices("ab", k=20_000)))

    def test_english_and_code(self, trio, english):
        assert_equal(trio, english)
        assert_equal(trio, Path(json.__file__).read_text("utf-8"))

    def test_tiny_shakespeare(self, trio, data_folder):
        text = (data_folder / "tinyshakespeare" / "input.txt").read_text("utf-8")
        assert_equal(trio, text[:200_000])
        # A number that others print, nanoGPT's data preparation among them.
        assert len(trio[0].encode(text)) == 338_025

    def test_other_languages(self, trio, data_folder):
        import gzip

        for language in ("de", "fr"):
            path = data_folder / "multi30k" / f"test_2016_flickr.{language}.gz"
            assert_equal(trio, gzip.decompress(path.read_bytes()).decode())

    def test_a_sample_of_all_characters(self, trio):
        rng = random.Random(11)
        assert_equal(trio, in_context(rng.sample(assigned(), 3_000)))

    @pytest.mark.slow
    def test_all_characters(self, trio):
        characters = assigned()
        for start in range(0, len(characters), 20_000):
            ours, by_tiktoken, by_hf = trio
            text = in_context(characters[start : start + 20_000])
            ids = ours.encode(text)
            assert ids == by_tiktoken(text)
            assert ids == by_hf(text)

    def test_every_token_encodes_as_theirs(self, trio):
        ours, by_tiktoken, by_hf = trio
        text = "".join(map(ours.decode, ([i] for i in range(ours.vocab_size))))
        assert_equal(trio, text.replace("\ufffd", ""))


def assigned():
    """All characters but surrogates and those that some Unicode tables may not know yet."""
    unsure = ("Cs", "Cn")
    every = map(chr, range(0x110000))
    return [char for char in every if unicodedata.category(char) not in unsure]


def in_context(characters):
    """Each character beside a letter, a digit, a sign, a space and itself."""
    return "".join(f"a{c}1{c}! {c}  {c}{c}\n" for c in characters)


class TestOurFilesInTheirHands:
    """What we train and save, HF loads and encodes alike; tiktoken with the same ranks too."""

    @pytest.mark.parametrize("name", PATTERNS)
    @settings(max_examples=60)
    @given(data=st.data())
    def test_any_pattern(self, trained, name, nasty, data):
        ours, by_tiktoken, theirs = trained[name]
        text = data.draw(nasty) + data.draw(st.sampled_from(["", END, "<|end|>" + END, "12a"]))
        ids = ours.encode(text)
        assert theirs.encode(text).ids == ids
        if name != "digits":  # tiktoken drops what its pattern leaves out
            assert by_tiktoken(text) == ids
        assert theirs.decode(ids, skip_special_tokens=False) == text

    @pytest.mark.parametrize("name", PATTERNS)
    def test_english(self, trained, name, english):
        ours, _, theirs = trained[name]
        assert theirs.encode(english[:20_000]).ids == ours.encode(english[:20_000])
        assert theirs.get_vocab_size() == ours.vocab_size == 700

    def test_pair_of_files(self, trained, english, tmp_path):
        ours = trained["gpt2"][0]
        ours.save(tmp_path)
        theirs = hf.ByteLevelBPETokenizer(
            str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")
        )
        assert theirs.encode(english[:20_000]).ids == ours.encode(english[:20_000])

    @pytest.mark.parametrize(
        "special",
        [
            ["<a>", "<a><b>", "<b>"],
            ["\u00e9t\u00e9", "<\uff5cfin\uff5c>"],
            [" ", "  "],
            ["a b", ".*", "\n"],
        ],
    )
    def test_special_tokens(self, special, tmp_path, english):
        ours = Tokenizer.train(english[:3_000], 300, special)
        theirs = to_hf(ours, tmp_path)
        rng = random.Random(2)
        for _ in range(50):
            text = "".join(rng.choices([*special, *"ab \n<>.*\u00e9"], k=20))
            assert theirs.encode(text).ids == ours.encode(text)

    @pytest.mark.parametrize("unk", [None, "<unk>", "?"])
    def test_characters(self, unk, tmp_path):
        text = 'hello?\n \r\n\u00e9\U0001f600\u0301\x00"\\'
        ours = CharTokenizer.train(text, unk)
        theirs = to_hf(ours, tmp_path)
        assert theirs.encode(text * 3).ids == ours.encode(text * 3)
        assert theirs.decode(ours.encode(text)) == text
        assert theirs.get_vocab_size() == ours.vocab_size
        if unk:
            assert theirs.encode("hxl").ids == ours.encode("hxl")

    def test_transformers(self, trained, tmp_path, english):
        transformers = pytest.importorskip("transformers")
        ours = trained["gpt2"][0]
        ours.save(tmp_path)
        theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
        text = english[:5_000] + END
        assert theirs(text)["input_ids"] == ours.encode(text)
        assert theirs.decode(ours.encode(text)) == text


@pytest.fixture(scope="module")
def trained(english, tmp_path_factory):
    """A tokenizer for each pattern: ours, tiktoken's encode, HF's tokenizer."""
    result = {}
    for name, pattern in PATTERNS.items():
        ours = Tokenizer.train(english[:40_000], 700, [END, "<|end|>"], pattern)
        result[name] = ours, to_tiktoken(ours), to_hf(ours, tmp_path_factory.mktemp(name))
    return result


@pytest.fixture(scope="module")
def theirs(english):
    """Trained by HF."""
    trained = hf.ByteLevelBPETokenizer()
    trained.train_from_iterator([english[:40_000]], 700, special_tokens=["<s>", END])
    return trained


class TestTheirFilesInOurHands:
    """What HF trains and saves, in each of its forms, we load and encode alike."""

    @settings(max_examples=60)
    @given(data=st.data())
    def test_one_file(self, theirs, nasty, data, tmp_path_factory):
        folder = tmp_path_factory.mktemp("theirs")
        theirs.save(str(folder / "tokenizer.json"))
        ours = load(folder)
        assert ours.special_tokens == {"<s>": 0, END: 1}
        text = data.draw(nasty) + data.draw(st.sampled_from(["", END, "<s>a"]))
        assert ours.encode(text) == theirs.encode(text).ids

    def test_pair_of_files(self, theirs, english, tmp_path):
        theirs.save_model(str(tmp_path))
        text = english[40_000:60_000] + f"<s>a{END}"
        for ours in (
            load(tmp_path),
            Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt", ["<s>", END]),
        ):
            assert ours.encode(text) == theirs.encode(text).ids

    def test_ours_through_their_hands(self, small, english, tmp_path):
        to_hf(small, tmp_path).save(str(tmp_path / "tokenizer.json"))
        again = load(tmp_path)
        assert (again.vocab, again.merges) == (small.vocab, small.merges)
        assert (again.special_tokens, again.pattern) == (small.special_tokens, small.pattern)

    def test_characters_through_their_hands(self, tmp_path):
        ours = CharTokenizer.train("hello\n\u00e9", unk="<unk>")
        to_hf(ours, tmp_path).save(str(tmp_path / "tokenizer.json"))
        again = load(tmp_path)
        assert (again.characters, again.unk) == (ours.characters, ours.unk)

    def test_what_transformers_adds_and_saves(self, small, tmp_path):
        transformers = pytest.importorskip("transformers")
        small.save(tmp_path)
        theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
        theirs.add_tokens(["<new>", "foo"])
        theirs.add_special_tokens({"pad_token": "<|pad|>", "mask_token": "<mask>"})
        theirs.save_pretrained(tmp_path)
        ours = load(tmp_path)
        text = f"a foo foobar <new><mask> {END}<|pad|>"
        assert ours.encode(text) == theirs(text)["input_ids"]
        assert ours.vocab_size == 503

    @pytest.mark.parametrize("name", PATTERNS)
    def test_split_through_their_hands(self, trained, name, tmp_path):
        ours, _, theirs = trained[name]
        theirs.save(str(tmp_path / "tokenizer.json"))
        assert load(tmp_path).pattern == ours.pattern


@settings(max_examples=100)
@given(seed=st.integers(0, 10**6), text=st.text("abc", max_size=60))
def test_merges_that_no_training_would_give(seed, text, tmp_path_factory):
    """HF merges one pair at a time, the earliest and leftmost, in whatever order they are given."""
    rng = random.Random(seed)
    tokens = [b"a", b"b", b"c"]
    merges = []
    for _ in range(rng.randint(1, 10)):
        pair = rng.choice(tokens), rng.choice(tokens)
        if pair not in merges and len(pair[0] + pair[1]) < 12:
            merges.append(pair)
            if pair[0] + pair[1] not in tokens:
                tokens.append(pair[0] + pair[1])
    rng.shuffle(merges)
    vocab = dict(enumerate([bytes([i]) for i in range(256)] + tokens[3:]))
    ours = Tokenizer(vocab, merges)
    theirs = to_hf(ours, tmp_path_factory.mktemp("random"))
    assert theirs.encode(text).ids == ours.encode(text)
