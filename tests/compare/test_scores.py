"""Scores of tuned optimizers against brute force, scipy and closed forms."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nnjax.compare import scores

VALUES = st.lists(st.floats(0.001, 1000), min_size=2, max_size=7)


@given(VALUES, st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_best_of_k_is_the_mean_over_all_subsets(selection, seed):
    results = np.random.default_rng(seed).random(len(selection))
    n = len(selection)
    curve = scores.best_of_k(selection, results, n)
    assert curve.k.tolist() == list(range(1, n + 1))
    for k in range(1, n + 1):
        # Equal selection values are ordered by their position.
        best = [
            results[min(subset, key=lambda i: (selection[i], i))]
            for subset in itertools.combinations(range(n), k)
        ]
        assert curve.expected[k - 1] == pytest.approx(np.mean(best))
        for level, ends in ((0.1, curve.low), (0.9, curve.high)):
            assert ends[k - 1] == pytest.approx(np.quantile(best, level, method="inverted_cdf"))


def test_best_of_k_ends_at_half_of_the_trials():
    assert scores.best_of_k(np.arange(9.0), np.arange(9.0)).k.tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"must be \(n,\) for n trials, got \(2,\) and \(3,\)"):
        scores.best_of_k([1.0, 2.0], [1.0, 2.0, 3.0])


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_the_interquartile_mean_is_that_of_scipy(values):
    assert scores.interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_the_bootstrap_draws_within_each_problem():
    """Constant problems have no variance, however different they are."""
    assert scores.stratified_interquartile_mean([[0.0] * 4, [1.0] * 4]) == (0.5, 0.5, 0.5)
    random = np.random.default_rng(1)
    groups = [random.normal(size=12) for _ in range(5)]
    mean, low, high = scores.stratified_interquartile_mean(groups)
    assert low < mean < high
    assert mean == pytest.approx(stats.trim_mean(np.concatenate(groups), 0.25))
    # The interval of a mean of 30 of 60 normal numbers is about 2 * 1.96 * 1.1 / sqrt(60) wide.
    assert 0.35 < high - low < 0.8
    assert scores.stratified_interquartile_mean(groups) == (mean, low, high)


def test_a_log_score_is_0_at_the_start_and_1_at_the_reference():
    assert scores.log_score([8.0, 2.0, 4.0, 1.0, 0.25, 16.0], 8.0, 2.0) == pytest.approx(
        [0, 1, 0.5, 1.5, 1.5, 0]
    )


@pytest.mark.parametrize(("successes", "total"), [(0, 20), (1, 20), (5, 10), (20, 20), (37, 128)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_intervals_of_shares_are_those_of_scipy(successes, total, level):
    result = stats.binomtest(successes, total)
    for ours, method in ((scores.wilson_interval, "wilson"), (scores.binomial_interval, "exact")):
        expected = result.proportion_ci(level, method)
        assert ours(successes, total, level) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_performance_profile_rises_to_the_share_of_solved_problems():
    ratios = [1.0, 1.5, np.inf, 4.0]
    profile = scores.performance_profile(ratios, [0.5, 1, 2, 4, 100])
    assert profile.tolist() == [0, 0.25, 0.5, 0.75, 0.75]
