import json

import pytest

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers import GPT2_PATTERN, BaseTokenizer, CharTokenizer, Tokenizer, load
from tinygrad_llm.tokenizers.split import Splitter

END = "<|endoftext|>"


def assert_same(a, b):
    assert type(a) is type(b)
    assert a.vocab == b.vocab
    assert a.special_tokens == b.special_tokens


@pytest.mark.parametrize(
    ("characters", "unk"),
    [('ba\n\u00e9\U0001f600"\\ ', None), ("ab", "<unk>"), ("?ab", "?"), (["<u>", "a"], "<u>")],
)
def test_characters(tmp_path, characters, unk):
    tokenizer = CharTokenizer(characters, unk)
    tokenizer.save(tmp_path)
    copy = load(tmp_path)
    assert_same(copy, tokenizer)
    assert (copy.characters, copy.unk) == (tokenizer.characters, unk)


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, r"\w+|\W", r"[\s\S]+"])
@pytest.mark.parametrize("special", [[], [END], [END, "<\uff5cp q\uff5c>", "\u4e2d"]])
def test_bpe(tmp_path, english, pattern, special):
    tokenizer = Tokenizer.train(english[:5000], 300, special, pattern)
    tokenizer.save(str(tmp_path / "new" / "folder"))
    copy = load(tmp_path / "new" / "folder")
    assert_same(copy, tokenizer)
    assert (copy.merges, copy.pattern) == (tokenizer.merges, pattern)
    text = english[5000:6000] + "".join(special)
    assert copy.encode(text) == tokenizer.encode(text)


def test_bpe_by_its_pair_of_files(tmp_path, small, english):
    small.save(tmp_path)
    copy = Tokenizer.from_files(
        tmp_path / "vocab.json", tmp_path / "merges.txt", list(small.special_tokens)
    )
    assert_same(copy, small)
    (tmp_path / "tokenizer.json").unlink()
    assert_same(load(tmp_path), small)


def test_special_ids_anywhere(tmp_path):
    vocab = {i + 2: bytes([i]) for i in range(256)}
    tokenizer = Tokenizer(vocab, [], {"<s>": 0, "<pad>": 1, "</s>": 700})
    tokenizer.save(tmp_path)
    assert_same(load(tmp_path), tokenizer)
    assert load(tmp_path).encode("<s>a</s>") == [0, 99, 700]


def test_file_itself_may_be_named(tmp_path, small):
    small.save(tmp_path)
    assert_same(load(tmp_path / "tokenizer.json"), small)


def test_saving_again_replaces(tmp_path, small):
    small.save(tmp_path)
    CharTokenizer.train("abc").save(tmp_path)
    assert isinstance(load(tmp_path), CharTokenizer)


def test_a_failed_save_leaves_the_old_one(tmp_path, small, monkeypatch):
    small.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        Tokenizer.train("other text", 257).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_special_token_spelled_like_a_byte(tmp_path):
    tokenizer = Tokenizer({i: bytes([i]) for i in range(256)}, [], ["\u00e9"])
    with pytest.raises(TokenizerError, match="ids 233 and 256 would both be written '\xe9'"):
        tokenizer.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_not_into_a_file(tmp_path, small):
    (tmp_path / "file").touch()
    with pytest.raises(TokenizerError, match="is a file"):
        small.save(tmp_path / "file")


def test_a_kind_without_a_file_form(tmp_path):
    class Student(BaseTokenizer):
        def __init__(self):
            super().__init__({0: b"a"}, {})

        def encode(self, text):
            return [0] * len(text)

        def encode_iterable(self, texts):
            yield from (token_id for text in texts for token_id in self.encode(text))

    assert Student().decode([0, 0]) == "aa"
    with pytest.raises(TypeError, match="Student"):
        Student().save(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_folder_without_a_tokenizer(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenizerError, match=rf"{name} holds no tokenizer; tokenizer\.json or "):
        load(tmp_path / name)


def edited(tmp_path, tokenizer, edit):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return load(tmp_path)


def test_merges_as_lists(tmp_path, small):
    def edit(content):
        content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]

    assert edited(tmp_path, small, edit).merges == small.merges


def test_split_by_a_regex_of_the_file(tmp_path, small):
    def edit(content):
        content["pre_tokenizer"] = {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": r"\d|\D+"},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }

    tokenizer = edited(tmp_path, small, edit)
    assert tokenizer.pattern == r"\d|\D+"
    assert list(Splitter(tokenizer.pattern, []).split("ab c12")) == [(["ab c", "1", "2"], None)]


def test_no_split_at_all(tmp_path, small):
    tokenizer = edited(
        tmp_path, small, lambda c: c.update(pre_tokenizer=byte_level(use_regex=False))
    )
    assert list(Splitter(tokenizer.pattern, []).split("a b\n c")) == [(["a b\n c"], None)]


def test_as_old_versions_wrote_it(tmp_path, small):
    def edit(content):
        del content["model"]["type"], content["model"]["ignore_merges"]
        content["pre_tokenizer"] = byte_level()
        content["post_processor"] = byte_level(trim_offsets=False)
        content["decoder"] = byte_level(add_prefix_space=True)

    tokenizer = edited(tmp_path, small, edit)
    assert_same(tokenizer, small)
    assert tokenizer.pattern == GPT2_PATTERN


def byte_level(**changes):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, **changes}


BAD = {
    "prefix space": (
        lambda c: c.update(pre_tokenizer=byte_level(add_prefix_space=True)),
        "add_prefix_space=True is not supported",
    ),
    "no pre-tokenizer": (lambda c: c.update(pre_tokenizer=None), r"\[None\] cannot be read"),
    "other pre-tokenizer": (
        lambda c: c.update(pre_tokenizer={"type": "Metaspace"}),
        "Metaspace.* cannot be read",
    ),
    "normalizer": (lambda c: c.update(normalizer={"type": "NFC"}), "normalizer=.*NFC"),
    "dropout": (lambda c: c["model"].update(dropout=0.1), "dropout=0.1"),
    "prefix": (lambda c: c["model"].update(continuing_subword_prefix="##"), "prefix='##'"),
    "suffix": (lambda c: c["model"].update(end_of_word_suffix="</w>"), "suffix='</w>'"),
    "ignore_merges": (lambda c: c["model"].update(ignore_merges=True), "ignore_merges=True"),
    "lstrip": (
        lambda c: c["added_tokens"][0].update(lstrip=True),
        r"added_tokens\[0\] \('<\|endoftext\|>'\): lstrip=True",
    ),
    "added token without id": (lambda c: c["added_tokens"][1].pop("id"), r"added_tokens\[1\]"),
    "added token with another's id": (
        lambda c: c["added_tokens"][1].update(id=97),
        r"id 97 was given to '<\|pad\|>'",
    ),
    "broken merge": (
        lambda c: c["model"]["merges"].insert(7, "a"),
        r"model\.merges\[7\]: 'a' is not a merge",
    ),
    "merge of three": (
        lambda c: c["model"]["merges"].insert(7, ["a", "b", "c"]),
        r"model\.merges\[7\]: .* is not a merge",
    ),
    "unknown part": (
        lambda c: c["model"]["merges"].append("\u00ff \u00ff"),
        r": merges\[242\] .* not in the vocabulary",
    ),
    "no vocabulary": (lambda c: c["model"].pop("vocab"), "model: vocab must be an object"),
    "no merges": (lambda c: c["model"].pop("merges"), "model: merges must be a list"),
    "other kind": (lambda c: c["model"].update(type="Unigram"), "kind 'Unigram'.*'BPE'"),
    "no kind": (lambda c: [c["model"].pop("type"), c["model"].pop("merges")], "kind None"),
    "no model": (lambda c: c.pop("model"), 'no "model"'),
    "bad id": (lambda c: c["model"]["vocab"].update(a="1"), "token 'a' has the id '1'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tokenizer_json(tmp_path, small, name):
    edit, says = BAD[name]
    with pytest.raises(TokenizerError, match=rf"tokenizer\.json.*{says}"):
        edited(tmp_path, small, edit)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda c: c["model"]["vocab"].update(a=5), "ids 0 to 2 are expected"),
        (lambda c: c["model"]["vocab"].update(ab=3), r"characters\[3\] is 'ab'"),
        (lambda c: c["model"].update(vocab=[]), "model: vocab must be an object"),
        (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "only characters"),
    ],
)
def test_bad_character_file(tmp_path, edit, says):
    with pytest.raises(TokenizerError, match=rf"tokenizer\.json.*{says}"):
        edited(tmp_path, CharTokenizer("abc"), edit)


def places(content, path=()):
    """The path of every value in a JSON document, a few of each long list or object."""
    yield path
    if isinstance(content, dict):
        for key in list(content)[:12]:
            yield from places(content[key], (*path, key))
    elif isinstance(content, list):
        for i in range(min(len(content), 3)):
            yield from places(content[i], (*path, i))


@pytest.mark.parametrize("kind", ["bpe", "characters"])
@pytest.mark.parametrize("junk", [None, -1, 1.5, True, "", "x y", [], [1], {}, {"type": 3}])
def test_no_junk_in_a_file_escapes_as_another_error(tmp_path, english, kind, junk):
    if kind == "bpe":
        tokenizer = Tokenizer.train(english[:500], 260, [END], r"\w+|\W")
    else:
        tokenizer = CharTokenizer("ab", "<unk>")
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    good = path.read_text("utf-8")
    refused = 0
    for place in places(json.loads(good)):
        content = {"all": json.loads(good)}
        *parents, last = ("all", *place)
        parent = content
        for key in parents:
            parent = parent[key]
        parent[last] = junk
        path.write_text(json.dumps(content["all"]), encoding="utf-8")
        try:
            load(tmp_path)
        except TokenizerError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize("keep", [0, 1, 100, 2000])
def test_cut_short(tmp_path, small, keep):
    small.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not valid JSON, or cut short"):
        load(tmp_path)
