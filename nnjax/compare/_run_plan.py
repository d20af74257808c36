"""Runs the tasks of a plan."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Any, TypeVar

import jax

from nnjax.compare import protocol
from nnjax.compare._compare import CompareProgress
from nnjax.compare._shipped import shipped_result, shipped_seconds_per_unit
from nnjax.compare._store import Store
from nnjax.compare._task import Task
from nnjax.compare.plan import Plan
from nnjax.compare.report import bounded_sides
from nnjax.compare.runner import Result, Runner
from nnjax.runtime.executors import Workers
from nnjax.runtime.limits import num_threads

R = TypeVar("R")

MAX_WIDENINGS = 2  # of the range of the learning rate, on each side


def run_plan(
    plan: Plan,
    store: Store | None = None,
    extend: bool = False,
    callback: Callable[[CompareProgress], None] | None = None,
    workers: Workers | None = None,
) -> dict[tuple[str, str], Result]:
    """By optimizer and problem, the result of each task: shipped, from the store, or trained now.

    With `extend`, a shipped result that is bounded by its search space is tuned again like all others. If
    `workers` is passed, these workers train all units.
    """
    reporter = _Reporter(callback)
    shipped = {task.key: result for task in plan.tasks if (result := shipped_result(task))}
    threads = _threads_of_a_task(len(plan.tasks) - len(shipped))
    runner = Runner(store, reporter.on_unit, threads=threads, workers=workers)
    for task in plan.tasks:
        if task.key not in shipped:
            reporter.expect(task)

    def run(task: Task) -> tuple[Task, Result]:
        data = plan.data[task.problem.name]
        result = shipped.get(task.key) or runner.run(task, data)
        while extend and not result.failure and (wider := widened(task, result)) != task.widened:
            task = task._replace(widened=wider)
            reporter.expect(task)
            result = runner.run(task, data)
        if result.failure:
            reporter.drop(task)
        return task, result

    results = {}
    at_a_time = max(tasks_at_a_time(len(plan.tasks)), workers.num_workers() if workers else 0)
    for task, result in _map_threads(run, plan.tasks, at_a_time, runner.stopped):
        if plan.budget.is_standard and not (result.made_on or workers):  # this process would time one by one
            result = runner.time_alone(task, plan.data[task.problem.name], result)
        results[task.key] = result
    return results


def _map_threads(run: Callable[[Task], R], tasks: Sequence[Task], at_a_time: int, stopped: Event) -> list[R]:
    """`run` of each task, several at the same time.

    The programs are small, so one of them does not use several cores well. Results do not depend on it.
    """
    with ThreadPoolExecutor(max(at_a_time, 1)) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        try:
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()  # raises the exception of a task that failed
            return [future.result() for future in futures]
        except BaseException:  # also an interrupt from the keyboard
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def tasks_at_a_time(tasks: int) -> int:
    """The number of tasks that run at the same time: on a CPU, at most `num_threads()`, otherwise 1."""
    return min(num_threads(), tasks) if jax.default_backend() == "cpu" else 1


def _threads_of_a_task(tasks: int) -> int | None:
    """The number of threads for each of a number of tasks; None on an accelerator."""
    if jax.default_backend() != "cpu":
        return None
    return max(1, num_threads() // max(tasks_at_a_time(tasks), 1))


def widened(task: Task, result: Result) -> tuple[int, int]:
    """The decades by which the range of the learning rate is widened next, below and above."""
    sides = bounded_sides(task, result)
    below, above = (min(old + side, MAX_WIDENINGS) for old, side in zip(task.widened, sides, strict=True))
    return below, above


class _Reporter:
    """Calls the callback with the progress after each unit."""

    def __init__(self, callback: Callable[[CompareProgress], None] | None):
        self._callback = callback
        self._lock = Lock()
        self._total = 0
        self._done: Counter[tuple[str, str]] = Counter()  # by optimizer and problem
        self._new = 0  # units that were not read from the store
        self._start = time.perf_counter()
        self._best: dict[str, dict[str, float]] = {}

    def expect(self, task: Task) -> None:
        """Counts the units of a task that will be run."""
        with self._lock:
            self._total += num_units(task)

    def drop(self, task: Task) -> None:
        """Stops counting the units of a task that failed."""
        with self._lock:
            self._total -= max(num_units(task) - self._done[task.key], 0)

    def on_unit(self, task: Task, rows: list[dict[str, Any]], is_new: bool) -> None:
        """Records a finished unit."""
        with self._lock:
            self._done[task.key] += 1
            done = self._done.total()
            self._new += is_new
            best = self._best.setdefault(task.problem.name, {})
            value = min(row["selection"] for row in rows)
            best[task.optimizer] = min(best.get(task.optimizer, math.inf), value)
            if self._callback:
                per_unit = (time.perf_counter() - self._start) / max(self._new, 1)
                left = max(self._total - done, 0) * per_unit
                progress = CompareProgress(
                    done, self._total, left, task.optimizer, task.problem.name, dict(best)
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
    """The estimated time of tasks, from the times of the shipped reference; NaN if one is not shipped."""
    seconds = sum(shipped_seconds_per_unit(task) * num_units(task) for task in tasks)
    return seconds / max(tasks_at_a_time(len(tasks)), 1)
