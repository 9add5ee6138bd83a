import json

import pytest

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers import Tokenizer, load
from tinygrad_llm.tokenizers.gpt2_form import byte_alphabet, spell, unspell

END = "<|endoftext|>"


def test_byte_alphabet():
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert [alphabet[b] for b in b"A~!"] == ["A", "~", "!"]
    assert alphabet[0] == "\u0100"
    assert alphabet[ord(" ")] == "\u0120"
    assert alphabet[ord("\n")] == "\u010a"
    assert alphabet[0x7F] == "\u0121"
    assert alphabet[0xA1] == "\xa1"
    assert alphabet[0xAD] == "\u0143"  # the soft hyphen is not visible
    assert alphabet[0xFF] == "\xff"


def test_spelling():
    every = bytes(range(256))
    assert spell(b" the") == "\u0120the"
    assert unspell(spell(every), "here") == every
    with pytest.raises(TokenizerError, match=r"^here: 'a b' has ' ' \(U\+0020\)"):
        unspell("a b", "here")


class TestGpt2Itself:
    """The files of OpenAI's release, where the data folder is there."""

    def test_from_files(self, gpt2_files):
        tokenizer = Tokenizer.from_files(*gpt2_files)
        assert tokenizer.vocab_size == 50257
        assert len(tokenizer.merges) == 50000
        assert tokenizer.special_tokens == {}
        # The example of the GPT-2 documentation of everybody.
        assert tokenizer.encode("Hello world") == [15496, 995]
        assert tokenizer.vocab[15496] == b"Hello"
        assert len(tokenizer.encode(END)) > 1

    def test_special_token(self, gpt2_files):
        tokenizer = Tokenizer.from_files(*gpt2_files, [END])
        assert tokenizer.special_tokens == {END: 50256}
        assert tokenizer.encode(f"Hello{END} world") == [15496, 50256, 995]
        assert Tokenizer.from_files(*gpt2_files, [END, "<new>"]).encode("<new>") == [50257]

    def test_folder_knows_its_special_token(self, gpt2):
        assert gpt2.special_tokens == {END: 50256}

    def test_all_tokens_come_back(self, gpt2):
        for token_id, token in gpt2.vocab.items():
            assert gpt2.decode_bytes([token_id]) == token
        ids = list(gpt2.vocab)
        assert gpt2.decode_bytes(ids) == b"".join(gpt2.vocab.values())

    def test_written_as_read(self, gpt2, gpt2_files, tmp_path):
        gpt2.save(tmp_path)
        theirs, ours = (
            json.loads(p.read_text("utf-8")) for p in (gpt2_files[0], tmp_path / "vocab.json")
        )
        assert ours == theirs
        # Theirs has another number of spaces nowhere: only the line end at the end may differ.
        merges = (tmp_path / "merges.txt").read_text("utf-8")
        assert merges.strip("\n") == gpt2_files[1].read_text("utf-8").strip("\n")


@pytest.fixture
def files(tmp_path):
    """A good pair of files: the bytes, "th", "the", " the", <|endoftext|>."""
    vocab = {char: byte for byte, char in enumerate(byte_alphabet())}
    vocab |= {"th": 256, "the": 257, "\u0120the": 258, END: 259}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    merges = "#version: 0.2\nt h\nth e\n\u0120 the\n"
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    return tmp_path / "vocab.json", tmp_path / "merges.txt"


def change(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def test_good_files(files):
    tokenizer = Tokenizer.from_files(*map(str, files), special_tokens=[END])
    assert tokenizer.merges == [(b"t", b"h"), (b"th", b"e"), (b" ", b"the")]
    assert tokenizer.encode(f"the the{END}") == [257, 258, 259]
    assert load(files[0].parent).encode(END) == [259]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n", "\r\n"),  # a copy made on Windows
        ("#version: 0.2\n", ""),
        ("the\n", "the\n\n\n"),
        ("the\n", "the"),
    ],
)
def test_unusual_but_good_merges(files, old, new):
    expected = Tokenizer.from_files(*files).merges
    change(files[1], old, new)
    assert Tokenizer.from_files(*files).merges == expected


def test_a_merge_of_hash_signs_is_no_header(files):
    change(files[0], '"th": 256', '"th": 256, "##": 260')
    change(files[1], "#version: 0.2\n", "# #\n")
    assert Tokenizer.from_files(*files).merges[0] == (b"#", b"#")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("th e", "the", r"merges\.txt, line 3: 'the' is not a merge"),
        ("th e", "t h e", r"merges\.txt, line 3: 't h e' is not a merge"),
        ("th e", "", r"merges\.txt, line 3: '' is not a merge"),
        ("th e", "th ", r"merges\.txt, line 3: 'th ' is not a merge"),
        ("th e", "th\u4e2d e", r"merges\.txt, line 3: .*U\+4E2D"),
        ("th e", "tx e", r"merges\.txt, line 3: .*'tx'"),
        ("th e", "th x", r"merges\.txt, line 3: .*'thx'"),
        ("th e", "th e\nt h", r"merges\[2\] is .* as merges\[0\]"),
        ("\u0120 the\n", "", r"merges\.txt: no merge makes 1 .*'\u0120the', id 258.* cut short"),
        ("\nth e\n\u0120 the\n", "", r"merges\.txt: no merge makes 2 .*'the', id 257.* cut short"),
        ("th e\n\u0120 the\n", "th", r"merges\.txt, line 3: 'th' is not a merge"),
    ],
)
def test_bad_merges(files, old, new, says):
    change(files[1], old, new)
    with pytest.raises(TokenizerError, match=says):
        Tokenizer.from_files(*files)


def test_what_no_merge_makes_may_be_declared_special(files):
    change(files[0], END, "madeupword0000")
    with pytest.raises(TokenizerError, match=r"madeupword0000.*give them in special_tokens"):
        Tokenizer.from_files(*files)
    assert Tokenizer.from_files(*files, ["madeupword0000"]).encode("madeupword0000") == [259]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('": 259}', '": 25', r"vocab\.json: not valid JSON, or cut short .*line 1"),
        ('"th": 256', '"th": "256"', r"vocab\.json: token 'th' has the id '256'"),
        ('"th": 256', '"th": -1', r"vocab\.json: token 'th' has the id -1"),
        ('"th": 256', '"th": true', r"vocab\.json: token 'th' has the id True"),
        ('"th": 256', '"th": 257', r"vocab\.json: the id 257 belongs to .* b'th' and b'the'"),
        ('"th": 256', '"t h": 256', r"vocab\.json: 't h' has ' ' \(U\+0020\)"),
        ('"A": 65, ', "", r"1 of the 256 single bytes .*0x41"),
    ],
)
def test_bad_vocab(files, old, new, says):
    change(files[0], old, new)
    with pytest.raises(TokenizerError, match=says):
        Tokenizer.from_files(*files)


@pytest.mark.parametrize("which", [0, 1])
def test_files_that_are_none(files, which):
    path = files[which]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TokenizerError, match=rf"{path.name}: not UTF-8 text"):
        Tokenizer.from_files(*files)
    path.unlink()
    with pytest.raises(TokenizerError, match=rf"{path.name}: cannot be read \(No such file"):
        Tokenizer.from_files(*files)
    with pytest.raises(TokenizerError, match=rf"{path.name}: cannot be read"):
        load(path.parent)


@pytest.mark.parametrize("content", ["[]", '"text"', "3", "null"])
def test_vocab_that_is_no_object(files, content):
    files[0].write_text(content)
    with pytest.raises(TokenizerError, match="JSON object"):
        Tokenizer.from_files(*files)


def test_empty_files(files):
    files[1].write_text("")
    with pytest.raises(TokenizerError, match=r"no merge makes 3 of the tokens"):
        Tokenizer.from_files(*files)
    files[0].write_text("")
    with pytest.raises(TokenizerError, match="not valid JSON"):
        Tokenizer.from_files(*files)


def test_special_tokens_outside_the_byte_alphabet(files):
    change(files[0], "<|endoftext|>", "<\uff5cfin du texte\uff5c>")
    with pytest.raises(TokenizerError, match="give it in special_tokens"):
        Tokenizer.from_files(*files)
    tokenizer = Tokenizer.from_files(*files, ["<\uff5cfin du texte\uff5c>"])
    assert tokenizer.encode("<\uff5cfin du texte\uff5c>") == [259]
    # "é" is in the byte alphabet, where it is the byte 0xE9; declared, it is the character.
    change(files[0], '"th": 256', '"th": 256, "\u00e9\u00e9": 260')
    tokenizer = Tokenizer.from_files(*files, ["<\uff5cfin du texte\uff5c>", "\u00e9\u00e9"])
    assert tokenizer.vocab[260] == "\u00e9\u00e9".encode()


def test_added_tokens_file(files):
    added = {"<pad>": 260, "<mask>": 261}
    (files[0].parent / "added_tokens.json").write_text(json.dumps(added))
    tokenizer = load(files[0].parent)
    assert tokenizer.special_tokens == {**added, END: 259}
    assert tokenizer.encode("<mask>the") == [261, 257]
    for bad in ("[]", '{"<new>": "5"}', '{"<new>": 3}', '{"": 300}', '{"<n'):
        (files[0].parent / "added_tokens.json").write_text(bad)
        with pytest.raises(TokenizerError):
            load(files[0].parent)
