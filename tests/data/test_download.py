"""Downloads from hosts that stall, trickle, cut off and lie, and starts that are killed on the way."""

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
from nnjax.data._builders import MnistFamily
from nnjax.data._download import Expected, fetch, is_reachable
from nnjax.data._sources import FILES, URLS

CONTENT = np.random.default_rng(0).bytes(100_000)
EXPECTED = Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Host(ThreadingHTTPServer):
    """Answers its first requests as `troubles` say, one a request, and then rightly."""

    def __init__(self, content=lambda name: CONTENT):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.troubles, self.asked, self.over = content, [], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that left is no error of the host."""


class Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self):
        self.server.asked.append(self.path[1:])
        trouble = self.server.troubles.pop(0) if self.server.troubles else right
        trouble(self, self.server.content(self.path[1:]))

    def head(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.flush()

    def trickle(self, content):
        for byte in content:
            if self.server.over.wait(0.02):
                return
            self.wfile.write(bytes([byte]))

    def log_message(self, *args):
        pass


def right(host, content):
    host.head(Content_Length=len(content))
    host.wfile.write(content)


def silent(host, content):
    host.server.over.wait()


def stalled(host, content):
    host.head(Content_Length=len(content))
    host.wfile.write(content[: len(content) * 7 // 10])
    host.server.over.wait()


def trickling(host, content):
    host.head(Content_Length=len(content))
    host.trickle(content)


def trickling_chunks(host, content):
    host.protocol_version = "HTTP/1.1"
    host.head(Transfer_Encoding="chunked")
    for byte in content:
        if host.server.over.wait(0.02):
            return
        host.wfile.write(b"1\r\n%c\r\n" % byte)


def trickling_headers(host, content):
    host.trickle(b"HTTP/1.0 200 OK\r\nX: " + b"x" * 10_000)


def cut_off(host, content):
    host.head(Content_Length=len(content))
    host.wfile.write(content[:1000])


def without_an_answer(host, content):
    pass


def shorter_than_it_says(host, content):
    host.head(Content_Length=2 * len(content))
    host.wfile.write(content)


def longer_than_it_says(host, content):
    host.head(Content_Length=len(content) // 2)
    host.wfile.write(content)


def endless(host, content):
    host.head()
    while not host.server.over.is_set():
        host.wfile.write(content)


def garbage(host, content):
    host.head()
    host.wfile.write(os.urandom(len(content)))


def no_http(host, content):
    host.wfile.write(os.urandom(5000))


def busy(host, content):
    host.head(503)


PASSING = [silent, stalled, trickling, trickling_chunks, trickling_headers, cut_off, without_an_answer,
           shorter_than_it_says, longer_than_it_says, endless, garbage, no_http, busy]  # fmt: skip


@pytest.fixture
def host(monkeypatch):
    for name, shrunk in {"CONTACT": 0.25, "PATIENCE": 0.25, "PACE": 1_000_000, "PAUSES": (0.01,)}.items():
        monkeypatch.setattr(_download, name, shrunk)
    with Host() as host:
        yield host


@pytest.mark.parametrize("trouble", PASSING, ids=lambda trouble: trouble.__name__)
def test_what_may_pass_is_waited_for(host, trouble, tmp_path, capsys):
    host.troubles = [trouble]
    began = time.monotonic()
    fetch({host.url + "file": EXPECTED}, tmp_path / "new")
    assert time.monotonic() - began < 3
    assert (tmp_path / "new" / "file").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "new") == ["file"]
    told = capsys.readouterr().err
    assert told.replace("\n", "").isprintable()
    said, again = told.splitlines()
    assert said == f"nnjax: fetching {host.url}file (0.1 MB)"
    assert again.startswith("nnjax: ")
    assert again.endswith(": trying again in 0.01 s")


@pytest.mark.parametrize("trouble", PASSING, ids=lambda trouble: trouble.__name__)
def test_what_does_not_pass_is_told_in_a_line_and_leaves_nothing(host, trouble, tmp_path):
    host.troubles = [trouble] * 9
    began = time.monotonic()
    with pytest.raises(OSError, match=f"^{host.url}file: ") as told:
        fetch({host.url + "file": EXPECTED}, tmp_path)
    assert time.monotonic() - began < 3
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 300
    assert len(host.asked) == 2
    assert not list(tmp_path.iterdir())


def test_a_busy_host_is_asked_again_after_growing_pauses(host, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_download, "BACKOFF_S", (0.1, 0.3))
    host.troubles = [busy, busy]
    began = time.monotonic()
    fetch({host.url + "file": EXPECTED}, tmp_path)
    assert 0.4 <= time.monotonic() - began < 3
    assert [line.rpartition("again in ")[2] for line in capsys.readouterr().err.splitlines()[1:]] == [
        "0.1 s",
        "0.3 s",
    ]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_is_not_there_is_not_asked_for_again(host, status, tmp_path):
    host.troubles = [lambda host, content: host.head(status)]
    with pytest.raises(OSError, match=f"the server says {status}$"):
        fetch({host.url + "file": EXPECTED}, tmp_path)
    assert len(host.asked) == 1


def test_a_checksum_that_is_wrong_twice_alike_is_told(host, tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "BACKOFF_S", (0.01, 0.01, 0.01))
    wrong = Expected(len(CONTENT), "0" * 64)
    with pytest.raises(OSError, match=f"checksum .* is {EXPECTED.sha256} and not 0000"):
        fetch({host.url + "file": wrong}, tmp_path)
    assert len(host.asked) == 2


def test_what_was_fetched_before_a_failure_is_kept(host, tmp_path):
    host.troubles = [right, lambda host, content: host.head(404)]
    with pytest.raises(OSError, match="/second: the server says 404"):
        fetch({host.url + "first": EXPECTED, host.url + "second": EXPECTED}, tmp_path)
    assert os.listdir(tmp_path) == ["first"]


def test_a_slow_host_that_keeps_its_pace_is_waited_for(host, tmp_path, monkeypatch):
    def slow(host, content):
        host.head(Content_Length=len(content))
        for i in range(0, len(content), 10_000):
            time.sleep(0.06)
            host.wfile.write(content[i : i + 10_000])

    monkeypatch.setattr(_download, "MIN_BYTES_PER_S", 100_000)
    monkeypatch.setattr(_download, "BLOCK_BYTES", 1_000)
    host.troubles = [slow]
    fetch({host.url + "file": EXPECTED}, tmp_path)
    assert len(host.asked) == 1


def test_only_a_host_that_has_the_file_answers(host):
    for trouble, there in {right: True, busy: False, stalled: True}.items():
        host.troubles = [trouble]
        assert is_reachable(host.url) is there


@pytest.mark.parametrize("trouble", [silent, trickling_headers], ids=lambda trouble: trouble.__name__)
def test_a_host_that_never_answers_is_given_up_in_time(host, trouble):
    host.troubles = [trouble]
    began = time.monotonic()
    assert not is_reachable(host.url)
    assert time.monotonic() - began < 1


def test_looking_up_a_host_does_not_take_for_ever(host, tmp_path, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: host.over.wait())
    began = time.monotonic()
    assert not is_reachable("http://somewhere.invalid/")
    with pytest.raises(OSError, match="too slowly"):
        fetch({"http://somewhere.invalid/file": EXPECTED}, tmp_path)
    assert time.monotonic() - began < 3


# --- data sets ---


def move(name, url, patch):
    """Let the archives of a data set be at `url`, with the official checksums."""
    infos = {at.replace(URLS[name], url): info for at, info in MnistFamily.url_infos.items()}
    patch.setattr(MnistFamily, "url_infos", infos)
    patch.setitem(URLS, name, url)


@pytest.mark.parametrize("load", ["mnist", "auto"])
def test_other_bytes_than_the_official_ones_make_no_data_set(host, load, monkeypatch, tmp_path):
    move("mnist", host.url, monkeypatch)
    if load == "auto":
        with pytest.warns(UserWarning, match="checksum.*embedded 8x8 digits"):
            assert nnjax.load("auto", tmp_path).name == "digits"
    else:
        with pytest.raises(nnjax.DatasetUnavailable, match="checksum") as told:
            nnjax.load("mnist", tmp_path)
        assert str(_sources.manual_path("mnist", tmp_path)) in str(told.value)
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_a_folder_that_cannot_be_written_is_told(host, monkeypatch, tmp_path):
    move("mnist", host.url, monkeypatch)
    (tmp_path / "downloads").touch()
    with pytest.raises(nnjax.DatasetUnavailable, match=f"{tmp_path}/downloads"):
        nnjax.load("mnist", tmp_path)


START = """
import sys, pytest, nnjax.cli, test_download
test_download.move("mnist", sys.argv[1], pytest.MonkeyPatch())
sys.exit(nnjax.cli.main(["data", "prepare", "mnist", "--data-dir", sys.argv[2]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_after_a_start_that_was_ended_anywhere_the_next_one_works(archives, mnist, end, tmp_path):
    """Ended in the second file, while preparing, and while caching; the fourth start has the data."""

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", START, host.url, tmp_path / "data"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )

    def ended_when(reached):
        with start() as started:
            deadline = time.monotonic() + 120
            while not reached():
                assert started.poll() is None, started.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            started.send_signal(end)
            told = started.communicate(timeout=60)[1]
        assert started.returncode == (130 if end == signal.SIGINT else -end), told
        assert "Traceback" not in told

    family = tmp_path / "data" / "mnist_family" / "mnist"
    files = [file for pair in FILES.values() for file in pair]
    with Host(lambda name: (archives / name).read_bytes()) as host:
        host.troubles = [right, stalled]
        ended_when(lambda: len(host.asked) == 2)
        assert len(list((tmp_path / "data").rglob("*.gz"))) == 1
        ended_when(lambda: list(family.glob("*incomplete*/*.array_record*")))
        assert not (family / "1.0.0").exists()
        assert sorted(host.asked) == sorted([*files, host.asked[1]])
        ended_when(lambda: list(family.glob("1.0.0/.decoded*")))
        assert not _sources.cache_path("mnist", tmp_path / "data").exists()
        with start() as last:
            assert last.wait(timeout=120) == 0, last.stderr.read()
    np.testing.assert_array_equal(nnjax.load("mnist", tmp_path / "data").train.inputs, mnist.train.inputs)
