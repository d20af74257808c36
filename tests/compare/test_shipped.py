"""The results that are shipped with the package."""

import json
from dataclasses import replace

import numpy as np
import optax
import pandas as pd
import pytest

import nnjax
from nnjax.compare import _shipped
from nnjax.compare._baseline_optimizers import BASELINES
from nnjax.compare._store import digest_of
from nnjax.compare._task import Task
from nnjax.compare.plan import baseline, choose_problems, make_plan
from nnjax.compare.protocol import BUDGETS, rows_of
from nnjax.compare.report import bounded_sides

QUICK = BUDGETS["quick"]
TASKS = [
    Task(name, *baseline(name), problem, QUICK) for name in BASELINES for problem in choose_problems("quick")
]


@pytest.fixture(scope="module")
def runs():
    return pd.concat([_shipped.shipped_result(task).runs for task in TASKS], ignore_index=True)


def test_every_baseline_is_shipped_for_the_quick_suite_and_its_definition_is_current():
    missing = [task.key for task in TASKS if _shipped.shipped_result(task) is None]
    assert not missing, f"run `python -m nnjax.compare.baselines quick` again for {missing}"


def test_another_definition_is_not_shipped():
    task = TASKS[0]
    assert _shipped.shipped_result(task) is not None
    assert _shipped.shipped_result(task._replace(budget=replace(QUICK, first_study=8))) is None
    assert _shipped.shipped_result(task._replace(code="other")) is None


def test_baselines_that_are_trained_again_are_a_note(monkeypatch):
    shipped = Task("adamw", *baseline("adamw"), nnjax.problems["bigram"], QUICK)
    about = {"tasks": {"adamw bigram": digest_of(shipped.identity()), "sgd bigram": "other"}}
    monkeypatch.setattr(_shipped, "shipped_about", lambda budget: about)

    def notes(**changes):
        optimizers = {"sgd": lambda learning_rate: optax.sgd(learning_rate)}  # not the baseline of this name
        plan = make_plan(optimizers, ("adamw",), "bigram", replace(QUICK, **changes), (1e-4, 1.0))
        return [note for note in plan.notes if "shipped" in note]

    assert notes() == []
    assert notes(studies=4) == [
        "These baselines were trained again, because their shipped results have another budget or another "
        "definition: adamw on bigram."
    ]


def test_every_task_has_all_runs_with_finite_metrics(runs):
    sizes = runs.groupby(["optimizer", "problem", "kind"]).size().unstack()
    assert (sizes == pd.Series({"default": 8, "fresh": 8, "trial": 32})).all(axis=None)
    assert np.isfinite(runs.metric).all()
    assert (runs.metric <= runs.initial).all()


def test_no_target_holds_at_initialization(runs):
    """The audit of the initial pass: a target that holds before training would measure nothing."""
    for problem in choose_problems("quick"):
        numbers = _shipped.shipped_reference(Task("adamw", *baseline("adamw"), problem, QUICK))
        initial = rows_of(runs, problem=problem.name).initial
        assert all(target < initial.min() for target in numbers["targets"].values()), problem.name
        assert numbers["reference"] < numbers["m0"]


def test_runs_have_no_times_dates_or_paths(runs):
    assert not [name for name in runs if "second" in name or "time" in name or "date" in name]
    assert not runs.settings.str.contains("/").any()
    assert json.loads(runs.settings[0])["schedule"] == "warmup_linear"


def test_the_file_is_small():
    assert len(_shipped.FOLDER.joinpath("quick-runs.parquet").read_bytes()) < 2**21


def test_the_reference_is_not_bounded_by_its_search_space_and_few_others_are():
    bounded = [task.key for task in TASKS if any(bounded_sides(task, _shipped.shipped_result(task)))]
    assert "adamw" not in {optimizer for optimizer, _ in bounded}
    assert len(bounded) < len(TASKS) / 5


def test_a_problem_with_another_version_has_no_reference():
    changed = replace(nnjax.problems["bigram"], version=2)
    task = Task("adamw", *baseline("adamw"), changed, QUICK)
    assert _shipped.shipped_reference(task) is None
    assert digest_of(changed.identity()) != digest_of(nnjax.problems["bigram"].identity())
