import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.statistics import holm, interval, paired, recall, stuck


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(95, 1, 400)
    low, high = interval(values)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert low < values.mean() < high
    assert interval([3.0, 3.0]) == (3.0, 3.0)


def test_paired_permutations_are_exact_for_few_seeds():
    """All differences of one sign: two of the 2^n sign patterns are as extreme."""
    assert paired([2.0, 3, 4, 5, 6], [1.0, 1, 1, 1, 1]) == pytest.approx(2 / 2**5)
    assert paired([1.0, 2, 3], [1.0, 2, 3]) == 1.0
    assert paired(np.ones(20), np.zeros(20)) == 2 / 2**20


def test_paired_permutations_of_many_seeds_are_drawn():
    """The exact p-value of twenty pairs is near that of the same pairs among draws."""
    differences = np.random.default_rng(1).normal(0.3, 1, 20)
    more = np.append(differences, 0.0)  # one pair more that decides nothing
    assert paired(more, np.zeros(21)) == pytest.approx(paired(differences, np.zeros(20)), abs=0.005)
    assert paired(np.ones(40), np.zeros(40)) == pytest.approx(1e-5, rel=0.1)  # never nothing


def test_a_wider_interval_holds_the_narrow_one():
    values = np.random.default_rng(0).normal(95, 1, 20)
    (low, high), (lower, higher) = interval(values), interval(values, 0.995)
    assert lower < low < high < higher


def test_a_network_is_stuck_where_it_is_blind_to_one_label():
    good, blind = np.diag([10, 10, 10]), np.array([[10, 0, 0], [0, 10, 0], [6, 0, 4]])
    assert recall(blind).tolist() == [1.0, 1.0, 0.4]
    assert stuck([recall(good), recall(blind)]).tolist() == [False, True]


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    for name, p in p_values.items():
        assert p <= corrected[name] <= min(1.0, len(p_values) * p) or corrected[name] == pytest.approx(p)
    by_p = sorted(p_values, key=p_values.__getitem__)
    assert [corrected[name] for name in by_p] == sorted(corrected.values())
