"""Downloads files and verifies their SHA-256 sums.

An attempt that fails for a reason that may be temporary is repeated.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from nnjax.runtime.files import write_atomically

CONNECT_TIMEOUT_S = 4.0  # a host that takes longer to answer counts as unreachable
STALL_TIMEOUT_S = 30.0  # an attempt ends after this time without data; also the start of the rate check
MIN_BYTES_PER_S = 10_000  # an attempt ends if its average rate is lower after STALL_TIMEOUT_S
BACKOFF_S = (1.0, 3.0, 9.0)  # the pauses before the second and later attempts
RETRYABLE_STATUS = (408, 425, 429, 500, 502, 503, 504)
BLOCK_BYTES = 2**16  # per read


class Expected(NamedTuple):
    """The size of a file in bytes, and its SHA-256 sum."""

    size: int
    sha256: str


class _HttpError(Exception):
    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


def is_reachable(url: str) -> bool:
    """Whether the host answers within `CONNECT_TIMEOUT_S` that it has the file."""
    try:
        with _open(url, CONNECT_TIMEOUT_S) as response:
            return response.ok
    except OSError:
        return False


def fetch(files: Mapping[str, Expected], folder: Path) -> None:
    """Downloads files into a directory, under the last parts of their URLs.

    Prints the URLs, and why an attempt is repeated, to standard error.

    Args:
      files: the expected size and sum by URL.
      folder: created if it does not exist.

    Raises:
      OSError: a file cannot be downloaded or has a wrong sum, or the disk's error. Files that were
        downloaded before are complete.
    """
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    columns = DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        for url, expected in files.items():
            console.print(f"nnjax: downloading {url} ({expected.size / 1e6:.1f} MB)")
            on_progress = partial(bar.update, bar.add_task(url, total=expected.size))
            content = _read_with_retries(url, expected, on_progress, console.print)
            write_atomically(folder / url.rpartition("/")[2], content)


def _read_with_retries(
    url: str, expected: Expected, on_progress: Callable, log: Callable[[str], None]
) -> bytes:
    """The bytes at `url`; raises OSError if an error is permanent, or the last attempt fails."""
    wrong_sum = ""
    for pause_s in (*BACKOFF_S, None):
        try:
            content = _read(url, expected.size, on_progress)
        except _HttpError as error:
            reason, retryable = f"the server returns status {error.status}", error.status in RETRYABLE_STATUS
        except OSError as error:
            reason, retryable = _short_reason(error), True
        else:
            sha256 = hashlib.sha256(content).hexdigest()
            if sha256 == expected.sha256:
                return content
            reason = f"its checksum (SHA-256) must be {expected.sha256}, got {sha256}"
            # The same wrong bytes twice are not a transmission error.
            retryable, wrong_sum = sha256 != wrong_sum, sha256
        if not retryable or pause_s is None:
            break
        log(f"nnjax: {reason}: next attempt in {pause_s:g} s")
        time.sleep(pause_s)
    raise OSError(f"{url}: {reason}")


def _read(url: str, size: int, on_progress: Callable) -> bytes:
    """The bytes at a URL, at most a block more than `size`; raises TimeoutError below `MIN_BYTES_PER_S`."""
    response = _open(url, STALL_TIMEOUT_S)
    if not response.ok:
        raise _HttpError(response.status_code)
    start, content = time.monotonic(), bytearray()
    blocks = response.iter_content(BLOCK_BYTES)
    while len(content) <= size:
        deadline = start + STALL_TIMEOUT_S + len(content) / MIN_BYTES_PER_S
        if not (block := _with_timeout(deadline - time.monotonic(), next, blocks, b"")):
            break
        content += block
        on_progress(completed=len(content))
    response.close()  # not after a timeout: it would wait for the thread that still reads
    return bytes(content)


def _open(url: str, timeout_s: float) -> Any:
    """The response of a URL, before its content is read."""
    import requests  # not above, because most runs download nothing

    return _with_timeout(timeout_s, _get, requests, url)


def _get(requests: Any, url: str) -> Any:
    response = requests.get(
        url, stream=True, timeout=STALL_TIMEOUT_S, headers={"Accept-Encoding": "identity"}
    )
    if not response.ok:
        response.close()
    return response


def _with_timeout(seconds: float, f: Callable, *arguments: Any) -> Any:
    """Returns or raises what `f` returns or raises, or raises TimeoutError.

    The timeout of a socket limits neither a DNS lookup nor a response that arrives slowly.
    """
    future: Future = Future()

    def run():
        try:
            future.set_result(f(*arguments))
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result(timeout=seconds)


def _short_reason(error: BaseException) -> str:
    """The innermost reason in a few words, without text from the host."""
    while error.__context__:
        error = error.__context__
    if isinstance(error, TimeoutError):
        return "the download is too slow"
    return getattr(error, "strerror", None) or f"the response is not usable ({type(error).__name__})"
