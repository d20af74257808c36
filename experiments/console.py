"""The output of a run of experiments in the terminal: lines, a progress bar, and the remaining time."""

import os
import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

INTERRUPTED = 130  # exit code: the shell's 128 + SIGINT


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Stops as after Ctrl-C if the reader of a pipe has exited."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise KeyboardInterrupt


console = _Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True)


class Clock:
    """An estimate of the remaining seconds, from the expected seconds and those of finished experiments.

    The expected seconds have the weight of a tenth of the work, so that short experiments at the beginning
    do not distort the estimate.

    >>> clock = Clock([10, 100, 100])
    >>> clock.taken = [52]
    >>> round(clock.left(running=30))
    441
    """

    def __init__(self, expected: Sequence[float]):
        self.expected = expected
        self.taken: list[float] = []
        self._start = time.perf_counter()

    def running(self) -> float:
        """The seconds of the current experiment until now."""
        return time.perf_counter() - self._start

    def next(self) -> None:
        """Ends the current experiment."""
        self.taken.append(self.running())
        self._start = time.perf_counter()

    def left(self, running: float) -> float:
        """The remaining seconds when the current experiment has run for `running` seconds."""
        n, prior = len(self.taken), sum(self.expected) / 10
        pace = (prior + sum(self.taken)) / (prior + sum(self.expected[:n])) if prior else 1.0
        return max(pace * sum(self.expected[n : n + 1]) - running, 0) + pace * sum(self.expected[n + 1 :])


class _TimeLeft(ProgressColumn):
    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock

    def render(self, task) -> Text:
        return Text(f"about {duration(self._clock.left(self._clock.running()))} left")


def progress_bar(clock: Clock) -> Progress:
    """A bar with the current experiment, its number and the remaining time; only in a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        _TimeLeft(clock),
        console=console,
        disable=not console.is_terminal,
    )


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(4.2), duration(500), duration(6720)
    ('4 s', '8 min', '1 h 52 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def format_total_time(seconds: Mapping[str, float]) -> str:
    """The total time of experiments, and the longest of them.

    >>> format_total_time({"depth": 480, "valley": 3, "baselines": 500, "smoothness": 1})
    'took 16 min in total; the longest were Baselines (8 min), Depth (8 min), Valley (3 s)'
    """
    longest = sorted(seconds, key=lambda name: -seconds[name])[:3]
    names = ", ".join(f"{title(name)} ({duration(seconds[name])})" for name in longest)
    return f"took {duration(sum(seconds.values()))} in total; the longest were {names}"


def title(name: str) -> str:
    """An experiment's name as a heading."""
    return name.replace("_", " ").capitalize()
