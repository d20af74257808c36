"""Verdicts against scipy's tests and simulations."""

import math

import numpy as np
import pytest
from scipy import stats

from nnjax.compare import verdicts
from nnjax.compare.verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE

RANDOM = np.random.default_rng(0)
BETTER_BY_20 = math.log(0.8) + 0.02 * RANDOM.normal(size=12)


def test_equivalence_is_two_one_sided_tests():
    random = np.random.default_rng(1)
    for scale in (0.01, 0.03, 0.05, 0.1):
        for _ in range(20):
            differences = scale * random.normal(size=8)
            for problems in (1, 5):
                p = max(
                    stats.ttest_1samp(differences, -verdicts.MARGIN, alternative="greater").pvalue,
                    stats.ttest_1samp(differences, verdicts.MARGIN, alternative="less").pvalue,
                )
                assert verdicts.is_equivalent(differences, problems) == (p < 0.05 / problems)


def test_clear_differences_are_better_and_worse_by_the_margin():
    results = verdicts.judge({"a": BETTER_BY_20, "b": -BETTER_BY_20, "c": 0.001 * RANDOM.normal(size=12)})
    assert [verdict.verdict for verdict in results.values()] == [BETTER, WORSE, EQUIVALENT]
    assert [verdict.by_margin for verdict in results.values()] == [True, True, False]
    for name, differences in (("a", BETTER_BY_20), ("b", -BETTER_BY_20)):
        expected = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        )
        assert results[name].p == pytest.approx(3 * expected.pvalue)  # Holm: the smallest of three
        assert results[name].effect == pytest.approx(differences.mean())


def test_better_but_perhaps_by_less_than_the_margin():
    differences = -0.06 + 0.03 * np.sin(np.arange(12))  # their mean is beyond ln 1.05, their interval not
    verdict = verdicts.judge({"a": differences, "b": differences})["a"]
    assert (verdict.verdict, verdict.by_margin) == (BETTER, False)
    expected = stats.t.interval(1 - 0.05 / 2, 11, differences.mean(), stats.sem(differences))
    assert (verdict.low, verdict.high) == pytest.approx(expected)
    assert verdict.low < -verdicts.MARGIN < verdict.high


def test_few_studies_and_many_problems_decide_nothing():
    assert verdicts.smallest_p(4) == 0.125
    one = {"a": [-0.3, -0.31, -0.32, -0.33]}
    verdict = verdicts.judge(one)["a"]
    assert verdict.p == 0.125
    assert verdict.verdict == UNDECIDED


def test_equal_results_are_equivalent_and_have_a_point_interval():
    verdict = verdicts.judge({"a": [0.0] * 8})["a"]
    assert (verdict.verdict, verdict.low, verdict.high, verdict.p) == (EQUIVALENT, 0, 0, 1)


def test_a_censored_problem_has_no_interval():
    verdict = verdicts.judge({"steps": [-0.5] * 8}, {"steps": True})["steps"]
    assert verdict.verdict == BETTER
    assert math.isnan(verdict.low)
    assert verdicts.judge({"steps": [0.0] * 8}, {"steps": True})["steps"].verdict == UNDECIDED


def test_the_number_of_studies_has_the_power_that_it_promises():
    differences = 0.1 + 0.2 * np.random.default_rng(2).normal(size=8)
    needed = verdicts.studies_needed(differences)
    mean, sd = differences.mean(), differences.std(ddof=1)
    random = np.random.default_rng(3)
    samples = mean + sd * random.normal(size=(4000, needed))
    power = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)
    assert power == pytest.approx(0.8, abs=0.06)
    fewer = mean + sd * random.normal(size=(4000, needed - 1))
    assert np.mean(stats.ttest_1samp(fewer, 0, axis=1).pvalue < 0.05) < 0.82
    assert verdicts.studies_needed(1e-4 + 0.2 * (-1.0) ** np.arange(8)) is None
    for constant in (0.3, 0.1, 0.2):  # the standard deviation of the last two is not exactly 0
        assert verdicts.studies_needed([constant] * 6) == 6  # the smallest p of five is 1/16
