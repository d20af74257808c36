"""Ctrl-C and SIGTERM: training stops after the current epoch."""

import contextlib
import os
import signal
from collections.abc import Iterator


class StopRequest:
    """A request to stop training; `signal` is the number of the signal, or None if there was none."""

    def __init__(self):
        self.signal: int | None = None

    @property
    def code(self) -> int:
        """The exit code of an interrupted command, as shells define it: 128 plus the signal's number."""
        return 128 + (self.signal or signal.SIGINT)


@contextlib.contextmanager
def stop_immediately() -> Iterator[None]:
    """Lets Ctrl-C end the process, because Python cannot handle signals during a long call into C++."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def stop_after_epoch(immediately: bool = False) -> Iterator[StopRequest]:
    """Turns SIGINT and SIGTERM into a request to stop after the epoch; the second one stops at once.

    With `immediately`, the first one does: other processes train, so this process sees no epoch.
    """
    stop = StopRequest()

    def request(number, frame):
        is_repeated, stop.signal = stop.signal is not None, stop.signal or number
        if is_repeated or immediately:
            raise KeyboardInterrupt
        # `print` may be active in the interrupted code.
        os.write(2, b"\nstopping after this epoch; repeat to stop at once\n")

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
