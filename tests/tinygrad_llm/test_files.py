"""A failed write keeps the old file; a good one has the usual permissions and no leftovers."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from tinygrad_llm.files import atomic_write, sha256_of, write_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_text_and_bytes(tmp_path):
    with atomic_write(tmp_path / "new" / "folder" / "a.txt") as file:
        file.write("é\r\nß\n")
    assert (tmp_path / "new" / "folder" / "a.txt").read_bytes() == "é\r\nß\n".encode()
    with atomic_write(tmp_path / "a.bin", "wb") as file:
        file.write(b"12345")
        file.seek(1)  # a header can be filled in at the end
        file.write(b"x")
    assert (tmp_path / "a.bin").read_bytes() == b"1x345"


@pytest.mark.parametrize(
    "error", [ValueError("mistake"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()]
)
def test_a_failed_write_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_write(path) as file:  # noqa: PT012
        file.write("half of the n")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_stands_until_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Unix signals")
def test_a_killed_process_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import sys, time\nfrom tinygrad_llm.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write('half'); file.flush(); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="Unix permissions")
def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a.txt") as file:
            file.write("a")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_only_two_modes(tmp_path):
    with pytest.raises(ValueError, match="mode='a' is not accepted"), atomic_write("a", "a"):
        pass


def test_write_json(tmp_path):
    write_json(tmp_path / "a.json", {"straße": [1, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"straße": [1, None]}
    assert "straße" in text
    assert text.endswith("}\n")
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == text


def test_sha256_of(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    (tmp_path / "empty").touch()
    # The well-known digest of no bytes at all.
    assert sha256_of(tmp_path / "empty").startswith("e3b0c44298fc1c149afb")
