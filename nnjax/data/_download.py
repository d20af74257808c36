"""Files from the net, with patience where it helps: whole and with the right SHA-256 sum, or an error."""

import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from nnjax.runtime.files import write_atomically

CONNECT_TIMEOUT_S = 4.0  # seconds that a host may take to answer before it counts as out of reach
STALL_TIMEOUT_S = 30.0  # seconds of silence that end a try, and seconds' start that a slow host is given
MIN_BYTES_PER_S = 10_000  # bytes a second, from then on and on average, below which a try ends
BACKOFF_S = (1.0, 3.0, 9.0)  # seconds, each before another try
RETRYABLE_STATUS = (408, 425, 429, 500, 502, 503, 504)  # what a server may answer now and not a little later
BLOCK_BYTES = 2**16  # bytes read at once


class Expected(NamedTuple):
    """What a file has to be: its size in bytes and its SHA-256 sum."""

    size: int
    sha256: str


class _Refused(Exception):
    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


def is_reachable(url: str) -> bool:
    """Whether a file can be had, as its host says within `CONTACT` seconds."""
    try:
        with _within(CONNECT_TIMEOUT_S, _open, url) as answer:
            return answer.ok
    except OSError:
        return False


def fetch(files: Mapping[str, Expected], folder: Path) -> None:
    """Put the files at these URLs into a folder, each whole or not at all, named as their URLs end.

    What is fetched, and what is tried again and why, is told on standard error.

    Raises:
      OSError: a file that cannot be had, or is not what is expected; what the disk says.
    """
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        for url, expected in files.items():
            console.print(f"nnjax: fetching {url} ({expected.size / 1e6:.1f} MB)")
            show = partial(bar.update, bar.add_task(url, total=expected.size))
            content = _patiently(url, expected, show, console.print)
            write_atomically(folder / url.rpartition("/")[2], content)


def _patiently(url: str, expected: Expected, show: Callable, say: Callable[[str], None]) -> bytes:
    """The file at `url`, asked for again after what may pass: the same wrong bytes twice will not."""
    wrong = ""
    for pause in (*BACKOFF_S, None):
        try:
            content = _read(url, expected.size, show)
        except _Refused as error:
            trouble, passes = f"the server says {error.status}", error.status in RETRYABLE_STATUS
        except OSError as error:
            trouble, passes = _cause(error), True
        else:
            found = hashlib.sha256(content).hexdigest()
            if found == expected.sha256:
                return content
            trouble = f"its checksum (SHA-256) is {found} and not {expected.sha256}"
            passes, wrong = found != wrong, found
        if not passes or pause is None:
            break
        say(f"nnjax: {trouble}: trying again in {pause:g} s")
        time.sleep(pause)
    raise OSError(f"{url}: {trouble}")


def _read(url: str, size: int, show: Callable) -> bytes:
    """The bytes at a URL, at most a block more than `size`, coming at least at `PACE`."""
    began, content = time.monotonic(), bytearray()
    answer = _within(STALL_TIMEOUT_S, _open, url)
    if not answer.ok:
        raise _Refused(answer.status_code)
    blocks = answer.iter_content(BLOCK_BYTES)
    while len(content) <= size:
        left = began + STALL_TIMEOUT_S + len(content) / MIN_BYTES_PER_S - time.monotonic()
        if not (block := _within(left, next, blocks, b"")):
            break
        content += block
        show(completed=len(content))
    answer.close()
    return bytes(content)


def _open(url: str) -> Any:
    import requests  # not above: most starts fetch nothing

    answer = requests.get(url, stream=True, timeout=STALL_TIMEOUT_S, headers={"Accept-Encoding": "identity"})
    if not answer.ok:
        answer.close()
    return answer


def _within(seconds: float, work: Callable, *arguments: Any) -> Any:
    """What `work` returns or raises, or a TimeoutError.

    A socket's own limit bounds a silence, but neither the looking up of a host nor what trickles.
    """
    ended: Future = Future()

    def run():
        try:
            ended.set_result(work(*arguments))
        except Exception as error:
            ended.set_exception(error)

    Thread(target=run, daemon=True).start()
    return ended.result(timeout=seconds)


def _cause(error: BaseException) -> str:
    """The innermost reason, in a few words, and in none that a host has sent."""
    while error.__context__:
        error = error.__context__
    if isinstance(error, TimeoutError):
        return "it comes too slowly"
    return getattr(error, "strerror", None) or f"what came cannot be used ({type(error).__name__})"
