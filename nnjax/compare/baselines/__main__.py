"""Computes the results that are shipped: `python -m nnjax.compare.baselines standard --store DIR`.

Every finished unit of work is stored, so the command can be interrupted and started again. MNIST must be in
the folder of the environment variable `NNJAX_MNIST` or in the cache of tensorflow-datasets.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nnjax.compare._baseline_optimizers import BASELINES
from nnjax.compare._references import REFERENCE, make_reference
from nnjax.compare._shipped import task_name
from nnjax.compare._store import Store, digest_of
from nnjax.compare.plan import baseline, choose_problems
from nnjax.compare.protocol import BUDGETS
from nnjax.compare.report import ORDER
from nnjax.compare.runner import Result, Runner, Task
from nnjax.runtime.environment import environment
from nnjax.runtime.files import write_atomically

FOLDER = Path(__file__).parent


def main() -> None:
    """Trains the baselines with a budget, and writes their results into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("budget", choices=BUDGETS)
    parser.add_argument("--optimizers", nargs="*", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--problems", nargs="*", default=["quick", "standard"])
    parser.add_argument("--store", type=Path, required=True, help="folder of finished units of work")
    arguments = parser.parse_args()
    tasks = [
        Task(name, *baseline(name), problem, BUDGETS[arguments.budget])
        for name in arguments.optimizers
        for problem in choose_problems(arguments.problems)
    ]
    store = Store(arguments.store)
    runner = Runner(store)
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


def write_files(budget: str, tasks: Iterable[Task], results: dict[tuple[str, str], Result]) -> None:
    """Writes the runs, their times, and the digests, references and versions of the results."""
    done = [task for task in tasks if not results[task.key].failure]
    for kind in ("runs", "timings"):
        table = pd.concat([getattr(results[task.key], kind) for task in done], ignore_index=True)
        order = [column for column in ORDER if column in table]
        table = table.sort_values(order, ignore_index=True)
        write_atomically(
            FOLDER / f"{budget}-{kind}.parquet", table.to_parquet(index=False, compression="zstd")
        )
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
