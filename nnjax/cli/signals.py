"""Ctrl-C and SIGTERM: the running epoch is finished first."""

import contextlib
import os
import signal
from collections.abc import Iterator


class StopRequest:
    """Whether a signal has asked training to end, and which."""

    def __init__(self):
        self.signal: int | None = None

    @property
    def code(self) -> int:
        """The exit code of what ended early, as shells have it: 128 and the signal's number."""
        return 128 + (self.signal or signal.SIGINT)


@contextlib.contextmanager
def stop_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process where Python cannot take them, in the middle of a long call."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def stop_after_epoch() -> Iterator[StopRequest]:
    """Take SIGINT and SIGTERM as a wish to end after the running epoch; the second one ends at once."""
    ending = StopRequest()

    def wish(number, frame):
        if ending.signal is not None:
            raise KeyboardInterrupt
        ending.signal = number
        os.write(2, b"\nending after this epoch; once more to end at once\n")  # print might be at work

    before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
