"""Trains the units of a comparison as sweeps, and stores each as soon as it is finished."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from threading import Event
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from nnjax.compare import protocol
from nnjax.compare._optimizer_checks import check_state_and_updates
from nnjax.compare._problem import Problem
from nnjax.compare._rows import KEYS, initial_metrics, make_rows
from nnjax.compare._store import Store
from nnjax.compare._user_code import describe_error, problem_identity
from nnjax.compare.protocol import Budget, RunSpec, Unit
from nnjax.compare.search_spaces import LogUniform, Setting, Tunable, factory_for, setting, tuned_space
from nnjax.data import Dataset
from nnjax.sweep import Grid, sweep

T = TypeVar("T")


class OptimizerFailed(Exception):
    """An optimizer cannot be trained on a problem."""


class Task(NamedTuple):
    """One optimizer on one problem.

    Attributes:
      optimizer: the name of the optimizer in results.
      tunable: the optimizer with its search space.
      code: the identity of the optimizer's code; None if the code has no file. Results are then not stored.
      problem: the problem.
      budget: how much tuning it gets.
      widened: decades that are added to the range of the learning rate, below and above.
    """

    optimizer: str
    tunable: Tunable
    code: str | None
    problem: Problem
    budget: Budget
    widened: tuple[int, int] = (0, 0)

    @property
    def key(self) -> tuple[str, str]:
        """The names of the optimizer and the problem."""
        return self.optimizer, self.problem.name

    @property
    def space(self) -> dict[str, LogUniform]:
        """The distributions of the hyper-parameters that are tuned."""
        return tuned_space(self.tunable, **self._conditions)

    def setting(self, run: RunSpec) -> Setting:
        """The setting of a run."""
        return setting(self.tunable, run.point, schedules=self.budget.schedules, **self._conditions)

    @property
    def _conditions(self) -> dict[str, Any]:
        return {
            "learning_rate_scale": self.problem.learning_rate_scale,
            "has_weight_decay": self.problem.has_weight_decay,
            "is_standard": self.budget.is_standard,
            "widened": self.widened,
        }

    def length(self, batch_multiplier: int) -> tuple[int, int]:
        """The number of steps that the budget allows, and the number of steps between two evaluations."""
        affordable = int(self.problem.steps / (batch_multiplier * self.tunable.cost))
        if not affordable:
            raise ValueError(
                f"a step must cost at most the {self.problem.steps} gradients of a run, got "
                f"{batch_multiplier * self.tunable.cost:g}"
            )
        rows = self.problem.steps // self.problem.evaluate_every
        every = -(-affordable // rows)
        return affordable // every * every, every

    def identity(self) -> dict[str, Any]:
        """What determines the results on one machine, as JSON values."""
        budget = asdict(self.budget)
        del budget["name"]
        tunable = asdict(self.tunable) | {"factory": self.code}
        return {
            "protocol": protocol.VERSION,
            "problem": problem_identity(self.problem),
            "optimizer": json.loads(json.dumps(tunable, default=float)),
            "budget": budget,
            "widened": self.widened,
        }


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
    """

    store: Store | None = None
    on_unit: Callable[[Task, list[dict[str, Any]], bool], None] = lambda task, rows, is_new: None
    stopped: Event = field(default_factory=Event)
    threads: int | None = None
    _initial: dict[Any, Any] = field(default_factory=dict)

    def run(self, task: Task, data: Dataset) -> Result:
        """Runs the trials, the fresh seeds of the winners, and the default setting of a task."""
        default = task.setting(RunSpec(protocol.DEFAULT, 0, 0, None))
        if task.tunable.freezes and task.problem.target_accuracy is not None:
            message = "its steps have different costs, so it has no number of steps to a target"
            return _failed(task, message)
        try:
            _attempt(lambda: check_state_and_updates(task.tunable, task.problem, data, default))
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
        return [self._run_unit(task, data, unit) for unit in units]

    def _run_unit(self, task: Task, data: Dataset, unit: Unit) -> dict[str, Any]:
        if self.stopped.is_set():
            raise InterruptedError
        content, is_new = self._stored(task, unit, lambda: self._train(task, data, unit))
        rows = [{"optimizer": task.optimizer, **row} for row in content["rows"]]
        if task.tunable.freezes:  # how much of the budget is used before the end is unknown
            rows = [
                row | {"curve": row["curve"][-1:], "budget_used": [1.0]} if row["curve"] else row
                for row in rows
            ]
        self.on_unit(task, rows, is_new)
        return content | {"rows": rows}

    def _stored(
        self, task: Task, part: Any, compute: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], bool]:
        """A part of a task, and whether it was computed (and stored) now, and not read from the store."""
        identity = {"task": task.identity(), "part": part}
        store = self.store if task.code and identity["task"]["problem"] else None
        if store and (content := store.get(identity)) is not None:
            return content, False
        content = _attempt(compute)
        if store:
            store.put(identity, content)
        return content, True

    def time_alone(self, task: Task, data: Dataset, result: Result) -> Result:
        """A result with the seconds of one network of the default setting that is trained alone."""
        if result.failure:
            return result

        def measure():
            default = protocol.final_runs(task.budget, dict.fromkeys(task.budget.study_numbers, ()))[-1:]
            return {"seconds": float(train_runs(task, data, default, self.threads)[0].seconds.sum())}

        try:
            seconds = self._stored(task, "alone", measure)[0]["seconds"]
        except OptimizerFailed:
            return result  # tables show a dash for a time that was not measured
        row = {"kind": "alone", "runs": 1, "training": seconds, "total": seconds}
        names = {"optimizer": task.optimizer, "problem": task.problem.name}
        timings = pd.concat([result.timings, pd.DataFrame([row | names])], ignore_index=True)
        return result._replace(timings=timings)

    def _train(self, task: Task, data: Dataset, unit: Unit) -> dict[str, Any]:
        start = time.perf_counter()
        # The last run is repeated until there are 16, so that all units share one compiled program.
        filled = [*unit, *unit[-1:] * (protocol.UNIT_RUNS - len(unit))]
        grid, settings, budget_used = train_runs(task, data, filled, self.threads)
        initial = self._initial_metrics(task.problem, data, tuple(run.seed for run in filled))
        rows = make_rows(task.problem, data, unit, settings, grid.data, initial, budget_used)
        seconds = {"training": float(grid.seconds.sum()), "total": time.perf_counter() - start}
        return {"rows": rows, "seconds": {"runs": len(unit)} | seconds}

    def _initial_metrics(self, problem: Problem, data: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
        """For each split, the metrics before training. They depend only on the problem and the seeds."""
        key = problem.name, seeds
        if key not in self._initial:
            self._initial[key] = initial_metrics(problem, data, seeds)
        return self._initial[key]


def train_runs(
    task: Task, data: Dataset, runs: Sequence[RunSpec], threads: int | None = None
) -> tuple[Grid, list[Setting], np.ndarray]:
    """Trains runs in one sweep. `threads` is passed to `sweep`.

    Returns:
      The grid with an axis `point` for the runs; their settings; and the share of the budget that is used at
      each evaluation.
    """
    problem, settings = task.problem, [task.setting(run) for run in runs]
    multiplier = settings[0].batch_multiplier
    steps, every = task.length(multiplier)
    names = settings[0].hyperparameters
    points = {name: [setting.hyperparameters[name] for setting in settings] for name in names}
    if task.tunable.freezes:
        points["budget"] = [problem.steps / multiplier] * len(runs)
    grid = sweep(
        KEYS.key, data, init=problem.init, objective=problem.objective,
        optimizer=factory_for(task.tunable, problem.has_weight_decay),
        batch_size=multiplier * problem.batch_size, drop_remainder=problem.drop_remainder,
        steps=steps, evaluate_every=every, shared_batches=KEYS.shared_batches, threads=threads,
        zip={"seed": [run.seed for run in runs], "schedule": [s.schedule for s in settings], **points},
    )  # fmt: skip
    return grid, settings, grid.data["step"].values * multiplier * task.tunable.cost / problem.steps


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


def _attempt(compute: Callable[[], T]) -> T:
    """`compute()`, which runs the code of an optimizer.

    Raises:
      OptimizerFailed: `compute` raised an exception, which the message describes.
    """
    try:
        return compute()
    except Exception as error:  # the code of an optimizer can raise anything
        raise OptimizerFailed(describe_error(error)) from error
