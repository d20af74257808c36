"""Callbacks that pass results to experiment trackers while `fit`, `sweep` or `compare` runs.

`Tracker` logs to any object with a method `log(values, step=step)`, such as a run of Weights & Biases or
trackio.
`tensorboard` writes files for TensorBoard.
"""

import secrets
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nnjax.compare import CompareProgress
from nnjax.runtime.extras import check_extra
from nnjax.runtime.files import make_dir
from nnjax.sweep import Progress
from nnjax.training import History, Run

Values = dict[str, float]

COLUMNS = ("train_cost", "validation_cost", "test_cost", "validation_accuracy", "test_accuracy")


class TrackedRun(Protocol):
    """A run of an experiment tracker. A sweep calls `finish()`, if there is one, after the last epoch."""

    def log(self, values: Values, step: int) -> Any:
        """Stores values by name at a step."""


@dataclass
class Tracker:
    """A callback for `fit`, `sweep` and `compare` that logs each new row of the history once.

    The values are the costs and accuracies, the means of metrics, and the seconds, by the names of `History`.
    The step is the number of finished epochs; in a training with `steps`, of finished steps. Values that were
    not measured in a row are left out.

    - In `fit`, there is one run, without a name.
    - In `sweep`, each network has a run, such as "hidden=30,seed=0". With `aggregate`, there is one run for
      the networks that train together, such as "group 1: 16 networks from hidden=30,seed=0", with the
      minimum, median and maximum of each value over them. After a selection of halving, the remaining
      networks are new groups, whose runs begin with their earlier rows.
    - In `compare`, each optimizer has a run. The values are the smallest selection metrics so far, by
      problem; the step is the number of finished units of work.

    Attributes:
      open_run: a function (name, settings) -> `TrackedRun`, called once for each run. `settings` are the
        labels of a network, or the name of an optimizer.
      aggregate: whether a sweep logs a summary of the networks that train together.

    >>> import jax, nnjax
    >>> class Printer:
    ...     def log(self, values, step):
    ...         print(step, sorted(values)[:2])
    >>> tracker = Tracker(lambda name, settings: Printer())
    >>> data = nnjax.load("digits")
    >>> params = nnjax.init(jax.random.key(0), (64, 10))
    >>> run = nnjax.fit(jax.random.key(1), params, data, epochs=2, learning_rate=1.0, callback=tracker)
    1 ['seconds', 'test_accuracy']
    2 ['seconds', 'test_accuracy']
    """

    open_run: Callable[[str, dict[str, Any]], TrackedRun]
    aggregate: bool = False
    _runs: dict[str, TrackedRun] = field(default_factory=dict)
    _num_logged: dict[str, int] = field(default_factory=dict)  # rows by name
    _groups: dict[tuple[str, ...], int] = field(default_factory=dict)

    def __call__(self, progress: Run | Progress | CompareProgress) -> None:
        """Logs what was not logged before."""
        if isinstance(progress, Run):
            self._log_rows("", {}, progress.history, _values(progress.history))
        elif isinstance(progress, CompareProgress):
            self._log_best(progress)
        elif self.aggregate:
            name = self._group(tuple(map(_name, progress.settings)))
            settings = {"networks": len(progress.settings)}
            self._log_rows(name, settings, progress.history, _summaries(progress.history))
            self._finish([name] if progress.done == progress.total else [])
        else:
            names = [_name(labels) for labels in progress.settings]
            for i, (name, labels) in enumerate(zip(names, progress.settings, strict=True)):
                self._log_rows(name, labels, progress.history, _values(progress.history, i))
            self._finish(names if progress.done == progress.total else [])

    def _group(self, networks: tuple[str, ...]) -> str:
        """The name of the networks that train together."""
        number = self._groups.setdefault(networks, len(self._groups) + 1)
        plural = "s" * (len(networks) > 1)
        return f"group {number}: {len(networks)} network{plural} from {networks[0]}"

    def _log_rows(
        self, name: str, settings: dict[str, Any], history: History, columns: Mapping[str, np.ndarray]
    ) -> None:
        """Logs the rows of a history that were not logged before."""
        if len(history) <= self._num_logged.get(name, 0):  # the tracker is used again
            self._finish([name])
        steps = history.step if history.unit == "step" else np.arange(1, len(history) + 1)
        for row in range(self._num_logged.get(name, 0), len(history)):
            values = {key: float(column[row]) for key, column in columns.items()}
            self._run(name, settings).log(
                {key: value for key, value in values.items() if not np.isnan(value)}, step=int(steps[row])
            )
        self._num_logged[name] = len(history)

    def _log_best(self, progress: CompareProgress) -> None:
        name = progress.optimizer
        value = float(progress.best[name])
        if np.isfinite(value):
            self._run(name, {"optimizer": name}).log({progress.problem: value}, step=progress.done)

    def _run(self, name: str, settings: dict[str, Any]) -> TrackedRun:
        if name not in self._runs:
            self._runs[name] = self.open_run(name, settings)
        return self._runs[name]

    def finish(self) -> None:
        """Finishes all open runs.

        A sweep finishes the run of a network after its last epoch. Call this method after a `fit`, a
        `compare`, or a sweep with halving.
        """
        self._finish(list(self._runs))

    def _finish(self, names: list[str]) -> None:
        for name in names:
            self._num_logged.pop(name, None)
            finish = getattr(self._runs.pop(name, None), "finish", None)
            if finish:
                finish()


def tensorboard(directory: str | PathLike, aggregate: bool = False) -> Tracker:
    """A callback that writes files for TensorBoard.

    Args:
      directory: the parent directory; each run writes to a subdirectory with the name of the run.
      aggregate: as for `Tracker`.

    Raises:
      MissingExtra: tensorboardX is not installed.

    >>> callback = tensorboard("/tmp/tensorboard")
    """
    check_extra("tensorboard", "a tracker for TensorBoard", "tensorboardX")
    return Tracker(lambda name, settings: _EventFile(directory, name, settings), aggregate)


class _EventFile:
    """A file of TensorBoard. Unlike `tensorboardX.SummaryWriter`, it needs no thread, and loses no events."""

    def __init__(self, directory: str | PathLike, name: str, settings: Mapping[str, Any]):
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter

        messages = import_module("tensorboardX.proto.event_pb2")  # creates its classes when it is imported
        folder = make_dir(Path(directory, name.replace("/", "_")))
        self._summary, self._event = summary, messages.Event
        self._writer = EventsWriter(str(folder / "events"), f".{secrets.token_hex(4)}")
        self._close = weakref.finalize(self, _close, self._writer)
        # A resumed training writes all rows again. This event hides those that were written before.
        start = messages.SessionLog(status=messages.SessionLog.START)
        self._writer.write_event(messages.Event(step=0, session_log=start))
        if settings:
            rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
            self._write(summary.text("settings", f"| setting | value |\n|---|---|\n{rows}"), 0)

    def log(self, values: Values, step: int) -> None:
        for name, value in values.items():
            self._write(self._summary.scalar(name, value), step)
        self._writer.flush()  # so that curves grow while the training runs

    def finish(self) -> None:
        self._close()

    def _write(self, summary: Any, step: int) -> None:
        self._writer.write_event(self._event(summary=summary, step=step, wall_time=time.time()))


def _close(writer: Any) -> None:
    with suppress(OSError):  # what `flush` could not write is lost, and has been reported
        writer.close()


def _name(labels: Mapping[str, Any]) -> str:
    """The labels of a network as one string.

    >>> _name({"hidden": 30, "seed": 0})
    'hidden=30,seed=0'
    """
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _columns(history: History) -> Iterator[tuple[str, np.ndarray]]:
    """The columns with one number for each row and network."""
    for name in COLUMNS:
        column = getattr(history, name)
        if column is not None:
            yield name, column
    yield from history.metrics.items()


def _values(history: History, network: int | None = None) -> dict[str, np.ndarray]:
    """The columns of the only network, or of one of several."""
    select = (slice(None),) if network is None else (slice(None), network)
    return {name: column[select] for name, column in _columns(history)} | {"seconds": history.seconds}


def _summaries(history: History) -> dict[str, np.ndarray]:
    """The minimum, median and maximum of each column over the networks in which it is not NaN."""
    summaries = {"min": np.min, "median": np.median, "max": np.max}

    def summarize(function: Callable, row: np.ndarray) -> float:
        measured = row[~np.isnan(row)]
        return function(measured) if len(measured) else np.nan

    return {
        f"{name}/{summary}": np.array([summarize(function, row) for row in column])
        for name, column in _columns(history)
        for summary, function in summaries.items()
    } | {"seconds": history.seconds}
