"""From a text to cached tokens: the same as encoding each part at once, and only the first time."""

import errno
import math

import numpy as np
import pytest

from tinygrad_llm.data import prepare
from tinygrad_llm.data.token_corpus import fingerprint
from tinygrad_llm.data.tokens import token_header
from tinygrad_llm.errors import DataError
from tinygrad_llm.models.ngram import NGram
from tinygrad_llm.tokenizers import CharTokenizer, Tokenizer, train_bpe

TEXT = "The cat sat on the mat. Straße, naïve 🙂.\n" * 60


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode())
    return path


@pytest.fixture
def calls(monkeypatch):
    """A list that grows by one whenever a character tokenizer encodes."""
    calls = []
    encode = CharTokenizer.encode_iterable

    def counted(self, texts):
        calls.append(self)
        return encode(self, texts)

    monkeypatch.setattr(CharTokenizer, "encode_iterable", counted)
    return calls


@pytest.fixture
def bpe(source):
    vocab, merges = train_bpe(source, 300, [])
    return Tokenizer(vocab, merges)


def test_each_part_is_encoded_by_itself(source, tmp_path, bpe, monkeypatch):
    monkeypatch.setattr("tinygrad_llm.data.text._BLOCK", 100)
    cut = int(len(TEXT) * 0.9)
    for tokenizer in (CharTokenizer.train(TEXT), bpe):
        corpus = prepare(source, tokenizer, folder=tmp_path / "tokens")
        np.testing.assert_array_equal(corpus.train, tokenizer.encode(TEXT[:cut]))
        np.testing.assert_array_equal(corpus.validation, tokenizer.encode(TEXT[cut:]))
        assert (corpus.n_train_characters, corpus.n_validation_characters) == (cut, len(TEXT) - cut)
        assert corpus.vocab_size == tokenizer.vocab_size


def test_the_second_time_nothing_is_encoded(source, tmp_path, calls):
    tokenizer, folder = CharTokenizer.train(TEXT), tmp_path / "tokens"
    first = prepare(source, tokenizer, folder=folder)
    assert len(calls) == 2
    second = prepare(source, CharTokenizer.train(TEXT), folder=folder)
    assert len(calls) == 2
    np.testing.assert_array_equal(first.train, second.train)
    assert isinstance(second.train, np.memmap)
    # Another share, text or tokenizer is another matter.
    prepare(source, tokenizer, 0.2, folder=folder)
    assert len(calls) == 4
    source.write_bytes(TEXT.replace("cat", "mat").encode())
    prepare(source, tokenizer, folder=folder)
    assert len(calls) == 6
    prepare(source, CharTokenizer.train(TEXT + "!"), folder=folder)
    assert len(calls) == 8


def test_a_student_s_tokenizer_is_always_asked(source, tmp_path, calls):
    # Its code may have changed since the last run, and no fingerprint would tell.
    class Mine(CharTokenizer):
        pass

    prepare(source, Mine.train(TEXT), folder=tmp_path / "tokens")
    prepare(source, Mine.train(TEXT), folder=tmp_path / "tokens")
    assert len(calls) == 4


def test_damaged_tokens_are_made_again(source, tmp_path, calls):
    tokenizer = CharTokenizer.train(TEXT)
    whole = np.array(prepare(source, tokenizer, folder=tmp_path / "tokens").train)
    for path in (tmp_path / "tokens").iterdir():
        assert token_header(path)["tokenizer"] == fingerprint(tokenizer)
        path.write_bytes(path.read_bytes()[:-1])
    again = prepare(source, tokenizer, folder=tmp_path / "tokens")
    np.testing.assert_array_equal(again.train, whole)
    assert len(calls) == 4


def test_a_disk_that_is_full_costs_only_the_cache(source, tmp_path, monkeypatch):
    def full(*args, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tinygrad_llm.data.token_corpus.write_tokens", full)
    tokenizer = CharTokenizer.train(TEXT)
    with pytest.warns(UserWarning, match="tokens are not cached, .*: No space left"):
        corpus = prepare(source, tokenizer, folder=tmp_path / "tokens")
    assert tokenizer.decode(corpus.train) + tokenizer.decode(corpus.validation) == TEXT


def test_the_default_folder_is_in_the_cache(source, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "cache"))
    prepare(source, CharTokenizer.train(TEXT))
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) == 2


def test_progress_ends_at_the_end(source, tmp_path):
    seen = []
    prepare(
        source,
        CharTokenizer.train(TEXT),
        folder=tmp_path / "tokens",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (len(TEXT), len(TEXT))
    assert seen == sorted(seen)


def test_all_of_it_for_training(source, tmp_path):
    corpus = prepare(source, CharTokenizer.train(TEXT), 0, folder=tmp_path / "tokens")
    assert len(corpus.train) == len(TEXT)
    assert len(corpus.validation) == 0


def test_a_text_that_is_too_short(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(DataError, match="has 1 characters, too few to hold out a part"):
        prepare(tmp_path / "a.txt", CharTokenizer.train("a"), folder=tmp_path / "tokens")


def test_one_axis_for_different_tokenizers(source, tmp_path, bpe):
    """A model that knows nothing has log2(V) bits a token; the axis counts them per character."""
    for tokenizer in (CharTokenizer.train(TEXT), bpe):
        corpus = prepare(source, tokenizer, folder=tmp_path / "tokens")
        bits = corpus.bits_per_character(math.log(tokenizer.vocab_size))
        total = len(corpus.validation) * math.log2(tokenizer.vocab_size)
        assert bits == pytest.approx(total / (len(TEXT) - int(len(TEXT) * 0.9)))


def test_evaluation_batches_predict_all_of_the_validation_text(source, tmp_path):
    tokenizer = CharTokenizer.train(TEXT)
    corpus = prepare(source, tokenizer, folder=tmp_path / "tokens")
    batches = list(corpus.evaluation_batches(3, 16))
    targets = np.concatenate([y.ravel() for _, y in batches])
    np.testing.assert_array_equal(targets, corpus.validation)
    assert batches[0][0][0, 0] == corpus.train[-1]
    # A bigram model needs one token of context, so any windows give the same loss as one pass.
    model = NGram(2, tokenizer.vocab_size).fit(corpus.train)
    loss = -sum(
        model.log_prob(y[i], x[i, :1])[j]
        for x, y in batches
        for i in range(len(y))
        for j in range(y.shape[1])
    )
    whole = model.evaluate(corpus.validation, context=corpus.train)
    assert loss / len(targets) == pytest.approx(whole, rel=1e-12)


def test_fingerprints_tell_tokenizers_apart(bpe):
    assert fingerprint(CharTokenizer.train("abc")) == fingerprint(CharTokenizer.train("cab"))
    assert fingerprint(CharTokenizer.train("abc")) != fingerprint(CharTokenizer.train("abd"))
    assert fingerprint(CharTokenizer("abc", "a")) != fingerprint(CharTokenizer("abc"))
    assert fingerprint(bpe) != fingerprint(CharTokenizer.train("abc"))
    assert fingerprint(bpe) == fingerprint(Tokenizer(bpe.vocab, bpe.merges))
    assert fingerprint(bpe) != fingerprint(Tokenizer(bpe.vocab, bpe.merges[:-1]))
    assert fingerprint(bpe) != fingerprint(Tokenizer(bpe.vocab, bpe.merges, pattern=r"[\s\S]+"))
