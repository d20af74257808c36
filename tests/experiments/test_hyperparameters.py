from copy import deepcopy

import numpy as np
import pytest

from experiments.hyperparameters import EXPERIMENT, GRID_RATES, QUICK_WIDTHS, RATES


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def supported(record):
    return {c.statement: c.supported for c in EXPERIMENT.claims(record)}


def test_every_setting_of_the_three_sweeps_is_trained(record):
    shapes = {name: np.shape(record[name]["test_correct"]) for name in ("by_width", "by_rate", "grid")}
    assert shapes == {
        "by_width": (len(QUICK_WIDTHS), 2, 3),
        "by_rate": (len(RATES), 2, 3),
        "grid": (len(QUICK_WIDTHS), len(GRID_RATES), 2),
    }
    assert np.all(np.array(record["by_width"]["seconds_per_epoch_alone"]) > 0)


def test_intermediate_rates_are_better_than_the_extremes(record):
    final = dict(zip(RATES, np.array(record["by_rate"]["test_correct"])[..., -1].mean(axis=1), strict=True))
    n = record["num_test"]
    assert max(final[0.001], final[100.0]) < 0.4 * n < 0.6 * n < final[3.0]


def test_claims_about_widths_follow_the_record(record):
    n = record["num_test"]
    for accuracy, expected in ((0.95, True), (0.9, False)):
        record["by_width"]["test_correct"] = np.full((1, 2, 3), accuracy * n).tolist()
        assert supported(record)["30 hidden neurons reach about 95 %"] is expected


def test_claims_about_rates_follow_the_record(record):
    by_rate = record["by_rate"]
    curve = np.linspace(0.1, 0.9, len(RATES) - 3)
    accuracy = np.array([*curve, 0.85, 0.5, 0.1])[:, None, None] * [[1.0, 1.0, 1.01]] * record["num_test"]
    by_rate["test_correct"] = by_rate["validation_correct"] = np.repeat(accuracy, 2, axis=1).tolist()
    claims = supported(record)
    assert claims["η of about 3 is a good choice"]
    assert claims["A larger η is better, up to 3"]
    assert claims["η = 100 learns nothing: the network is saturated"]
    for name in ("test_correct", "validation_correct"):
        by_rate[name] = by_rate[name][::-1]
    claims = supported(record)
    assert not claims["η of about 3 is a good choice"]
    assert not claims["A larger η is better, up to 3"]


def test_the_best_rate_of_each_width_is_selected_on_validation(record):
    validation = np.zeros((2, len(GRID_RATES), 2))
    validation[:, 0] = 100
    record["grid"]["hidden"] = [10, 30]
    statement = "The best η for one width is near the best for another"
    record["grid"]["validation_correct"] = validation.tolist()
    claim = next(c for c in EXPERIMENT.claims(record) if c.statement == statement)
    assert "0.001 for 10, 0.001 for 30 hidden neurons" in claim.measured
    assert claim.supported
    validation[0, -1] = 200
    record["grid"]["validation_correct"] = validation.tolist()
    assert supported(record)[statement] is False
