"""What the `nnjax` command shows: lines, a bar while it trains, and what was reached."""

import os
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nnjax.data import Dataset
from nnjax.training._fit import Run

INTERRUPTED = 130  # the shell's 128 + SIGINT


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader of a pipe has left: say no more, and end as Ctrl-C does."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise KeyboardInterrupt


console = _Console(highlight=False, soft_wrap=True)


class Display:
    """A line an epoch, and on a terminal a bar below them."""

    def __init__(self, epochs: int, data: Dataset):
        self._epochs, self._of = epochs, len(data.test.targets)
        self._began, self._before = time.perf_counter(), 0
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
        done, history = len(run.history), run.history
        if done > 1 and not self._bar.tasks[self._task].completed:  # of an earlier start
            self._before, self._began = done, time.perf_counter()
            self._bar.reset(self._task, completed=done)
        line = f"cost {history.train_cost[-1]:.4f}  test {history.test_correct[-1]:,} / {self._of:,}"
        rate = (done - self._before) / (time.perf_counter() - self._began)
        self._bar.update(self._task, completed=done, description=f"{line}  {rate:.1f} epochs/s")
        console.print(f"epoch {done:3} / {self._epochs}  {line}")


def format_accuracy(right: int, of: int) -> str:
    """Right answers as a count and as a share of all, for people."""
    return f"{right:,} of {of:,} right ({right / of:.2%})"
