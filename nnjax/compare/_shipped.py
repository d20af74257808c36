"""The results of baselines that are shipped with the package.

For each budget, the folder `baselines` has Parquet files with the runs and their times, and a JSON file with
digests of the tasks, versions and machine. `python -m nnjax.compare.baselines` writes these files.
"""

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from nnjax.compare._baseline_optimizers import SAME_AS
from nnjax.compare._references import REFERENCE
from nnjax.compare._store import digest_of
from nnjax.compare._task import Task
from nnjax.compare.protocol import rows_of
from nnjax.compare.runner import Result

FOLDER = files("nnjax.compare").joinpath("baselines")


def shipped_result(task: Task) -> Result | None:
    """The shipped result of a task; None if there is none, or if it was made by another definition."""
    if _shipped_digest(task) != digest_of(task.identity()):
        return None
    runs, timings = (_table(task.budget.name, kind) for kind in ("runs", "timings"))
    made_on = shipped_about(task.budget.name)["environment"]["processor"]
    return Result(_of_task(runs, task), _of_task(timings, task), made_on=made_on)


def is_outdated(task: Task) -> bool:
    """Whether the shipped result of a baseline on a problem was made by another definition."""
    return _shipped_digest(task) not in (None, digest_of(task.identity()))


def _shipped_digest(task: Task) -> str | None:
    """The digest of the shipped task with the names of this one; None if there is none."""
    return shipped_about(task.budget.name).get("tasks", {}).get(task_name(task))


def task_name(task: Task) -> str:
    """The name of a task in the list of shipped tasks. Optimizers that are equal have the same name."""
    return f"{SAME_AS.get(task.optimizer, task.optimizer)} {task.problem.name}"


def _of_task(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    rows = table[(table.optimizer + " " + table.problem) == task_name(task)].reset_index(drop=True)
    return rows.assign(optimizer=task.optimizer)


@cache
def shipped_about(budget: str) -> dict[str, Any]:
    """The JSON file about the shipped results of a budget; empty if no results are shipped."""
    return _read_json(f"{budget}.json")


@cache
def shipped_audits() -> list[dict[str, Any]]:
    """The results of the audits of the shipped results."""
    return _read_json("audits.json").get("audits", [])


def shipped_reference(task: Task) -> dict[str, Any] | None:
    """The frozen reference of the problem of a task; None if none is shipped for this definition."""
    about = shipped_about(task.budget.name)
    found = about.get("references", {}).get(task.problem.name)
    if found is None or found["problem"] != digest_of(task.problem.identity()):
        return None
    return found["numbers"]


def shipped_seconds_per_unit(task: Task) -> float:
    """The mean time of a unit of the shipped reference on the problem of a task; NaN if there is none."""
    if not shipped_about(task.budget.name):
        return math.nan
    timings = _table(task.budget.name, "timings")
    units = rows_of(timings, optimizer=REFERENCE, problem=task.problem.name, kind="unit")
    return float(units.total.mean())


@cache
def _table(budget: str, kind: str) -> pd.DataFrame:
    with FOLDER.joinpath(f"{budget}-{kind}.parquet").open("rb") as file:
        return pd.read_parquet(file)


def _read_json(name: str) -> dict[str, Any]:
    path = FOLDER.joinpath(name)
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
