import jax
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import nnjax
from nnjax.compare.statistics import (
    bootstrap_interval,
    final_values,
    format_mean_interval,
    format_median_range,
    holm_correction,
    paired_permutation_test,
    percent,
    select_best,
    t_interval,
)

finite = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


def test_data_arrays_are_read_by_the_names_of_their_axes():
    array = xarray.DataArray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dims=("epoch", "seed"))
    for values in (array, array.T, {"": array}, array.isel(epoch=-1)):
        np.testing.assert_array_equal(final_values(values)[""], [5, 6])
    with pytest.raises(ValueError, match="must have the axes seed and epoch, got"):
        final_values({"a": array.expand_dims(hidden=[1, 2])})


@given(finite, st.floats(0.5, 0.999))
def test_the_t_interval_is_scipys(values, level):
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(level) if np.ptp(values) > 1e-6 else None
    low, high = t_interval(values, level)
    if expected:
        np.testing.assert_allclose([low, high], [expected.low, expected.high], rtol=1e-9, atol=1e-9)
    assert low <= np.mean(values) + 1e-9
    assert high >= np.mean(values) - 1e-9


def test_the_t_interval_of_equal_values_is_a_point_and_of_one_value_unknown():
    assert t_interval([3.0, 3.0, 3.0]) == (3.0, 3.0)
    assert np.isnan(t_interval([3.0])).all()


def test_a_higher_level_gives_a_wider_interval():
    values = np.random.default_rng(0).normal(95, 1, 20)
    for interval in (t_interval, bootstrap_interval):
        (low, high), (lower, higher) = interval(values), interval(values, 0.995)
        assert lower < low < high < higher


def test_the_bootstrap_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(95, 1, 400)
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert low < values.mean() < high


def test_the_bootstrap_interval_of_a_median_is_scipys():
    values = np.random.default_rng(1).exponential(1.0, 50)
    expected = stats.bootstrap((values,), np.median, method="percentile", rng=0).confidence_interval
    low, high = bootstrap_interval(values, statistic=np.median)
    np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=0.05)


def test_the_permutation_test_of_few_pairs_is_scipys():
    rng = np.random.default_rng(0)
    for n in (3, 6, 9):
        values, others = rng.normal(0.5, 1, n), rng.normal(0, 1, n)

        def mean_difference(a, b, axis):
            return np.mean(a - b, axis=axis)

        expected = stats.permutation_test((values, others), mean_difference, permutation_type="samples")
        assert paired_permutation_test(values, others) == pytest.approx(expected.pvalue)


def test_the_permutation_test_is_exact_up_to_twenty_pairs():
    """If all differences have one sign, two of the 2^n sign patterns are as extreme."""
    assert paired_permutation_test([2.0, 3, 4, 5, 6], [1.0, 1, 1, 1, 1]) == pytest.approx(2 / 2**5)
    assert paired_permutation_test([1.0, 2, 3], [1.0, 2, 3]) == 1.0
    assert paired_permutation_test(np.ones(20), np.zeros(20)) == 2 / 2**20


def test_the_permutation_test_of_many_pairs_is_near_the_exact_one():
    differences = np.random.default_rng(1).normal(0.3, 1, 20)
    with_equal_pair = np.append(differences, 0.0)  # decides nothing, and makes the pairs too many
    exact = paired_permutation_test(differences, np.zeros(20))
    assert paired_permutation_test(with_equal_pair, np.zeros(21)) == pytest.approx(exact, abs=0.005)
    assert paired_permutation_test(np.ones(40), np.zeros(40)) == pytest.approx(1e-5, rel=0.1)


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values):
    corrected = holm_correction(p_values)
    for name, p in p_values.items():
        assert p <= corrected[name] <= min(1.0, len(p_values) * p) or corrected[name] == pytest.approx(p)
    by_p = sorted(p_values, key=p_values.__getitem__)
    assert [corrected[name] for name in by_p] == sorted(corrected.values())


def test_holm_rejects_what_the_procedure_of_the_paper_rejects():
    """Rejects in order of p, as long as p ≤ α / (number not yet rejected)."""
    p_values = dict(zip("abcde", (0.001, 0.012, 0.013, 0.04, 0.6), strict=True))
    rejected = [name for name, p in holm_correction(p_values).items() if p <= 0.05]
    assert rejected == ["a", "b", "c"]


def test_the_setting_with_the_highest_mean_is_selected_and_the_first_of_equals():
    assert select_best([[90, 90], [99, 10], [89, 92]]) == 2
    assert select_best([[1, 3], [2, 2]]) == 0
    with pytest.raises(ValueError, match="settings, seeds"):
        select_best([1, 2])


def test_summaries_of_a_distribution():
    assert format_median_range([1.0, 3.0, 2.0]) == "2.0 % (1.0 % to 3.0 %, n = 3)"
    assert format_median_range([2225], "{:,.0f}") == "2,225"
    low, high = t_interval([98.0, 99.0])
    assert format_mean_interval([98.0, 99.0]) == f"98.50 % ({low:.2f} to {high:.2f}, n = 2)"
    assert format_mean_interval([98.0]) == "98.00 %"
    assert percent([[5]], 10).tolist() == [[50.0]]


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], 3.0])
def test_values_that_are_not_one_number_for_each_seed_raise(values):
    with pytest.raises(ValueError, match="one number for each seed"):
        t_interval(values)


def test_final_values_are_read_from_histories_grids_and_arrays(digits):
    config = nnjax.TrainConfig(hidden=(5,), epochs=2)
    grid = config.sweep(jax.random.key(0), digits, learning_rate=(0.1, 3.0), seeds=2)
    values = final_values(grid)
    assert list(values) == ["learning_rate = 0.1", "learning_rate = 3"]
    expected = 100 * grid.test_accuracy.sel(learning_rate=3.0).isel(epoch=-1).values
    np.testing.assert_allclose(values["learning_rate = 3"], expected)
    errors = final_values(grid, "validation error")
    np.testing.assert_allclose(
        errors["learning_rate = 0.1"],
        100 - 100 * grid.validation_accuracy.sel(learning_rate=0.1).isel(epoch=-1),
    )
    history = config.fit(jax.random.key(0), digits).history
    np.testing.assert_allclose(final_values({"book": history})["book"], [100 * history.test_accuracy[-1]])
    np.testing.assert_allclose(final_values(history, "training cost")[""], history.train_cost[-1])
    array = grid.test_accuracy.sel(learning_rate=3.0)
    np.testing.assert_allclose(final_values(array)[""], expected / 100)
    with pytest.raises(ValueError, match="did you mean 'test error'"):
        final_values(grid, "test eror")
