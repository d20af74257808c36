"""The output of the `nnjax` command: lines, JSON, and a progress bar on a terminal."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nnjax.storage.records import record_json
from nnjax.training import History, Run

INTERRUPTED = 130  # the shell's 128 + SIGINT


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raises BrokenPipeError, where rich would exit, so that training can be saved."""
        self.quiet = True
        discard_stdout()
        raise BrokenPipeError


console = _Console(highlight=False, soft_wrap=True, emoji=False)
errors = Console(stderr=True, markup=False, soft_wrap=True, emoji=False)


def discard_stdout() -> None:
    """Discards further output, because the reader of the pipe has exited and Python flushes at exit."""
    with contextlib.suppress(OSError, ValueError):  # not a file, such as the capture of a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def messages_to_stderr(enabled: bool) -> Iterator[None]:
    """Prints the messages of `console` on standard error if `enabled`: standard output is for JSON."""
    console.stderr, console.quiet = enabled, False
    try:
        yield
    finally:
        console.stderr = False


def print_json(value: Any) -> None:
    """Prints arrays, numbers and mappings of them as JSON; NaN becomes null."""
    print(record_json(value), end="")


class Display:
    """Prints a line after each epoch, and on a terminal a progress bar below them."""

    def __init__(self, epochs: int):
        self._epochs = epochs
        self._start = time.perf_counter()
        self._bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("compiling", total=epochs)

    def __enter__(self):
        self._bar.__enter__()
        return self

    def __exit__(self, *error):
        self._bar.__exit__(*error)

    def show(self, run: Run) -> None:
        """Prints the last epoch of `run`."""
        done, history = len(run.history), run.history
        if done == run.restored:
            self._start = time.perf_counter()
            self._bar.reset(self._task, completed=done)
        line = f"cost {history.train_cost[-1]:.4f}"
        if history.test_correct is not None:
            line += f"  test {percent(history.test_accuracy[-1])}"
        elif history.test_cost is not None:
            line += f"  test cost {history.test_cost[-1]:.4f}"
        rate = (done - run.restored) / (time.perf_counter() - self._start)
        self._bar.update(self._task, completed=done, description=f"{line}  {rate:.1f} epochs/s")
        console.print(f"epoch {done:3} / {self._epochs}  {line}")


def split_result(history: History, split: str) -> str:
    """The accuracy of the last epoch on a split, or the cost if nothing is counted; "" without examples."""
    correct, cost = (getattr(history, f"{split}_{column}") for column in ("correct", "cost"))
    if correct is not None:
        return format_accuracy(int(correct[-1]), getattr(history, f"num_{split}"))
    return "" if cost is None else f"cost {cost[-1]:.4f}"


def percent(fraction: float) -> str:
    """A fraction in percent.

    >>> percent(0.9492)
    '94.92 %'
    """
    return f"{100 * fraction:.2f} %"


def format_accuracy(correct: int, total: int) -> str:
    """An accuracy in percent, with the counts.

    >>> format_accuracy(9492, 10000)
    '94.92 % (9,492 of 10,000)'
    """
    return f"{percent(correct / (total or math.nan))} ({correct:,} of {total:,})"
