"""Texts by name, file and folder; and for everything that is no text, what is wrong and where."""

import hashlib
import os
import subprocess
import sys

import pytest

from tinygrad_llm.data import corpora, iter_text, load_text
from tinygrad_llm.data import text as room
from tinygrad_llm.data.text import text_files
from tinygrad_llm.errors import DataError, FetchError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_file_comes_as_it_is(tmp_path):
    path = tmp_path / "a.txt"
    content = "Fußgänger\r\nsay “hi”\n\n\t日本語 🙂 end"
    path.write_bytes(content.encode())
    assert load_text(path) == content
    assert load_text(str(path)) == content
    path.write_bytes(b"\xef\xbb\xbf" + content.encode())  # the mark of Windows editors
    assert load_text(path) == content


def test_pieces_may_cut_characters_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_BLOCK", 3)
    path = tmp_path / "a.txt"
    content = "aé日🙂" * 50
    path.write_bytes(content.encode())
    pieces = list(iter_text(path))
    assert "".join(pieces) == content
    assert len(pieces) > 100
    assert all(pieces)


def test_only_the_first_mark_is_dropped_and_only_all_blank_is_blank(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_BLOCK", 3)
    path = tmp_path / "a.txt"
    content = "abc\ufeff" + " " * 20
    path.write_bytes(content.encode())
    assert load_text(path) == content


def test_a_folder_is_its_text_files_in_order(tmp_path):
    for name, content in {
        "b.txt": "b",
        "a/z.md": "z\n",
        "a/b.py": "pass",
        "c.TXT": "c",
        "picture.png": "\0",
        ".hidden.txt": "hidden",
        ".git/a.txt": "hidden",
        "a-b.txt": "ab",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    if os.name != "nt":
        (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in text_files(tmp_path)]
    assert found == ["a/b.py", "a/z.md", "a-b.txt", "b.txt", "c.TXT"]
    assert load_text(tmp_path) == "pass\nz\nab\nb\nc"


def test_memory_stays_bounded(tmp_path):
    path = tmp_path / "large.txt"
    path.write_bytes("0123456789abcdeß\n".encode() * 1_500_000)  # 27 MB, 25.5 M characters
    code = (
        "import sys, tracemalloc\nfrom tinygrad_llm.data import iter_text\n"
        "tracemalloc.start()\n"
        "print(sum(len(p) for p in iter_text(sys.argv[1])), tracemalloc.get_traced_memory()[1])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=60
    )
    characters, peak = map(int, result.stdout.split())
    assert characters == 17 * 1_500_000
    assert peak < 12_000_000  # three megabytes of bytes, and text at two bytes a character


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b" \n\t\n", "holds nothing but white space"),
        (b"abc\0def", "is a binary file, not text: byte 3 is zero"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a binary file, not text: byte 8 is zero"),
        (b"a" * 100_000 + b"\0", "is a binary file, not text"),
        ("hällo".encode("latin-1"), r"not UTF-8 text \(byte 0xe4 at offset 1\)"),
        ("ß".encode() * 40_000 + b"\xff", r"byte 0xff at offset 80000\b"),
        ("abc🙂".encode()[:-1], r"byte 0xf0 at offset 3\b"),
        ("hello".encode("utf-16"), "is UTF-16. Save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_text(path)
    assert str(path) in str(caught.value)


def test_a_bad_file_in_a_folder_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("good")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"b\.txt: not UTF-8"):
        load_text(tmp_path)


def test_a_folder_without_text(tmp_path):
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(DataError, match=r"has no text files; these count as text: .*\.md"):
        load_text(tmp_path)


def test_missing_names_suggest_what_is_there(tmp_path, monkeypatch):
    (tmp_path / "corpus.txt").write_text("x")
    with pytest.raises(DataError, match=r"does not exist; did you mean 'corpus.txt'"):
        load_text(tmp_path / "copus.txt")
    with pytest.raises(DataError, match=r"neither does the folder .*nowhere"):
        load_text(tmp_path / "nowhere" / "a.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="did you mean 'tinyshakespeare'"):
        load_text("tiny_shakespeare")
    with pytest.raises(DataError, match="did you mean 'corpus.txt'"):
        load_text("corpus")
    with pytest.raises(DataError, match="neither a corpus nor a file here. Corpora: default"):
        load_text("qqqq")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(DataError, match="cannot read"):
        load_text(path)


def test_a_read_error_is_a_data_error(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*a.txt: Permission denied"):
        load_text(tmp_path / "a.txt")


def test_the_default_corpus():
    text = load_text("default")
    assert 400_000 < len(text) < 1_000_000
    assert load_text("default") == text
    paragraphs = [" ".join(part.split()) for part in text[: int(len(text) * 0.9)].split("\n\n")]
    training = {part for part in paragraphs if len(part) > 40}
    held_out = [" ".join(part.split()) for part in text[int(len(text) * 0.9) :].split("\n\n")]
    assert len(held_out) > 100
    # Nothing that is held out for validation was there in training; underlined headings are no
    # paragraphs (from Python 3.13 on, the topic that the cut goes through has two of them twice).
    prose = [part for part in held_out[1:] if not part.endswith(("~~", "--", "=="))]
    assert not training.intersection(prose)


def test_the_default_corpus_does_not_depend_on_hashing():
    code = (
        "import hashlib\nfrom tinygrad_llm.data import load_text\n"
        "print(hashlib.sha256(load_text('default').encode()).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {hashlib.sha256(load_text("default").encode()).hexdigest() + "\n"}


def test_a_python_without_the_default_corpus(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match="comes without pydoc_data"):
        load_text("default")


def test_the_standard_library():
    text = load_text("stdlib")
    assert len(text) > 5_000_000
    assert "def hexdigest" in text or "class OrderedDict" in text


def test_tiny_shakespeare_by_name():
    if not os.environ.get("TINYGRAD_LLM_DATA"):
        pytest.skip("TINYGRAD_LLM_DATA is not set")
    text = load_text("tinyshakespeare")
    assert len(text) == 1_115_394  # as nanoGPT's README has it
    assert text.startswith("First Citizen:\nBefore we proceed any further")
    assert len(set(text)) == 65


def test_tiny_shakespeare_without_a_network(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGRAD_LLM_DATA", raising=False)
    # A proxy that nobody answers at stands for no network.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("tinygrad_llm.fetch.time.sleep", lambda seconds: None)
    with pytest.raises(FetchError, match=r"put the file by hand at .*tinyshakespeare.input\.txt"):
        load_text("tinyshakespeare")


def test_names_go_before_files_but_paths_do_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").write_text("mine")
    assert load_text("./default") == "mine"
    assert load_text("default") != "mine"
    assert load_text(tmp_path / "default") == "mine"
    assert corpora.names()[0] == "default"
