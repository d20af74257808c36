"""How the tasks of a plan are run."""

import math
from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import optax
import pandas as pd
import pytest

import nnjax
from nnjax.compare import Tunable, _run_plan, _shipped, log_uniform, runner
from nnjax.compare._run_plan import estimate_seconds, num_units, run_plan
from nnjax.compare._store import Store
from nnjax.compare.plan import make_plan
from nnjax.compare.report import bounded_sides, make_report
from small_comparison import SMALL, TINY, report_of, sgd, tuned


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    runs = []
    for threads in (1, 4):
        monkeypatch.setattr(_run_plan, "num_threads", lambda threads=threads: threads)
        runs.append(make_report(plan, run_plan(plan)).runs)
    pd.testing.assert_frame_equal(*runs, check_exact=True)


def test_an_exception_in_one_of_several_threads_is_raised(monkeypatch):
    def stop(progress):
        if progress.done == 1:  # otherwise, two threads can raise
            raise KeyError(progress.done)

    monkeypatch.setattr(_run_plan, "num_threads", lambda: 4)
    with pytest.raises(KeyError, match="1"):
        run_plan(make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0)), callback=stop)


def test_a_damaged_unit_is_trained_again(report, tmp_path):
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    run_plan(plan, Store(tmp_path))
    for file in tmp_path.glob("*.json"):
        file.write_bytes(file.read_bytes()[:100])
    assert make_report(plan, run_plan(plan, Store(tmp_path))).runs.equals(report.runs)


def test_the_time_left_does_not_count_units_from_the_store(monkeypatch):
    (task, *_) = make_plan({"mine": tuned(sgd)}, "adamw", SMALL, TINY, (1e-4, 1.0)).tasks
    clock, seen = iter((0.0, 1.0, 11.0)), []
    monkeypatch.setattr(_run_plan.time, "perf_counter", lambda: next(clock))
    reporter = _run_plan._Reporter(seen.append)
    for _ in range(3):
        reporter.expect(task)
    rows = [{"selection": 1.0}]
    reporter.on_unit(task, rows, is_new=False)
    reporter.on_unit(task, rows, is_new=True)
    total = 3 * num_units(task)
    assert seen[-1].seconds_left == 11.0 * (total - 2)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "side"), [(1e-4, "high"), (1e3, "low")])
def test_a_space_that_bounds_the_result_is_a_note_and_is_widened_on_request(scale, side):
    off = Tunable(
        partial(scaled_sgd, scale=scale), {"learning_rate": log_uniform(1e-3, 1)}, scales_with_gradient=False
    )
    budget = replace(TINY, studies=3, trials=16)  # the lowest quantile is below 1/16
    note = f"mine on small is bounded by its search space: the selected learning rates are at its {side} end"
    problem = replace(SMALL, init=lambda key: jnp.full(5, 2.0))  # so that only the rates matter
    assert any(n.startswith(note) for n in report_of(off, budget, problem).about["notes"])
    plan = make_plan({"mine": off}, ("adamw",), problem, budget, (1e-4, 1.0))
    narrow, wide = (run_plan(plan, extend=extend)["mine", "small"] for extend in (False, True))
    assert wide.widened == ((2, 0) if side == "low" else (0, 2))
    best = [result.runs.query("kind == 'fresh'").metric.mean() for result in (narrow, wide)]
    assert best[1] < best[0]


@pytest.mark.slow
def test_shipped_results_are_widened_on_request_too(monkeypatch):
    """Otherwise only the candidate would profit from a wider range."""
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    made = run_plan(plan)
    quantiles = made["adamw", "small"].runs.assign(quantile=0.99)
    shipped = made["adamw", "small"]._replace(runs=quantiles, made_on="another processor")
    monkeypatch.setattr(
        _run_plan, "shipped_result", lambda task: shipped if task.key == ("adamw", "small") else None
    )
    seen = []
    result = run_plan(plan, extend=True, callback=seen.append)["adamw", "small"]
    assert result.widened[1] >= 1
    assert not result.made_on
    assert seen[-1].done == seen[-1].total
    notes = make_report(plan, {**made, ("adamw", "small"): result}).about["notes"]
    assert any(note.startswith("adamw on small was tuned again: the upper end of") for note in notes)
    assert run_plan(plan)["adamw", "small"] is shipped


def scaled_sgd(learning_rate, scale):
    return optax.sgd(scale * learning_rate)


def test_a_bound_of_the_search_space_matters_only_while_metrics_can_improve(report):
    (task, *_) = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0)).tasks
    runs = report.runs[report.runs.optimizer == "mine"].assign(quantile=0.95, initial=1.0)
    for metric, is_bounded in ((0.5, True), (1e-4, False)):
        result = runner.Result(runs.assign(metric=metric), report.timings)
        assert bounded_sides(task, result) == (False, is_bounded)
    with_target = task._replace(problem=nnjax.problems["modular_addition"])
    for steps, is_bounded in ((900.0, True), (with_target.problem.steps + 1.0, False)):
        result = runner.Result(runs.assign(metric=steps), report.timings)
        assert bounded_sides(with_target, result) == (False, is_bounded)
    without_rate = task._replace(tunable=Tunable(sgd, {}))
    assert bounded_sides(without_rate, runner.Result(runs.assign(metric=0.5), report.timings)) == (
        False,
        False,
    )


def test_the_units_of_a_failed_optimizer_are_no_longer_expected():
    def failing(learning_rate):
        raise RuntimeError("no")

    seen = []
    optimizers = {"mine": tuned(sgd), "wrong": Tunable(failing, tuned(sgd).space, scales_with_gradient=False)}
    run_plan(make_plan(optimizers, "adamw", SMALL, TINY, (1e-4, 1.0)), callback=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].seconds_left) == (4, 4, 0.0)


def test_the_estimated_time_counts_the_tasks_that_run_at_the_same_time(monkeypatch):
    tasks = make_plan({"mine": tuned(sgd)}, "sgd", ("quadratic", "bigram"), "quick", (1e-4, 1.0)).tasks
    mine = [task for task in tasks if task.optimizer == "mine"]
    timings = pd.read_parquet(_shipped.FOLDER / "quick-timings.parquet").query("optimizer == 'adamw'")
    means = [timings.query(f"problem == '{task.problem.name}'").total.mean() for task in mine]
    for cores, at_a_time in ((1, 1), (2, 2), (16, 2)):
        monkeypatch.setattr(_run_plan, "num_threads", lambda cores=cores: cores)
        assert estimate_seconds(mine) == pytest.approx(3 * sum(means) / at_a_time)  # 48 runs are 3 units
    unknown = mine[0]._replace(problem=SMALL)
    assert math.isnan(estimate_seconds([*mine, unknown]))
