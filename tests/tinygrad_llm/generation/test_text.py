"""Text in and out: stop strings and streaming, whatever the tokens are."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.generation import TextStreamer, generate, generate_text, stream
from tinygrad_llm.generation.stopping import StopStrings, TextPieces, cut

TEXT = "Ein Maß: 12 € für 👩‍🚀. END of it"


class Pieces:
    """A tokenizer whose tokens are any pieces of bytes, such as halves of characters."""

    def __init__(self, pieces):
        self.pieces = list(pieces)
        self.vocab_size = len(self.pieces)

    def decode_bytes(self, ids):
        return b"".join(self.pieces[i] for i in ids)

    def decode(self, ids):
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def encode(self, text):
        return [self.pieces.index(text.encode())] if text else []


def _split(text, size):
    data = text.encode()
    return [data[i : i + size] for i in range(0, len(data), size)]


def _writer(toys, pieces):
    """A model that writes piece after piece, and the tokenizer: the prompt is b"PROMPT"."""
    tokenizer = Pieces([b"PROMPT", *pieces, b"<end>"])
    n = tokenizer.vocab_size
    follow = np.minimum(np.arange(1, n + 1), n - 1)
    return toys.TableModel(np.eye(n)[follow] * 99), tokenizer


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_the_pieces_are_whole_characters_and_together_the_text(toys, size):
    model, tokenizer = _writer(toys, _split(TEXT, size))
    options = {"max_new_tokens": 200, "eos_token_id": tokenizer.vocab_size - 1}
    pieces = list(stream(model, "PROMPT", tokenizer=tokenizer, **options))
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece or piece == "" for piece in pieces)
    assert generate_text(model, tokenizer, "PROMPT", **options) == [TEXT]


def test_a_piece_comes_as_soon_as_its_last_byte_does(toys):
    model, tokenizer = _writer(toys, [b"a", b"\xe2\x82", b"\xac", b"bc"])
    options = {"max_new_tokens": 5, "eos_token_id": 5}
    pieces = stream(model, "PROMPT", tokenizer=tokenizer, **options)
    assert list(pieces) == ["a", "€", "bc"]


def test_what_is_no_text_is_replaced_as_decode_does(toys):
    model, tokenizer = _writer(toys, [b"a\xff", b"b\xe2\x82", b"c", b"\xf0\x9f"])
    options = {"max_new_tokens": 4}
    (whole,) = generate_text(model, tokenizer, "PROMPT", **options)
    assert whole == "a\ufffdb\ufffdc\ufffd"
    assert "".join(stream(model, "PROMPT", tokenizer=tokenizer, **options)) == whole


@given(st.binary(max_size=40), st.lists(st.integers(1, 5), min_size=40, max_size=40))
def test_property_pieces_join_to_what_decode_gives(data, sizes):
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    tokenizer = Pieces(chunks)
    pieces = TextPieces(tokenizer)
    out = [pieces.put([i]) for i in range(len(chunks))] + [pieces.end()]
    assert "".join(out) == data.decode("utf-8", "replace")


@given(
    st.text("ab", max_size=25),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 4),
)
def test_property_stop_strings(text, stops, size):
    """Streamed text is the text before the first stop string, however it is cut into tokens.

    (First of those that are complete with the same token: later ones are never written.)
    """
    tokenizer = Pieces(_split(text, size))
    pieces = TextPieces(tokenizer, stops)
    completed = StopStrings(tokenizer, stops)
    out, stopped_at = [], None
    for i in range(tokenizer.vocab_size):
        before = tokenizer.decode(range(i))
        out.append(pieces.put([i]))
        # Nothing is given out that could still turn out to be a stop string's beginning.
        assert "".join(out) == cut("".join(out), stops)
        if stopped_at is None and any(stop in tokenizer.decode(range(i + 1)) for stop in stops):
            stopped_at = i
            assert not any(stop in before for stop in stops)
        if stopped_at is None:
            assert not completed.completed_by(np.arange(i + 1))
        elif stopped_at == i:
            assert completed.completed_by(np.arange(i + 1))
    assert pieces.stopped == (stopped_at is not None)
    written = text if stopped_at is None else tokenizer.decode(range(stopped_at + 1))
    assert "".join([*out, pieces.end()]) == cut(written, stops)


def test_cut_takes_the_first_place_not_the_first_string():
    assert cut("one two three", ["three", "two"]) == "one "
    assert cut("one", ["x"]) == "one"
    assert cut("one", []) == "one"
    assert cut("one", ["o"]) == ""


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("stops", ["END", ["it", "END"], "€ f", ["👩‍🚀", "zzz"], "E"])
def test_generation_stops_at_a_stop_string_across_tokens(toys, size, stops):
    model, tokenizer = _writer(toys, _split(TEXT, size))
    options = {"max_new_tokens": 200, "stop_strings": stops, "tokenizer": tokenizer}
    expected = cut(TEXT, [stops] if isinstance(stops, str) else stops)
    assert expected != TEXT
    out = generate(model, tokenizer.encode("PROMPT"), **options)
    written = tokenizer.decode(out[0, 1:])
    first = written[len(expected) :]
    assert written.startswith(expected)
    assert any(stop in first for stop in ([stops] if isinstance(stops, str) else stops))
    without_last = tokenizer.decode_bytes(out[0, 1:-1])
    assert not any(
        stop.encode() in without_last for stop in ([stops] if isinstance(stops, str) else stops)
    ), "it could have stopped earlier"
    options.pop("tokenizer")
    assert generate_text(model, tokenizer, "PROMPT", **options) == [expected]
    pieces = stream(model, "PROMPT", tokenizer=tokenizer, **options)
    assert "".join(pieces) == expected


def test_a_stop_string_that_never_comes_is_no_reason_to_hold_back(toys):
    model, tokenizer = _writer(toys, [b"E", b"N", b"X", b"E"])
    options = {"max_new_tokens": 4, "stop_strings": "END", "tokenizer": tokenizer}
    assert list(stream(model, "PROMPT", **options)) == ["ENX", "E"]


def test_stop_strings_in_the_prompt_do_not_count(toys):
    model, tokenizer = _writer(toys, [b"a", b"b", b"PT"])
    options = {"max_new_tokens": 3, "stop_strings": ["PROMPT", "Ta"]}
    assert generate_text(model, tokenizer, "PROMPT", **options) == ["abPT"]


def test_stop_strings_end_beams_and_the_rows_of_a_batch(toys):
    model, tokenizer = _writer(toys, [b"a", b"b", b"c", b"d", b"e", b"f"])
    options = {"max_new_tokens": 6, "stop_strings": "de", "tokenizer": tokenizer}
    out = generate(model, [[0], [3]], pad_token_id=7, **options)
    assert out.tolist() == [[0, 1, 2, 3, 4, 5], [3, 4, 5, 7, 7, 7]]
    out = generate(model, [[0], [3]], pad_token_id=7, num_beams=2, **options)
    assert out.tolist() == [[0, 1, 2, 3, 4, 5], [3, 4, 5, 7, 7, 7]]


def test_several_prompts_and_several_texts(toys):
    tokenizer = Pieces([bytes([i]) for i in range(65, 75)])
    model = toys.TableModel(np.zeros((10, 10)))
    options = {"do_sample": True, "num_return_sequences": 3, "max_new_tokens": 5, "seed": 1}
    texts = generate_text(model, tokenizer, ["A", "B"], **options)
    assert len(set(texts)) == 6
    assert all(len(text) == 5 for text in texts)
    assert texts[3:] == generate_text(model, tokenizer, "B", **options)


def test_streamed_and_whole_texts_are_the_same_draw(toys):
    tokenizer = Pieces([bytes([i]) for i in range(65, 75)])
    model = toys.TableModel(np.zeros((10, 10)))
    options = {"do_sample": True, "max_new_tokens": 20, "seed": 1}
    whole = generate_text(model, tokenizer, "A", **options)
    assert ["".join(stream(model, "A", tokenizer=tokenizer, **options))] == whole
    ids = list(stream(model, [0], **options))
    assert tokenizer.decode(ids) == whole[0]
    assert np.array_equal(generate(model, [0], **options)[0, 1:], ids)


def test_streaming_does_its_work_step_by_step(toys):
    model = toys.TableModel(np.eye(4)[[1, 2, 3, 0]])
    calls = []
    logits = model.next_token_logits
    model.next_token_logits = lambda *a, **k: calls.append(1) or logits(*a, **k)
    tokens = stream(model, [0], max_new_tokens=1000)
    assert not calls
    assert [next(tokens), next(tokens)] == [1, 2]
    assert len(calls) == 2
    tokens.close()
    endless = stream(model, [0], max_new_tokens=10**8)  # costs nothing but address space
    assert next(endless) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, t: stream(m, "A"), TypeError, "prompt is a str; give the tokenizer"),
        (lambda m, t: stream(m, "", tokenizer=t), DataError, "prompt is empty"),
        (lambda m, t: stream(m, [[0], [1]]), ConfigError, "2 prompts are not accepted; use one"),
        (lambda m, t: stream(m, [0], num_beams=2), ConfigError, "num_beams=2 .* one text"),
        (
            lambda m, t: stream(m, [0], do_sample=True, num_return_sequences=2),
            ConfigError,
            "num_return_sequences=2 .* one text",
        ),
        (lambda m, t: stream(m, [0], top_p=3), ConfigError, "top_p=3"),
        (lambda m, t: stream(m, [0], tokenizer=object()), TypeError, "needs a tokenizer with"),
        (
            lambda m, t: generate(m, [0], stop_strings="a", tokenizer=object()),
            TypeError,
            "stop_strings need a tokenizer with decode_bytes",
        ),
        (lambda m, t: generate_text(m, t, ["A", ""]), DataError, "prompt is empty"),
    ],
)
def test_mistakes_are_raised_at_once(toys, call, error, message):
    tokenizer = Pieces([b"A", b"B", b"C"])
    with pytest.raises(error, match=message):
        call(toys.TableModel(np.zeros((3, 3))), tokenizer)


@pytest.mark.parametrize("skip_prompt", [False, True])
def test_the_text_streamer_prints_whole_characters(toys, skip_prompt):
    model, tokenizer = _writer(toys, [b"a", b"\xe2\x82", b"\xac", b"bc", b"\xe2"])
    file = io.StringIO()
    written = []
    file.write = lambda text, write=file.write: written.append(text) or write(text)
    streamer = TextStreamer(tokenizer, skip_prompt, file=file)
    prompt = "" if skip_prompt else "PROMPT"
    for _ in range(2):  # it can be used again
        generate(model, [0], max_new_tokens=5, streamer=streamer)
    assert file.getvalue() == 2 * (prompt + "a€bc\ufffd\n")
    assert "€" in written
    with pytest.raises(ValueError, match="2 texts are not accepted"):
        generate(model, [[0], [1]], max_new_tokens=5, streamer=streamer)


def test_the_text_streamer_prints_to_the_terminal(toys, capsys):
    model, tokenizer = _writer(toys, [b"x", b"y"])
    generate(model, [0], max_new_tokens=2, streamer=TextStreamer(tokenizer))
    assert capsys.readouterr().out == "PROMPTxy\n"


def test_byte_level_bpe(toys):
    """The real tokenizer: characters that span tokens, and its end mark, which is not text."""
    pytest.importorskip("regex")
    from tinygrad_llm.tokenizers import Tokenizer

    tokenizer = Tokenizer.train("aaabdaaabac" * 3, 260, ["<|end|>"])
    end = tokenizer.special_tokens["<|end|>"]
    ids = [*tokenizer.encode("aaab 👩‍🚀€ac"), end]
    n = tokenizer.vocab_size
    prompt = tokenizer.encode("Q")[0]

    class Writer:
        def next_token_logits(self, input_ids, **_):
            return np.eye(n)[[ids[input_ids.shape[1] - 1]]] * 99

    text = "aaab 👩‍🚀€ac"
    options = {"max_new_tokens": 100, "eos_token_id": end}
    assert generate_text(Writer(), tokenizer, "Q", **options) == [text]
    pieces = list(stream(Writer(), "Q", tokenizer=tokenizer, **options))
    assert "".join(pieces) == text
    assert "👩" in pieces
    out = generate(Writer(), [prompt], **options)
    assert out[0, 1:].tolist() == ids
    options["stop_strings"] = "🚀"
    assert generate_text(Writer(), tokenizer, "Q", **options) == ["aaab 👩‍"]
