"""Runs the tasks of a comparison: trains their units, and stores each as soon as it is finished."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, NamedTuple

import pandas as pd

from nnjax.compare import protocol
from nnjax.compare._optimizer_checks import check_state_and_updates
from nnjax.compare._store import Store
from nnjax.compare._task import OptimizerFailed, Task, attempt
from nnjax.compare._units import portable, train_runs, train_unit, train_unit_on_worker
from nnjax.compare.protocol import RunSpec, Unit
from nnjax.data import Dataset
from nnjax.runtime.executors import Workers


class Result(NamedTuple):
    """The result of a task.

    Attributes:
      runs: the table of its runs; empty if it failed.
      timings: the seconds of its units (kind "unit"). With the standard budget, also the seconds of one
        network with the default setting that is trained alone (kind "alone").
      widened: decades that were added to the range of the learning rate.
      failure: the message of an optimizer that failed; "" if it did not.
      made_on: the processor on which a shipped result was made; "" if it was made here.
    """

    runs: pd.DataFrame
    timings: pd.DataFrame
    widened: tuple[int, int] = (0, 0)
    failure: str = ""
    made_on: str = ""


@dataclass(frozen=True)
class Runner:
    """Runs tasks.

    Attributes:
      store: where finished units are stored, or None.
      on_unit: called for each finished unit with its task, its runs, and `is_new`: True if the unit was
        trained now, False if it was read from the store.
      stopped: if it is set, no other unit starts.
      threads: as for `sweep`.
      workers: the workers that train the units; if None, this process trains them.
    """

    store: Store | None = None
    on_unit: Callable[[Task, list[dict[str, Any]], bool], None] = lambda task, rows, is_new: None
    stopped: Event = field(default_factory=Event)
    threads: int | None = None
    workers: Workers | None = None
    _initial: dict[Any, Any] = field(default_factory=dict)

    def run(self, task: Task, data: Dataset) -> Result:
        """Runs the trials, the fresh seeds of the winners, and the default setting of a task."""
        default = task.setting(RunSpec(protocol.DEFAULT, 0, 0, None))
        if task.tunable.freezes and task.problem.target_accuracy is not None:
            message = "its steps have different costs, so it has no number of steps to a target"
            return _failed(task, message)
        try:
            attempt(lambda: check_state_and_updates(task.tunable, task.problem, data, default))
            trials = self._run_all(task, data, protocol.trial_runs(task.budget))
            final = self._run_all(task, data, protocol.final_runs(task.budget, winning_points(task, trials)))
        except OptimizerFailed as error:
            return _failed(task, str(error))
        units = trials + final
        rows = [row for unit in units for row in unit["rows"]]
        seconds = [{"kind": "unit", **unit["seconds"]} for unit in units]
        timings = pd.DataFrame(seconds).assign(optimizer=task.optimizer, problem=task.problem.name)
        return Result(pd.DataFrame(rows), timings, task.widened)

    def _run_all(self, task: Task, data: Dataset, runs: list[RunSpec]) -> list[dict[str, Any]]:
        units = protocol.units(runs, lambda run: task.setting(run).batch_multiplier)
        finished = {
            i: self._finish(task, content, is_new) for i, content, is_new in self._contents(task, data, units)
        }
        return [finished[i] for i in range(len(units))]

    def _contents(
        self, task: Task, data: Dataset, units: Sequence[Unit]
    ) -> Iterator[tuple[int, dict[str, Any], bool]]:
        """Yields the index and the content of each unit, and whether it was trained now (else, read)."""
        missing = []
        for i, unit in enumerate(units):
            content = self._read(task, unit)
            if content is None:
                missing.append(i)
            else:
                yield i, content, False
        for position, content in self._compute(task, data, [units[i] for i in missing]):
            self._write(task, units[missing[position]], content)
            yield missing[position], content, True

    def _compute(
        self, task: Task, data: Dataset, units: Sequence[Unit]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """The position and the content of each unit, in this process or on the workers."""
        if self.workers and units:
            sent = portable(task)
            arguments = [(sent, unit) for unit in units]
            yield from self.workers.map(train_unit_on_worker, arguments, data, self.stopped)
            return
        for i, unit in enumerate(units):
            self._check_running()
            yield i, attempt(lambda unit=unit: train_unit(task, data, unit, self.threads, self._initial))

    def _check_running(self) -> None:
        if self.stopped.is_set():
            raise InterruptedError

    def _finish(self, task: Task, content: dict[str, Any], is_new: bool) -> dict[str, Any]:
        """Reports a unit; returns its content with the name of the optimizer."""
        rows = [{"optimizer": task.optimizer, **row} for row in content["rows"]]
        if task.tunable.freezes:  # how much of the budget is used before the end is unknown
            rows = [
                row | {"curve": row["curve"][-1:], "budget_used": [1.0]} if row["curve"] else row
                for row in rows
            ]
        self.on_unit(task, rows, is_new)
        return content | {"rows": rows}

    def _read(self, task: Task, part: Any) -> dict[str, Any] | None:
        """A part of a task from the store; None if it is not there."""
        identity = self._identity(task, part)
        return self.store.get(identity) if self.store and identity else None

    def _write(self, task: Task, part: Any, content: dict[str, Any]) -> None:
        identity = self._identity(task, part)
        if self.store and identity:
            self.store.put(identity, content)

    def _identity(self, task: Task, part: Any) -> dict[str, Any] | None:
        """What determines a part of a task; None if its code has no source file."""
        identity = {"task": task.identity(), "part": part}
        return identity if task.code and identity["task"]["problem"] else None

    def time_alone(self, task: Task, data: Dataset, result: Result) -> Result:
        """A result with the seconds of one network of the default setting that is trained alone."""
        if result.failure:
            return result

        def measure():
            default = protocol.final_runs(task.budget, dict.fromkeys(task.budget.study_numbers, ()))[-1:]
            return {"seconds": float(train_runs(task, data, default, self.threads)[0].seconds.sum())}

        content = self._read(task, "alone")
        if content is None:
            try:
                content = attempt(measure)
            except OptimizerFailed:
                return result  # tables show a dash for a time that was not measured
            self._write(task, "alone", content)
        seconds = content["seconds"]
        row = {"kind": "alone", "runs": 1, "training": seconds, "total": seconds}
        names = {"optimizer": task.optimizer, "problem": task.problem.name}
        timings = pd.concat([result.timings, pd.DataFrame([row | names])], ignore_index=True)
        return result._replace(timings=timings)


def winning_points(task: Task, units: list[dict[str, Any]]) -> dict[int, tuple[float, ...]]:
    """The quantiles of the trial that each study selects."""
    by_study: dict[int, list[dict[str, Any]]] = {}
    for unit in units:
        for row in unit["rows"]:
            by_study.setdefault(row["study"], []).append(row)
    points = {}
    for study, rows in by_study.items():
        rates = [json.loads(row["settings"]).get("learning_rate", 0.0) for row in rows]
        selection, diverged = ([row[name] for row in rows] for name in ("selection", "diverged"))
        winner = rows[protocol.select(selection, rates, diverged)]
        points[study] = protocol.sobol_points(study, task.budget.trials)[winner["index"]]
    return points


def _failed(task: Task, message: str) -> Result:
    return Result(pd.DataFrame(), pd.DataFrame(), task.widened, failure=message)
