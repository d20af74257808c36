"""Runs the tasks of a plan."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from nnjax.compare import protocol
from nnjax.compare._compare import CompareProgress
from nnjax.compare._shipped import shipped_result, shipped_seconds_per_unit
from nnjax.compare._store import Store
from nnjax.compare.plan import Plan
from nnjax.compare.report import bounded_sides
from nnjax.compare.runner import Result, Runner, Task

MAX_WIDENINGS = 2  # of the range of the learning rate, on each side


def run_plan(
    plan: Plan,
    store: Store | None = None,
    extend: bool = False,
    callback: Callable[[CompareProgress], None] | None = None,
) -> dict[tuple[str, str], Result]:
    """By optimizer and problem, the result of each task: shipped, from the store, or trained now.

    With `extend`, a shipped result that is bounded by its search space is tuned again like all others.
    """
    reporter = _Reporter(callback)
    runner = Runner(store, reporter.on_unit)
    shipped = {task.key: result for task in plan.tasks if (result := shipped_result(task))}
    for task in plan.tasks:
        if task.key not in shipped:
            reporter.expect(task)
    results = {}
    for task in plan.tasks:
        data = plan.data[task.problem.name]
        result = shipped.get(task.key) or runner.run(task, data)
        while extend and not result.failure and (wider := widened(task, result)) != task.widened:
            task = task._replace(widened=wider)
            reporter.expect(task)
            result = runner.run(task, data)
        results[task.key] = result
    return results


def widened(task: Task, result: Result) -> tuple[int, int]:
    """The decades by which the range of the learning rate is widened next, below and above."""
    sides = bounded_sides(task, result)
    below, above = (min(old + side, MAX_WIDENINGS) for old, side in zip(task.widened, sides, strict=True))
    return below, above


class _Reporter:
    """Calls the callback with the progress after each unit."""

    def __init__(self, callback: Callable[[CompareProgress], None] | None):
        self._callback = callback
        self._total = 0
        self._done = 0
        self._start = time.perf_counter()
        self._best: dict[str, dict[str, float]] = {}

    def expect(self, task: Task) -> None:
        """Counts the units of a task that will be run."""
        self._total += num_units(task)

    def on_unit(self, task: Task, rows: list[dict[str, Any]]) -> None:
        """Records a finished unit."""
        self._done += 1
        best = self._best.setdefault(task.problem.name, {})
        value = min(row["selection"] for row in rows)
        best[task.optimizer] = min(best.get(task.optimizer, math.inf), value)
        if self._callback:
            per_unit = (time.perf_counter() - self._start) / self._done
            left = max(self._total - self._done, 0) * per_unit
            progress = CompareProgress(
                self._done, self._total, left, task.optimizer, task.problem.name, dict(best)
            )
            self._callback(progress)


def num_units(task: Task) -> int:
    """The number of units of a task, if the winners of all studies have the same batch multiplier."""
    budget = task.budget
    final = budget.runs - budget.studies * budget.trials
    trials = len(task.tunable.batch_multipliers) * -(
        -budget.studies * budget.trials // (len(task.tunable.batch_multipliers) * protocol.UNIT_RUNS)
    )
    return trials + -(-final // protocol.UNIT_RUNS)


def estimate_seconds(tasks: Sequence[Task]) -> float:
    """The estimated time of tasks, from the times of the shipped reference; NaN if none is shipped."""
    return sum(shipped_seconds_per_unit(task) * num_units(task) for task in tasks)
