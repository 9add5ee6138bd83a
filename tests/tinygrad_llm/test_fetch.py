"""fetch against a loopback server that can cut, alter, refuse and ignore ranges."""

import errno
import hashlib
import io
import random
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinygrad_llm import fetch as room
from tinygrad_llm.errors import FetchError
from tinygrad_llm.fetch import cache_folder, fetch, find_local, progress_bar

CONTENT = random.Random(0).randbytes(300_007)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "set/a.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(self.headers["Range"])
        action = server.actions.pop(0) if server.actions else "ok"
        if isinstance(action, int):
            self.send_error(action)
            return
        content = server.content
        start = 0
        if self.headers["Range"] and action != "no ranges":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            shown = start + 1 if action == "other range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        if action != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if action == "cut":
            body = body[: len(body) // 2]
        if action == "alter":
            body = b"?" + body[1:]
        self.wfile.write(body)
        if action == "hang":
            server.released.wait(10)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYGRAD_LLM_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(room.time, "sleep", lambda seconds: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.actions, server.requests = CONTENT, [], []
    server.released = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/a.bin"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_downloads_once(server, tmp_path):
    seen = []
    path = fetch(
        server.url, SHA256.upper(), NAME, progress=lambda done, total: seen.append((done, total))
    )
    assert path == tmp_path / "cache" / "set" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert files(tmp_path) == ["cache/set/a.bin"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert fetch(server.url, SHA256, NAME) == path
    assert server.requests == [None]


def test_a_cut_connection_is_resumed(server):
    server.actions = ["cut", "cut"]
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    three_quarters = half + (len(CONTENT) - half) // 2
    assert server.requests == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_the_next_call_goes_on_where_the_last_stopped(server, tmp_path):
    server.actions = ["cut"]
    with pytest.raises(FetchError, match="the connection ended after 150,003 of 300,007 bytes"):
        fetch(server.url, SHA256, NAME, attempts=1)
    assert files(tmp_path) == ["cache/set/a.bin.part"]
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=150003-"]
    assert files(tmp_path) == ["cache/set/a.bin"]


def test_ctrl_c_keeps_what_has_arrived(server, tmp_path):
    def interrupt(done, total):
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.url, SHA256, NAME, progress=interrupt)
    size = (tmp_path / "cache" / "set" / "a.bin.part").stat().st_size
    assert 100_000 < size < len(CONTENT)
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={size}-"]


def test_a_server_without_ranges_sends_all(server):
    server.actions = ["cut", "no ranges"]
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_server_that_sends_another_range_is_not_believed(server):
    server.actions = ["cut", "other range", "ok"]
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT


def test_a_server_that_says_no_length(server):
    server.actions = ["no length"]
    seen = []
    fetch(server.url, SHA256, NAME, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), None)


def test_a_wrong_checksum_keeps_nothing_and_is_not_asked_for_again(server, tmp_path):
    server.actions = ["alter"]
    with pytest.raises(FetchError, match="what arrived has sha256") as caught:
        fetch(server.url, SHA256, NAME)
    assert f"expected sha256 {SHA256}" in str(caught.value)
    assert files(tmp_path) == []
    assert len(server.requests) == 1


def test_a_spoiled_part_is_thrown_away(server, tmp_path):
    part = tmp_path / "cache" / "set" / "a.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not the beginning of it")
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT
    assert server.requests == ["bytes=23-", None]


@pytest.mark.parametrize("more", [0, 5])
def test_a_part_that_is_complete_or_too_long(server, tmp_path, more):
    part = tmp_path / "cache" / "set" / "a.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + bytes(more))
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT
    assert len(server.requests) == (2 if more else 1)


def test_without_a_checksum(server, tmp_path):
    part = tmp_path / "cache" / "set" / "a.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"too long")
    assert fetch(server.url, None, NAME).read_bytes() == CONTENT


def test_missing_is_said_at_once(server, tmp_path):
    server.actions = [404]
    with pytest.raises(FetchError, match="the server answered 404") as caught:
        fetch(server.url, SHA256, NAME)
    assert str(tmp_path / "cache" / "set" / "a.bin") in str(caught.value)
    assert len(server.requests) == 1
    assert files(tmp_path) == []


def test_a_busy_server_is_asked_again_but_not_for_ever(server):
    server.actions = [503, 429, "ok"]
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT
    server.actions = [500] * 9
    with pytest.raises(FetchError, match="the server answered 500"):
        fetch(server.url, SHA256, "set/b.bin", attempts=3)
    assert len(server.requests) == 6


def test_a_server_that_stalls_is_given_up(server, tmp_path):
    server.content = CONTENT[:1000]
    server.actions = ["hang"]
    # All bytes are there when the server stalls: the length says so, and nobody waits for it.
    fetch(server.url, None, NAME, timeout=5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        start = time.monotonic()
        with pytest.raises(FetchError, match="no connection"):
            fetch(url, SHA256, "set/c.bin", timeout=0.1, attempts=2)
        assert time.monotonic() - start < 10


def test_no_server(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.bin"
    with pytest.raises(FetchError) as caught:
        fetch(url, SHA256, NAME)
    path = tmp_path / "cache" / "set" / "a.bin"
    message = str(caught.value)
    assert "no connection" in message
    assert url in message
    assert f"put the file by hand at {path} (expected sha256 {SHA256})" in message
    path.write_bytes(CONTENT)  # as told
    assert fetch(url, SHA256, NAME) == path


def test_the_data_folder_comes_first_and_is_checked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(tmp_path / "mine"))
    local = tmp_path / "mine" / "set" / "a.bin"
    local.parent.mkdir(parents=True)
    local.write_bytes(CONTENT)
    assert fetch(server.url, SHA256, NAME) == local
    assert server.requests == []
    local.write_bytes(CONTENT[:-1])
    with pytest.raises(FetchError, match="is not the file that was published") as caught:
        fetch(server.url, SHA256, NAME)
    assert str(local) in str(caught.value)
    assert SHA256 in str(caught.value)
    assert local.read_bytes() == CONTENT[:-1]


def test_an_altered_file_in_the_cache_is_fetched_again(server, tmp_path):
    path = fetch(server.url, SHA256, NAME)
    path.write_bytes(b"altered")
    assert find_local(NAME, SHA256) is None
    assert fetch(server.url, SHA256, NAME).read_bytes() == CONTENT


def test_two_downloads_at_once(server, tmp_path):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(server.url, SHA256, NAME)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 4
    assert results[0].read_bytes() == CONTENT
    assert files(tmp_path) == ["cache/set/a.bin"]


def test_a_full_disk(server, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room, "_copy", full)
    with pytest.raises(FetchError, match="the disk is full. Set TINYGRAD_LLM_CACHE"):
        fetch(server.url, SHA256, NAME)


def test_a_cache_that_cannot_be_made(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FetchError, match="cannot write"):
        fetch(server.url, SHA256, NAME)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "C:\\a", "a\\b"])
def test_names_stay_below_the_cache(server, name):
    with pytest.raises(ValueError, match="name="):
        fetch(server.url, SHA256, name)


def test_mistakes_in_arguments(server):
    with pytest.raises(ValueError, match="url='file:///etc/passwd'"):
        fetch("file:///etc/passwd", SHA256, NAME)
    with pytest.raises(ValueError, match="sha256='abc'"):
        fetch(server.url, "abc", NAME)
    with pytest.raises(ValueError, match="attempts=0"):
        fetch(server.url, SHA256, NAME, attempts=0)


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGRAD_LLM_CACHE", raising=False)
    monkeypatch.setattr(room.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tinygrad_llm"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr(room.Path, "home", lambda: tmp_path / "home")
    assert cache_folder() == tmp_path / "home" / ".cache" / "tinygrad_llm"
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"


def test_progress_is_one_plain_line_off_a_terminal(server, capsys):
    fetch(server.url, SHA256, NAME, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "fetched a.bin: 300,007 bytes\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(room.sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("a.bin") as report:
        report(0, None)
        report(500, 1000)
        report(1000, 1000)
    assert "fetching a.bin" in screen.getvalue()
    assert "1.0/1.0 kB" in screen.getvalue()
