import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.statistics import holm, interval, paired


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


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    for name, p in p_values.items():
        assert p <= corrected[name] <= min(1.0, len(p_values) * p) or corrected[name] == pytest.approx(p)
    by_p = sorted(p_values, key=p_values.__getitem__)
    assert [corrected[name] for name in by_p] == sorted(corrected.values())
