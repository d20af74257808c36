"""How far a run of several experiments is, and how long the rest will take."""

import time
from collections.abc import Mapping, Sequence

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from nnjax.cli.console import console


class Clock:
    """How long is left, from what each experiment should take and what the finished ones took.

    All seconds. Expectations count as a tenth of the work done as expected, so that the first
    short ones do not upset the whole.

    >>> clock = Clock([10, 100, 100])
    >>> clock.taken = [52]
    >>> round(clock.left(running=30))
    441
    """

    def __init__(self, expected: Sequence[float]):
        self.expected = expected
        self.taken: list[float] = []
        self._began = time.perf_counter()

    def running(self) -> float:
        """How long the present one has run."""
        return time.perf_counter() - self._began

    def next(self) -> None:
        """The present one is over."""
        self.taken.append(self.running())
        self._began = time.perf_counter()

    def left(self, running: float) -> float:
        """What is left when the present one has run for so long."""
        n, trust = len(self.taken), sum(self.expected) / 10
        pace = (trust + sum(self.taken)) / (trust + sum(self.expected[:n])) if trust else 1.0
        return max(pace * sum(self.expected[n : n + 1]) - running, 0) + pace * sum(self.expected[n + 1 :])


class _Left(ProgressColumn):
    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock

    def render(self, task) -> Text:
        return Text(f"about {duration(self._clock.left(self._clock.running()))} left")


def bar(clock: Clock) -> Progress:
    """Which experiment, how many of how many, and the time that is left; only on a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        _Left(clock),
        console=console,
        disable=not console.is_terminal,
    )


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(4.2), duration(500), duration(6720)
    ('4 s', '8 min', '1 h 52 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def where_the_time_went(seconds: Mapping[str, float]) -> str:
    """What experiments took together, and the longest of them.

    >>> where_the_time_went({"depth": 480, "valley": 3, "baselines": 500, "smoothness": 1})
    'took 16 min together; the longest: Baselines 8 min, Depth 8 min, Valley 3 s'
    """
    longest = sorted(seconds, key=lambda name: -seconds[name])[:3]
    told = ", ".join(f"{title(name)} {duration(seconds[name])}" for name in longest)
    return f"took {duration(sum(seconds.values()))} together; the longest: {told}"


def title(name: str) -> str:
    """An experiment's name as a heading."""
    return name.replace("_", " ").capitalize()
