"""Downloads from hosts that stall, are slow, close the connection or send wrong bytes; killed processes."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import nnjax
from nnjax.data import _download, _sources
from nnjax.data._archives import FILES, URLS
from nnjax.data._builders import MnistFamily
from nnjax.data._download import Expected, fetch, is_reachable

CONTENT = np.random.default_rng(0).bytes(100_000)
EXPECTED = Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Host(ThreadingHTTPServer):
    """A server whose first requests fail as `failures` define, one after the other; all others succeed."""

    def __init__(self, content=lambda name: CONTENT):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.failures, self.requests, self.closing = content, [], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """Ignores clients that close the connection."""


class Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self):
        self.server.requests.append(self.path[1:])
        respond = self.server.failures.pop(0) if self.server.failures else succeed
        respond(self, self.server.content(self.path[1:]))

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.flush()

    def trickle(self, content):
        for byte in content:
            if self.server.closing.wait(0.01):
                return
            self.wfile.write(bytes([byte]))

    def log_message(self, *args):
        pass


def succeed(host, content):
    host.head(Content_Length=len(content))
    host.wfile.write(content)


def silent(host, content):
    host.server.closing.wait()


def stalled(host, content):
    host.head(Content_Length=len(content))
    host.wfile.write(content[: len(content) * 7 // 10])
    host.server.closing.wait()


def trickling(host, content):
    host.head(Content_Length=len(content))
    host.trickle(content)


def trickling_chunks(host, content):
    host.protocol_version = "HTTP/1.1"
    host.head(Transfer_Encoding="chunked")
    for byte in content:
        if host.server.closing.wait(0.01):
            return
        host.wfile.write(b"1\r\n%c\r\n" % byte)


def trickling_headers(host, content):
    host.trickle(b"HTTP/1.0 200 OK\r\nX: " + b"x" * 10_000)


def cut_off(host, content):
    host.head(Content_Length=len(content))
    host.wfile.write(content[:1000])


def no_response(host, content):
    pass


def shorter_than_declared(host, content):
    host.head(Content_Length=2 * len(content))
    host.wfile.write(content)


def longer_than_declared(host, content):
    host.head(Content_Length=len(content) // 2)
    host.wfile.write(content)


def endless(host, content):
    host.head()
    while not host.server.closing.is_set():
        host.wfile.write(content)


def garbage(host, content):
    host.head()
    host.wfile.write(os.urandom(len(content)))


def not_http(host, content):
    host.wfile.write(os.urandom(5000))


def busy(host, content):
    host.head(503)


TEMPORARY_FAILURES = [silent, stalled, trickling, trickling_chunks, trickling_headers, cut_off, no_response,
           shorter_than_declared, longer_than_declared, endless, garbage, not_http, busy]  # fmt: skip


@pytest.fixture
def host(monkeypatch):
    for name in ("CONNECT_TIMEOUT_S", "STALL_TIMEOUT_S"):
        monkeypatch.setattr(_download, name, 0.4)
    monkeypatch.setattr(_download, "MIN_BYTES_PER_S", 1e6)
    monkeypatch.setattr(_download, "BACKOFF_S", (0.01,))
    with Host() as host:
        yield host


@pytest.mark.parametrize("fail", TEMPORARY_FAILURES, ids=lambda fail: fail.__name__)
def test_a_temporary_failure_is_retried_and_a_lasting_one_raises(host, fail, tmp_path, capsys):
    host.failures = [fail]
    start = time.monotonic()
    fetch({host.url + "file": EXPECTED}, tmp_path / "new")
    assert time.monotonic() - start < 3
    assert (tmp_path / "new" / "file").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "new") == ["file"]
    printed = capsys.readouterr().err
    assert printed.replace("\n", "").isprintable()
    first, second = printed.splitlines()
    assert first == f"nnjax: downloading {host.url}file (0.1 MB)"
    assert second.startswith("nnjax: ")
    assert second.endswith(": next attempt in 0.01 s")

    host.failures = [fail] * 9
    start = time.monotonic()
    with pytest.raises(OSError, match=f"^{host.url}file: ") as error:
        fetch({host.url + "file": EXPECTED}, tmp_path / "none")
    assert time.monotonic() - start < 3
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300
    assert len(host.requests) == 2 + 2
    assert not list((tmp_path / "none").iterdir())


def test_a_busy_host_is_requested_again_after_increasing_pauses(host, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_download, "BACKOFF_S", (0.1, 0.2))
    host.failures = [busy, busy]
    start = time.monotonic()
    fetch({host.url + "file": EXPECTED}, tmp_path)
    assert 0.3 <= time.monotonic() - start < 3
    lines = capsys.readouterr().err.splitlines()[1:]
    assert [line.rpartition("attempt in ")[2] for line in lines] == ["0.1 s", "0.2 s"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_does_not_exist_is_not_requested_again(host, status, tmp_path):
    host.failures = [lambda host, content: host.head(status)]
    with pytest.raises(OSError, match=f"the server returns status {status}$"):
        fetch({host.url + "file": EXPECTED}, tmp_path)
    assert len(host.requests) == 1


def test_the_same_wrong_checksum_twice_raises(host, tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "BACKOFF_S", (0.01, 0.01, 0.01))
    wrong = Expected(len(CONTENT), "0" * 64)
    with pytest.raises(OSError, match=f"checksum .* must be 0000.*, got {EXPECTED.sha256}"):
        fetch({host.url + "file": wrong}, tmp_path)
    assert len(host.requests) == 2


def test_files_downloaded_before_a_failure_stay(host, tmp_path):
    host.failures = [succeed, lambda host, content: host.head(404)]
    with pytest.raises(OSError, match="/second: the server returns status 404"):
        fetch({host.url + "first": EXPECTED, host.url + "second": EXPECTED}, tmp_path)
    assert os.listdir(tmp_path) == ["first"]


def test_a_slow_host_above_the_minimum_rate_is_not_interrupted(host, tmp_path, monkeypatch):
    def slow(host, content):
        host.head(Content_Length=len(content))
        for i in range(0, len(content), 10_000):
            time.sleep(0.06)
            host.wfile.write(content[i : i + 10_000])

    monkeypatch.setattr(_download, "MIN_BYTES_PER_S", 100_000)
    monkeypatch.setattr(_download, "BLOCK_BYTES", 1_000)
    host.failures = [slow]
    fetch({host.url + "file": EXPECTED}, tmp_path)
    assert len(host.requests) == 1


def test_only_a_host_that_has_the_file_is_reachable(host):
    for respond, reachable in {succeed: True, busy: False, stalled: True}.items():
        host.failures = [respond]
        assert is_reachable(host.url) is reachable


@pytest.mark.parametrize("fail", [silent, trickling_headers], ids=lambda fail: fail.__name__)
def test_a_host_that_does_not_answer_in_time_is_not_reachable(host, fail):
    host.failures = [fail]
    start = time.monotonic()
    assert not is_reachable(host.url)
    assert time.monotonic() - start < 1


def test_a_name_lookup_has_a_timeout(host, tmp_path, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: host.closing.wait())
    start = time.monotonic()
    assert not is_reachable("http://somewhere.invalid/")
    with pytest.raises(OSError, match="the download is too slow"):
        fetch({"http://somewhere.invalid/file": EXPECTED}, tmp_path)
    assert time.monotonic() - start < 3


# --- data sets ---


def move(name, url, patch):
    """Replaces the URL of a data set's archives by `url`, and keeps the official checksums."""
    infos = {old.replace(URLS[name], url): info for old, info in MnistFamily.url_infos.items()}
    patch.setattr(MnistFamily, "url_infos", infos)
    patch.setitem(URLS, name, url)


@pytest.mark.parametrize("load", ["mnist", "auto"])
def test_archives_with_other_bytes_raise(host, load, monkeypatch, tmp_path):
    move("mnist", host.url, monkeypatch)
    if load == "auto":
        with pytest.warns(UserWarning, match="checksum.*embedded 8x8 digits"):
            assert nnjax.load("auto", tmp_path).name == "digits"
    else:
        with pytest.raises(nnjax.DatasetUnavailable, match="checksum") as error:
            nnjax.load("mnist", tmp_path)
        assert str(_sources.manual_path("mnist", tmp_path)) in str(error.value)
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_a_directory_that_cannot_be_written_raises(host, monkeypatch, tmp_path):
    move("mnist", host.url, monkeypatch)
    (tmp_path / "downloads").touch()
    with pytest.raises(nnjax.DatasetUnavailable, match=f"{tmp_path}/downloads"):
        nnjax.load("mnist", tmp_path)


MAX_WAIT_S = 600  # only against waiting forever: preparing took a minute on a busy machine

# fsync takes a second, so that a temporary file is seen before it is renamed.
START = """
import os, sys, time, pytest, nnjax.cli, test_download
fsync = os.fsync
os.fsync = lambda descriptor: time.sleep(1) or fsync(descriptor)
test_download.move("mnist", sys.argv[1], pytest.MonkeyPatch())
sys.exit(nnjax.cli.main(["data", "prepare", "mnist", "--data-dir", sys.argv[2]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_after_a_preparation_was_ended_anywhere_the_next_one_works(archives, mnist, end, tmp_path):
    """Ended in the second file, while preparing, and while caching; the fourth process has the data."""

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", START, host.url, tmp_path / "data"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )

    def end_when(condition):
        with start() as process:
            deadline = time.monotonic() + MAX_WAIT_S
            while not condition():
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.send_signal(end)
            printed = process.communicate(timeout=MAX_WAIT_S)[1]
        assert process.returncode == (130 if end == signal.SIGINT else -end), printed
        assert "Traceback" not in printed

    family = tmp_path / "data" / "mnist_family" / "mnist"
    files = [file for pair in FILES.values() for file in pair]
    with Host(lambda name: (archives / name).read_bytes()) as host:
        host.failures = [succeed, stalled]
        end_when(lambda: len(host.requests) == 2)
        assert len(list((tmp_path / "data").rglob("*.gz"))) == 1
        end_when(lambda: list(family.glob("*incomplete*/*.array_record*")))
        assert not (family / "1.0.0").exists()
        assert sorted(host.requests) == sorted([*files, host.requests[1]])
        end_when(lambda: list(family.glob("1.0.0/.decoded*")))
        assert not _sources.cache_path("mnist", tmp_path / "data").exists()
        with start() as last:
            assert last.wait(timeout=MAX_WAIT_S) == 0, last.stderr.read()
    np.testing.assert_array_equal(nnjax.load("mnist", tmp_path / "data").train.inputs, mnist.train.inputs)
