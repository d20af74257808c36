"""`compare`: what is trained, what is stored, and what goes wrong with optimizers of users."""

import dataclasses
import json
import math
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import nnjax
from nnjax.compare import Tunable, _page, _run_plan, compare, log_uniform, runner
from nnjax.compare._baseline_optimizers import BASELINES
from nnjax.compare._rows import KEYS
from nnjax.compare._run_plan import num_units, run_plan
from nnjax.compare._store import Store
from nnjax.compare._task import Task
from nnjax.compare.analysis import analyse
from nnjax.compare.plan import make_plan
from nnjax.compare.protocol import BUDGETS, Budget
from nnjax.compare.report import _call, make_report
from small_comparison import CURVATURE, DATA, SMALL, TINY, X, report_of, sgd, start, tuned


def test_every_run_can_be_trained_again_by_fit(report):
    """The row says how: the seed gives the keys, the settings the hyper-parameters."""
    for row in report.runs[report.runs.optimizer == "mine"].itertuples():
        init_key, fit_key = KEYS.for_seed(row.seed)
        settings = json.loads(row.settings)
        run = nnjax.fit(
            fit_key, start(init_key), DATA, objective=SMALL.objective, optimizer=sgd, batch_size=16, steps=40,
            **settings,
        )  # fmt: skip
        costs = run.history.validation_cost
        assert row.diverged == (not costs[-1] <= row.initial)
        assert row.metric == pytest.approx(row.initial if row.diverged else costs[-1], rel=1e-5)
        assert row.initial == pytest.approx(
            np.mean(np.sum(CURVATURE * (np.asarray(start(init_key)) - X) ** 2, axis=1) / 2), rel=1e-5
        )
        if row.kind == "fresh":
            np.testing.assert_allclose(row.curve, costs, rtol=1e-5)
            assert row.budget_used[-1] == 1


def test_fresh_runs_have_the_setting_that_their_study_selected(report):
    for (_, study), runs in report.runs.groupby(["optimizer", "study"]):
        trials, fresh = (runs[runs.kind == kind] for kind in ("trial", "fresh"))
        assert set(fresh.settings) == {trials.loc[trials.selection.idxmin()].settings}, study


def test_both_optimizers_share_quantiles_seeds_and_initial_parameters(report):
    columns = ["kind", "study", "index", "seed", "quantile", "initial"]
    mine, baseline = (
        report.runs[(report.runs.optimizer == name) & (report.runs.kind != "fresh")][columns]
        for name in ("mine", "adamw")
    )
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), baseline.reset_index(drop=True))


def test_all_units_of_an_optimizer_share_one_program(compilations):
    def num_programs():
        return sum("train_epoch" in name for name in compilations)

    budget = replace(
        BUDGETS["standard"], studies=3, trials=8, defaults=3
    )  # 24 trials: units of 16 and 8 runs
    plan = make_plan({"mine": tuned(sgd)}, ("sgd",), SMALL, budget, (1e-4, 1.0))
    result = runner.Runner().run(plan.tasks[0], DATA)
    assert num_programs() == 1
    runner.Runner().time_alone(plan.tasks[0], DATA, result)  # needs a program of one network
    assert num_programs() == 2


def test_verdicts_are_about_the_candidate(report):
    (row,) = report.verdicts.to_dict("records")
    assert (row["problem"], row["optimizer"], row["baseline"]) == ("small", "mine", "adamw")
    fresh = report.runs[report.runs.kind == "fresh"].pivot(
        index="study", columns="optimizer", values="metric"
    )
    assert row["effect"] == pytest.approx(np.log(fresh.mine / fresh.adamw).mean())


def test_a_report_is_saved_as_a_page_with_tables(report, tmp_path):
    page = report.save(tmp_path / "out")
    assert not re.search("https?://", page.read_text())
    assert "mine" in page.read_text()
    runs = pd.read_parquet(page.with_name("runs.parquet"))
    assert len(runs) == len(report.runs) == 2 * TINY.runs
    order = runs[["problem", "optimizer"]].apply(tuple, axis=1).tolist()
    assert order == sorted(order)
    assert pd.read_csv(page.with_name("verdicts.csv")).verdict.tolist() == report.verdicts.verdict.tolist()
    assert list(page.with_name("figures").glob("*.svg"))


# --- the store ---


def test_a_comparison_that_stopped_continues_with_the_same_results(report, tmp_path, monkeypatch):
    trained = []
    train = runner.train_unit
    monkeypatch.setattr(runner, "train_unit", lambda *a: (trained.append(1), train(*a))[1])
    monkeypatch.setattr(_run_plan, "num_threads", lambda: 1)  # so that no other unit is in training
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))

    def stop(progress):
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, Store(tmp_path), callback=stop)
    assert len(trained) == 3
    again = make_report(plan, run_plan(plan, Store(tmp_path)))
    assert len(trained) == sum(map(num_units, plan.tasks)) == 4
    pd.testing.assert_frame_equal(again.runs, report.runs, check_exact=True)
    assert make_report(plan, run_plan(plan, Store(tmp_path))).runs.equals(report.runs)
    assert len(trained) == 4


def test_results_are_stored_by_everything_that_decides_them():
    def identity(tunable=tuned(sgd), problem=SMALL, budget=TINY, code="c"):
        return Task("mine", tunable, code, problem, budget).identity()

    others = [
        identity(tuned(sgd, momentum=log_uniform(0.1, 1))),
        identity(problem=replace(SMALL, version=2)),
        identity(budget=replace(TINY, first_study=2)),
        identity(code="other"),
    ]
    assert identity() == identity()
    assert identity() not in others


# --- optimizers of users ---


def raising(learning_rate=0.1):
    raise RuntimeError("no such device")


def transposed(learning_rate=0.1):
    return optax.stateless(lambda grads, params: jax.tree.map(lambda g: g[None], grads))


def half_precision(learning_rate=0.1):
    return optax.stateless(lambda grads, params: jax.tree.map(lambda g: -g.astype(jnp.bfloat16), grads))


def dense_hessian(learning_rate=0.1):
    inner = optax.sgd(learning_rate)
    return optax.GradientTransformation(
        lambda params: (inner.init(params), jnp.zeros((10_000, 10_000))),
        lambda g, state, params=None: (inner.update(g, state[0], params)[0], state),
    )


def growing(learning_rate=0.1):
    return optax.GradientTransformation(lambda params: jnp.zeros(1), lambda g, s, p=None: (g, jnp.zeros(2)))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (raising, r"RuntimeError: no such device \(test_compare\.py, line \d+\)"),
        (transposed, r"updates must have the shapes of the parameters, got \(1, 5\) instead of \(5,\)"),
        (half_precision, r"updates must have .* got bfloat16\[5\] instead of float32\[5\]"),
        (dense_hessian, "the state must have at most 256 MiB for one run, got 381 MiB"),
        (growing, "the state must keep its shapes and dtypes"),
    ],
)
def test_an_optimizer_that_fails_is_reported_and_the_others_finish(factory, message):
    report = report_of(tuned(factory))
    assert set(report.runs.optimizer) == {"adamw"}
    assert report.verdicts.empty
    (note,) = [note for note in report.about["notes"] if note.startswith("mine failed on small: ")]
    assert re.search(message, note)
    analysis = analyse(report.runs, report.problems, report.verdicts)
    assert "mine failed on small" in _page.render(analysis, report.about)


FAILED = runner.Result(pd.DataFrame(), pd.DataFrame(), failure="RuntimeError: no")


def test_a_comparison_in_which_everything_fails_is_an_error_with_the_messages():
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    message = "must finish a problem: mine failed on small: RuntimeError: no; adamw failed on small: "
    with pytest.raises(ValueError, match=message):
        make_report(plan, {task.key: FAILED for task in plan.tasks})


def test_a_problem_that_nothing_finishes_is_a_note_and_not_a_row(report):
    problems = (SMALL, replace(SMALL, name="other"))
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), problems, TINY, (1e-4, 1.0))
    results = {}
    for task in plan.tasks:
        runs = report.runs[report.runs.optimizer == task.optimizer]
        finished = runner.Result(runs, report.timings[report.timings.optimizer == task.optimizer])
        results[task.key] = finished if task.problem is SMALL else FAILED
    partial_report = make_report(plan, results)
    assert set(partial_report.problems) == set(partial_report.verdicts.problem) == {"small"}
    pd.testing.assert_frame_equal(partial_report.verdicts, report.verdicts)
    assert "adamw failed on other: RuntimeError: no" in partial_report.about["notes"]


def test_a_step_that_costs_more_than_a_run_has_a_message():
    task = make_plan({"mine": replace(tuned(sgd), cost=41.0)}, ("adamw",), SMALL, TINY, (1e-4, 1.0)).tasks[0]
    with pytest.raises(ValueError, match="a step must cost at most the 40 gradients of a run, got 41"):
        task.length(1)


def test_an_error_of_the_store_is_not_one_of_the_optimizer(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(Store, "put", full)
    with pytest.raises(OSError, match="no space left on device"):
        report_of(tuned(sgd), store=tmp_path)


def late_nan(learning_rate=0.1):
    def update(grads, count, params=None):
        scale = jnp.where(count < 20, -learning_rate, jnp.nan)
        return jax.tree.map(lambda g: scale * g, grads), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def test_a_run_that_becomes_nan_has_diverged_and_gets_the_initial_metric():
    report = report_of(tuned(late_nan))
    mine = report.runs[report.runs.optimizer == "mine"]
    assert mine.diverged.all()
    assert (mine.metric == mine.initial).all()
    n = (mine.kind == "fresh").sum()
    assert report.about["notes"][0].startswith(
        f"mine diverged on small in {n} of {n} runs with tuned settings"
    )
    assert report.verdicts.effect.item() > 0


def deaf(learning_rate=0.1):
    return optax.sgd(0.05)


def test_an_optimizer_that_ignores_its_learning_rate_is_a_note():
    notes = report_of(tuned(deaf)).about["notes"]
    assert "mine ignores its learning rate: its first updates do not depend on it." in notes


@pytest.mark.slow
def test_a_wrong_default_changes_the_default_runs_but_not_the_tuned_ones():
    good, wrong = (
        report_of(replace(tuned(sgd), default={"learning_rate": rate})).runs.query("optimizer == 'mine'")
        for rate in (0.1, 0.001)
    )
    tuned_runs = [runs[runs.kind == "fresh"].metric.tolist() for runs in (good, wrong)]
    defaults = [runs[runs.kind == "default"].metric.mean() for runs in (good, wrong)]
    assert tuned_runs[0] == tuned_runs[1]
    assert defaults[1] > 2 * defaults[0]


# --- budgets ---


def test_larger_mini_batches_and_more_expensive_steps_get_fewer_steps():
    expensive = replace(tuned(sgd), cost=2.0, batch_multipliers=(1, 4))
    report = report_of(expensive, replace(TINY, trials=4))
    mine = report.runs[report.runs.optimizer == "mine"]
    assert set(mine.batch_multiplier) == {1, 4}
    for row in mine[mine.kind == "fresh"].itertuples():
        assert len(row.curve) == 20 // row.batch_multiplier  # 40 steps / (2 gradients x multiplier)
        assert row.budget_used[-1] == 1
    trials = mine[mine.kind == "trial"]
    assert (trials.groupby("study").batch_multiplier.value_counts() == 2).all()


def test_optimizers_that_coincide_are_a_note_and_are_equal():
    report = compare({"adam": "adam"}, problems=SMALL, budget=TINY)
    assert any(note.startswith("adam and adamw coincide") for note in report.about["notes"])
    assert report.verdicts.effect.item() == 0
    assert math.isclose(report.verdicts.low.item(), 0, abs_tol=0)


@pytest.mark.slow
def test_steps_of_different_costs_have_a_curve_only_at_the_end():
    freezing = BASELINES["lbfgs"]
    (task, *_) = make_plan({"mine": freezing}, ("sgd",), SMALL, TINY, (1e-4, 1.0)).tasks
    fresh = runner.Runner().run(task, DATA).runs.query("kind == 'fresh'")
    assert fresh.budget_used.tolist() == [[1.0]] * len(fresh)
    assert [len(curve) for curve in fresh.curve] == [1] * len(fresh)
    censored = nnjax.problems["modular_addition"]
    failed = runner.Runner().run(task._replace(problem=censored), censored.load())
    assert "no number of steps to a target" in failed.failure


def test_tuned_settings_that_are_worse_than_the_default_are_a_note():
    """The learning rates of the search space are too small, and the default is good."""
    bad = Tunable(sgd, {"learning_rate": log_uniform(1e-6, 1e-5)}, scales_with_gradient=False)
    budget = replace(TINY, studies=4, defaults=4)
    notes = report_of(bad, budget).about["notes"]
    (note,) = [note for note in notes if "worse with its tuned settings than with its default" in note]
    assert note.startswith("mine on small is worse")
    assert "times as high" in note or "higher" in note
    assert not any("than with its default" in note for note in report_of(tuned(sgd), budget).about["notes"])


def test_the_call_that_repeats_a_comparison_names_what_differs_from_the_budget():
    def call(budget):
        return _call(make_plan({"mine": tuned(sgd)}, "adamw", SMALL, budget, (1e-4, 1.0)))

    quick = BUDGETS["quick"]
    assert call(quick).endswith("budget='quick')")
    for budget in (replace(quick, studies=6, fresh=2), TINY):
        code = call(budget).rpartition("budget=")[2].removesuffix(")")
        names = {"nnjax": nnjax, "dataclasses": dataclasses, "Budget": Budget, "BUDGETS": BUDGETS}
        assert eval(code, names) == budget
