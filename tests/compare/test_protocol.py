"""The protocol: which runs are trained, and what their results mean."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnjax.compare import protocol
from nnjax.compare.protocol import BUDGETS, Reading, RunSpec

QUICK, STANDARD = BUDGETS["quick"], BUDGETS["standard"]


def test_budgets_have_the_runs_of_the_specification():
    assert (QUICK.runs, STANDARD.runs) == (48, 128)
    for budget in BUDGETS.values():
        winners = dict.fromkeys(budget.study_numbers, (0.5,) * 8)
        runs = protocol.trial_runs(budget) + protocol.final_runs(budget, winners)
        assert len(runs) == budget.runs
        assert len({run.seed for run in runs}) == budget.runs  # no two runs share a seed
        all_units = protocol.units(protocol.trial_runs(budget)) + protocol.units(
            protocol.final_runs(budget, winners)
        )
        assert {len(unit) for unit in all_units} == {16}


def test_seeds_of_studies_are_disjoint():
    winners = dict.fromkeys(range(40), (0.5,) * 8)
    budget = replace(STANDARD, studies=40, trials=32, fresh=40, defaults=40)
    runs = protocol.trial_runs(budget) + protocol.final_runs(budget, winners)
    assert len({run.seed for run in runs}) == len(runs)


@given(study=st.integers(0, 10_000), log_trials=st.integers(0, 5))
def test_trials_of_a_study_are_spread_evenly_in_every_column(study, log_trials):
    trials = 2**log_trials
    points = np.array(protocol.sobol_points(study, trials))
    assert points.shape == (trials, 8)
    assert points.min() >= 0
    assert points.max() < 1
    assert (np.sort((points * trials).astype(int), axis=0) == np.arange(trials)[:, None]).all()
    assert protocol.sobol_points(study, trials) == [tuple(point) for point in points.tolist()]


def test_studies_with_other_numbers_have_other_points():
    other = replace(QUICK, first_study=8)
    points = {run.point for run in protocol.trial_runs(QUICK)}
    assert not points & {run.point for run in protocol.trial_runs(other)}
    assert {run.study for run in protocol.trial_runs(other)} == set(range(8, 16))


def test_units_separate_programs_and_keep_the_order():
    runs = protocol.trial_runs(QUICK)
    cut = protocol.units(runs, lambda run: run.index % 2)
    assert [len(unit) for unit in cut] == [16, 16]
    assert [{run.index % 2 for run in unit} for unit in cut] == [{0}, {1}]
    assert [run for unit in cut for run in unit] == sorted(runs, key=lambda run: run.index % 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "trials must be a positive integer, got 0"),
        ({"trials": 6}, "trials must be a power of two of at most 32, got 6"),
        ({"studies": 1}, "studies must be at least 2"),
        ({"fresh": 41}, "fresh must be at most 40, got 41"),
        ({"first_study": -1}, "first_study must be from 0 to 1,000,000, got -1"),
    ],
)
def test_wrong_budgets(change, message):
    with pytest.raises(ValueError, match=message):
        replace(QUICK, **change)


def test_diverged_runs_get_the_initial_metric():
    metric = np.array([0.5, 2.0, np.inf, np.nan, -np.inf, 1.0])
    guarded, diverged = protocol.guard(metric, np.ones(6))
    assert guarded.tolist() == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert diverged.tolist() == [False, True, True, True, True, False]


@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0]), st.floats(1e-5, 1)), min_size=1, max_size=8))
def test_a_study_selects_the_best_trial_and_of_equal_ones_the_lowest_rate(trials):
    chosen = protocol.select(*zip(*trials, strict=True))
    assert trials[chosen] == min(trials)


@pytest.mark.parametrize(
    ("studies", "outer", "expected"), [(8, 2, False), (8, 3, True), (12, 3, False), (12, 4, True)]
)
def test_bounded_search_spaces(studies, outer, expected):
    inside = [0.5] * (studies - outer)
    assert protocol.bounded_sides([0.05] * outer + inside) == (expected, False)
    assert protocol.bounded_sides([0.95] * outer + inside) == (False, expected)
    # Half of them on each side: the space is not to blame.
    assert protocol.bounded_sides([0.05] * (outer // 2) + [0.95] * (outer - outer // 2) + inside) in [
        (False, False)
    ]


def table(metrics: dict[str, list[float]], problem: str = "p", fresh: int = 1) -> pd.DataFrame:
    """The fresh runs of optimizers on a problem; `metrics` has one number for each study and fresh seed."""
    return pd.DataFrame(
        [
            {"problem": problem, "optimizer": name, "kind": "fresh", "study": i // fresh, "index": i % fresh,
             "metric": metric}
            for name, values in metrics.items() for i, metric in enumerate(values)
        ]
    )  # fmt: skip


def test_study_means_are_means_of_logarithms_and_floored():
    runs = table({"a": [math.e, math.e**3, 0.0, 1.0]}, fresh=2)
    assert protocol.study_means(runs, epsilon=math.exp(-4)).tolist() == pytest.approx([2.0, -2.0])


def test_verdict_about_the_candidate():
    baseline = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 0.98]
    runs = table({"mine": [x * 0.8 for x in baseline], "adamw": baseline})
    found = protocol.verdicts(runs, {"p": Reading(1e-3)}, "mine", "adamw")["p"]
    assert found.verdict == "better"
    assert found.effect == pytest.approx(math.log(0.8))
    assert found.by_margin
    assert protocol.verdicts(runs, {"p": Reading(1e-3)}, "adamw", "mine")["p"].verdict == "worse"


def test_metrics_below_epsilon_are_equal():
    runs = table({"mine": [1e-9] * 8, "adamw": [1e-6] * 8})
    found = protocol.verdicts(runs, {"p": Reading(1e-3)}, "mine", "adamw")["p"]
    assert (found.verdict, found.effect, found.low, found.high) == ("equivalent", 0, 0, 0)


def test_problems_that_one_optimizer_has_not_finished_are_left_out():
    runs = pd.concat([table({"mine": [1.0] * 8, "adamw": [1.0] * 8}), table({"adamw": [1.0] * 8}, "q")])
    readings = {"p": Reading(1e-3), "q": Reading(1e-3)}
    assert set(protocol.verdicts(runs, readings, "mine", "adamw")) == {"p"}


def test_censored_metrics_have_no_interval_and_may_be_not_reached():
    never = [101.0] * 8
    runs = table({"slow": never, "never": never, "fast": [10.0 + i for i in range(8)]})
    readings = {"p": Reading(0.0, never=101.0)}
    reached = protocol.verdicts(runs, readings, "fast", "slow")["p"]
    assert reached.verdict == "better"
    assert math.isnan(reached.low)
    assert protocol.verdicts(runs, readings, "slow", "never")["p"].verdict == "not reached"


def test_the_smallest_p_value_can_be_too_large():
    """With 8 studies p is at least 2/256, and Holm multiplies it by the number of problems."""
    assert protocol.can_decide(8, 6)
    assert not protocol.can_decide(8, 7)
    assert protocol.can_decide(12, 13)


def test_the_cut_does_not_depend_on_winners():
    first = protocol.final_runs(QUICK, dict.fromkeys(range(8), (0.1,) * 8))
    second = protocol.final_runs(QUICK, dict.fromkeys(range(8), (0.9,) * 8))
    without_point = [[run._replace(point=None) for run in runs] for runs in (first, second)]
    assert without_point[0] == without_point[1]
    assert all(isinstance(run, RunSpec) for run in first)


def test_a_study_selects_a_diverged_trial_only_if_all_diverged_and_then_the_lowest_rate():
    """The metric of a diverged trial is that of its initial parameters, which can be the smallest one."""
    assert protocol.select([0.5, 0.9, 0.8], [0.1, 0.2, 0.3], [True, False, False]) == 2
    assert protocol.select([0.5, 0.9, 0.8], [0.3, 0.1, 0.2], [True, True, True]) == 1
