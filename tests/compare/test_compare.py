"""`compare`: what is trained, what is stored, and what goes wrong with optimizers of users."""

import json
import math
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import nnjax
from nnjax.compare import Problem, Tunable, _page, _run_plan, compare, log_uniform, runner
from nnjax.compare._baseline_optimizers import BASELINES
from nnjax.compare._run_plan import num_units, run_plan
from nnjax.compare._store import Store
from nnjax.compare._user_code import problem_identity
from nnjax.compare.analysis import analyse
from nnjax.compare.plan import make_plan
from nnjax.compare.protocol import BUDGETS, Budget
from nnjax.compare.report import bounded_sides, make_report
from nnjax.sweep import _population

TINY = Budget("tiny", 2, 2, 1, 2, ("warmup_linear",), is_standard=False)
X = np.random.RandomState(0).normal(0, 0.5, (64, 5)).astype(np.float32)
CURVATURE = np.array([0.1, 0.3, 1.0, 3.0, 10.0], np.float32)
DATA = nnjax.Dataset.from_arrays((X, X), (X, X), name="small")


def start(key):
    return jax.random.normal(key, (5,)) + 2


def cost(theta, x):
    return jnp.sum(jnp.asarray(CURVATURE) * (theta - x) ** 2) / 2


SMALL = Problem(
    "small", lambda: DATA, start, nnjax.Objective(lambda theta, x, key: theta, cost, code=None),
    batch_size=16, steps=40, separates_by="conditioning", report_on="validation",
)  # fmt: skip


def sgd(learning_rate=0.1):
    return optax.sgd(learning_rate)


def tuned(factory, **space):
    return Tunable(factory, {"learning_rate": log_uniform(1e-3, 1)} | space, scales_with_gradient=False)


def report_of(factory, budget=TINY, problem=SMALL, **settings):
    return compare({"mine": factory}, problems=problem, budget=budget, **settings)


@pytest.fixture(scope="module")
def report():
    return report_of(tuned(sgd))


def test_every_run_can_be_trained_again_by_fit(report):
    """The row says how: the seed gives the keys, the settings the hyper-parameters."""
    for row in report.runs[report.runs.optimizer == "mine"].itertuples():
        init_key, fit_key = runner.KEYS.for_seed(row.seed)
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


def test_all_units_of_an_optimizer_share_one_program():
    before = _population.train_epoch._cache_size()
    budget = replace(
        BUDGETS["standard"], studies=3, trials=8, defaults=3
    )  # 24 trials: units of 16 and 8 runs
    plan = make_plan({"mine": tuned(sgd)}, ("sgd",), SMALL, budget, (1e-4, 1.0))
    result = runner.Runner().run(plan.tasks[0], DATA)
    assert _population.train_epoch._cache_size() - before == 1
    runner.Runner().time_alone(plan.tasks[0], DATA, result)  # needs a program of one network
    assert _population.train_epoch._cache_size() - before == 2


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
    train = runner.Runner._train
    monkeypatch.setattr(runner.Runner, "_train", lambda *a: (trained.append(1), train(*a))[1])
    monkeypatch.setattr(_run_plan, "cores", lambda: 1)  # so that no other unit is in training
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


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    runs = []
    for threads in (1, 4):
        monkeypatch.setattr(_run_plan, "cores", lambda threads=threads: threads)
        runs.append(make_report(plan, run_plan(plan)).runs)
    pd.testing.assert_frame_equal(*runs, check_exact=True)


def test_an_exception_in_one_of_several_threads_is_raised(monkeypatch):
    def stop(progress):
        raise KeyError(progress.done)

    monkeypatch.setattr(_run_plan, "cores", lambda: 4)
    with pytest.raises(KeyError, match="1"):
        run_plan(make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0)), callback=stop)


def test_a_damaged_unit_is_trained_again(report, tmp_path):
    plan = make_plan({"mine": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    run_plan(plan, Store(tmp_path))
    for file in tmp_path.glob("*.json"):
        file.write_bytes(file.read_bytes()[:100])
    assert make_report(plan, run_plan(plan, Store(tmp_path))).runs.equals(report.runs)


def test_results_are_stored_by_everything_that_decides_them():
    def identity(tunable=tuned(sgd), problem=SMALL, budget=TINY, code="c"):
        return runner.Task("mine", tunable, code, problem, budget).identity()

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


# --- arguments ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizers": {}}, "optimizers must have at least one optimizer, got none"),
        ({"against": ("adamww",)}, "against must be one of .* did you mean 'adamw'"),
        ({"optimizers": sgd}, "optimizers must be a mapping such as {'mine': my_factory}, got <function sgd"),
        ({"optimizers": {"mine": "adamww"}}, "optimizers must be one of .*'adamw'"),
        ({"against": ()}, "against must name at least one baseline, got none"),
        ({"against": "adamww"}, r"against must be one of"),
        ({"against": ("sgd", "sgd")}, "against must have different names, got 'sgd' twice"),
        ({"problems": (SMALL, replace(SMALL))}, "problems must have different names, got 'small' twice"),
        ({"problems": (replace(SMALL, name="bigram"), "quick")}, "problems must have different names"),
        ({"optimizers": {"adamw": sgd}}, "against must name other optimizers .* got 'adamw' twice"),
        ({"problems": "quik"}, "problems must be one of .* did you mean 'quick'"),
        ({"problems": ()}, "problems must have at least one problem or suite, got none"),
        ({"budget": "large"}, "budget must be one of quick, standard, got 'large'"),
        ({"optimizers": {"mine": optax.sgd(0.1)}}, "mine must be a function that returns an optax optimizer"),
        ({"learning_rate": (1, 1e-4)}, "low and high must be finite numbers with 0 < low < high"),
    ],
)
def test_wrong_arguments(settings, message):
    arguments = {"optimizers": {"mine": sgd}, "problems": "bigram", "budget": TINY} | settings
    with pytest.raises(ValueError, match=message):
        compare(arguments.pop("optimizers"), **arguments)


def with_cost(function, **changes):
    return replace(SMALL, objective=replace(SMALL.objective, cost=function), **changes)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (with_cost(lambda theta, x: x[9] / None), "evaluation of small raised TypeError: "),
        (
            with_cost(lambda theta, x: cost(theta, x) - 1e6),
            r"small must have .* got -.* on validation",
        ),
        (with_cost(lambda theta, x: jnp.nan * theta[0]), "small must have a positive and finite metric"),
        (replace(SMALL, floor=lambda data, split: 1e6), "small must have a positive and finite metric"),
        (replace(SMALL, load=lambda: {}["a"]), "load of small raised KeyError: 'a'"),
        (replace(SMALL, load=lambda: 3), "load of small must be a function that returns a Dataset, got 3"),
        (
            replace(nnjax.problems["modular_addition"], target_accuracy=1e-6),
            "got 0 on validation: the initial parameters must not reach target_accuracy",
        ),
    ],
)
def test_a_problem_without_a_positive_metric_is_an_error_before_training(problem, message, monkeypatch):
    monkeypatch.setattr(runner.Runner, "run", lambda *a: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        report_of(sgd, problem=problem)


def test_an_optimizer_of_a_user_that_is_called_adam_does_not_coincide_with_adamw():
    plan = make_plan({"adam": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    assert plan.notes == []


def test_an_optimizer_whose_space_is_empty_is_a_note():
    rates = {"learning_rate": log_uniform(0.1, 1)}
    optimizers = {
        "fixed": lambda: optax.sgd(0.1),
        "empty": Tunable(optax.sgd, {"learning_rate": log_uniform(0.1, 1)}),
        "standard_only": Tunable(optax.sgd, {}, rates, default={"learning_rate": 0.1}),
        "decay_only": Tunable(optax.adamw, {"weight_decay": log_uniform(0.1, 1)}, rates),
    }
    plan = make_plan(optimizers, "adamw", SMALL, TINY, (1e-4, 1.0))
    noted = ["fixed", "standard_only", "decay_only"]
    assert [note.split(" is tuned")[0] for note in plan.notes] == [
        f"No hyper-parameter of {n}" for n in noted
    ]
    with_decay = make_plan(
        {"mine": optimizers["decay_only"]}, "adamw", [SMALL, "modular_addition"], TINY, (1e-4, 1.0)
    )
    assert with_decay.notes == []
    standard = make_plan(
        {"mine": optimizers["standard_only"]}, "adamw", SMALL, replace(TINY, is_standard=True), (1e-4, 1.0)
    )
    assert standard.notes == []


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


def test_optimizers_that_coincide_are_a_note_and_are_equal():
    report = compare({"adam": "adam"}, problems=SMALL, budget=TINY)
    assert any(note.startswith("adam and adamw coincide") for note in report.about["notes"])
    assert report.verdicts.effect.item() == 0
    assert math.isclose(report.verdicts.low.item(), 0, abs_tol=0)


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


def test_a_user_s_problem_is_identified_by_all_that_determines_its_results():
    changes = ({}, {"learning_rate_scale": 2.0}, {"floor": cost})
    identities = [problem_identity(problem) for problem in (SMALL, *(replace(SMALL, **c) for c in changes))]
    assert None not in identities
    assert identities[0] == identities[1]
    assert len({str(identity) for identity in identities}) == 3
    shipped = nnjax.problems["bigram"]
    assert problem_identity(shipped) == shipped.identity()
