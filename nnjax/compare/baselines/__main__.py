"""Computes the results that are shipped: `python -m nnjax.compare.baselines standard --store DIR`.

Every finished unit of work is stored, so the command can be interrupted and started again. MNIST must be in
the cache of tensorflow-datasets. On a busy machine, the seconds of one network that is trained alone are too
many: `python -m nnjax.compare.baselines standard --seconds` measures them again, and trains nothing else.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nnjax.compare._baseline_optimizers import BASELINES
from nnjax.compare._references import REFERENCE, make_reference
from nnjax.compare._shipped import shipped_result, task_name
from nnjax.compare._store import Store, digest_of
from nnjax.compare._task import Task
from nnjax.compare.plan import baseline, choose_problems
from nnjax.compare.protocol import BUDGETS, rows_of
from nnjax.compare.report import ORDER
from nnjax.compare.runner import Result, Runner
from nnjax.runtime.environment import environment
from nnjax.runtime.files import write_atomically

FOLDER = Path(__file__).parent


def main() -> None:
    """Trains the baselines with a budget, and writes their results into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("budget", choices=BUDGETS)
    parser.add_argument("--optimizers", nargs="*", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--problems", nargs="*", default=["quick", "standard"])
    work = parser.add_mutually_exclusive_group(required=True)
    work.add_argument("--store", type=Path, help="folder of finished units of work")
    work.add_argument("--seconds", action="store_true", help="measure only seconds, again")
    arguments = parser.parse_args()
    tasks = [
        Task(name, *baseline(name), problem, BUDGETS[arguments.budget])
        for name in arguments.optimizers
        for problem in choose_problems(arguments.problems)
    ]
    if arguments.seconds:
        measure_seconds(arguments.budget, tasks)
        return
    runner = Runner(Store(arguments.store))
    results = {}
    for i, task in enumerate(tasks):
        data = task.problem.load()
        result = runner.run(task, data)
        if task.budget.is_standard:
            result = runner.time_alone(task, data, result)
        results[task.key] = result
        seconds = result.timings.total.sum() if len(result.timings) else 0.0
        print(f"{i + 1} of {len(tasks)}: {task_name(task)} {seconds:.1f} s {result.failure}", flush=True)
        write_files(arguments.budget, tasks[: i + 1], results)


def measure_seconds(budget: str, tasks: Iterable[Task]) -> None:
    """Replaces the shipped seconds of one network that is trained alone."""
    runner, tables = Runner(), []
    for task in tasks:
        if shipped := shipped_result(task):
            units = rows_of(shipped.timings, kind="unit")
            timings = runner.time_alone(task, task.problem.load(), shipped._replace(timings=units)).timings
            print(f"{task_name(task)}: {timings.training.iloc[-1]:.3f} s", flush=True)
            tables.append(timings)
    _write_table(budget, "timings", tables)


def _write_table(budget: str, kind: str, tables: Iterable[pd.DataFrame]) -> None:
    table = pd.concat(tables, ignore_index=True)
    table = table.sort_values([column for column in ORDER if column in table], ignore_index=True)
    content = table.to_parquet(index=False, compression="zstd")
    write_atomically(FOLDER / f"{budget}-{kind}.parquet", content)


def write_files(budget: str, tasks: Iterable[Task], results: dict[tuple[str, str], Result]) -> None:
    """Writes the runs, their times, and the digests, references and versions of the results."""
    done = [task for task in tasks if not results[task.key].failure]
    for kind in ("runs", "timings"):
        _write_table(budget, kind, [getattr(results[task.key], kind) for task in done])
    references = {
        task.problem.name: {
            "problem": digest_of(task.problem.identity()),
            "numbers": make_reference(results[task.key].runs, task.problem.target_accuracy is not None),
        }
        for task in done if task.optimizer == REFERENCE
    }  # fmt: skip
    about = {
        "tasks": {task_name(task): digest_of(task.identity()) for task in done},
        "references": references,
        "environment": environment(),
    }
    write_atomically(FOLDER / f"{budget}.json", (json.dumps(about, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
