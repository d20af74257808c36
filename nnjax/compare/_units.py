"""Trains a unit of a comparison: up to 16 runs as one sweep, in this process or on a worker."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from nnjax.compare import protocol
from nnjax.compare._problem import Problem
from nnjax.compare._rows import KEYS, initial_metrics, make_rows
from nnjax.compare._task import Task, attempt
from nnjax.compare.problems import PROBLEMS
from nnjax.compare.protocol import RunSpec, Unit
from nnjax.compare.search_spaces import Setting, factory_for
from nnjax.data import Dataset
from nnjax.sweep import Grid, sweep


def train_unit(
    task: Task, data: Dataset, unit: Unit, threads: int | None, initial: dict[Any, Any]
) -> dict[str, Any]:
    """The rows and the seconds of a unit.

    Args:
      task, data, unit: what is trained.
      threads: as for `sweep`.
      initial: a cache of the metrics before training, which depend only on the problem and the seeds.
    """
    start = time.perf_counter()
    # The last run is repeated until there are 16, so that all units share one compiled program.
    filled = [*unit, *unit[-1:] * (protocol.UNIT_RUNS - len(unit))]
    grid, settings, budget_used = train_runs(task, data, filled, threads)
    seeds = tuple(run.seed for run in filled)
    key = task.problem.name, seeds
    if key not in initial:
        initial[key] = initial_metrics(task.problem, data, seeds)
    rows = make_rows(task.problem, data, unit, settings, grid.data, initial[key], budget_used)
    seconds = {"training": float(grid.seconds.sum()), "total": time.perf_counter() - start}
    return {"rows": rows, "seconds": {"runs": len(unit)} | seconds}


class PortableTask(NamedTuple):
    """A task that can be pickled: a shipped problem is replaced by its name; data are sent separately."""

    task: Task
    problem: str | Problem


def portable(task: Task) -> PortableTask:
    problem = task.problem
    is_shipped = PROBLEMS.get(problem.name) is problem
    return PortableTask(
        task._replace(problem=None),  # pyright: ignore[reportArgumentType]
        problem.name if is_shipped else replace(problem, load=_load_on_worker),
    )


def _load_on_worker() -> Dataset:
    raise RuntimeError("a worker must not load the data set: it is an argument of the unit of work")


def train_unit_on_worker(sent: PortableTask, unit: Unit, data: Dataset) -> dict[str, Any]:
    """Trains a unit on a worker of an executor.

    Raises:
      OptimizerFailed: an error of the code of the optimizer.
    """
    problem = sent.problem
    task = sent.task._replace(problem=PROBLEMS[problem] if isinstance(problem, str) else problem)
    return attempt(lambda: train_unit(task, data, unit, 1, {}))


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
