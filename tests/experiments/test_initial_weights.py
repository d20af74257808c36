from copy import deepcopy

import jax
import numpy as np
import pytest
from scipy.stats import norm

import nnjax
from experiments.initial_weights import EXPERIMENT, PROBE_IMAGES, SATURATED_SLOPE, saturated_fraction


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def expected_share(images, n_in=1):
    """How often z, which is N(0, 1 + |x|²/n_in) for an image x, lies where σ is flat."""
    x = images.astype(float) / 255
    root = np.sqrt(1 - 4 * SATURATED_SLOPE)
    edge = np.log((1 + root) / (1 - root))  # σ'(±edge) = SATURATED_SLOPE
    return np.mean(2 * norm.sf(edge / np.sqrt(1 + np.sum(x**2, axis=(1, 2)) / n_in)))


def test_the_saturated_fraction_is_that_of_a_normal_sum(digits):
    images = digits.train.inputs[:100]
    for draw, n_in in ((nnjax.standard_normal, 1), (nnjax.lecun, 64)):
        share = float(saturated_fraction(draw(jax.random.key(0), 64, 5000), images))
        assert share == pytest.approx(expected_share(images, n_in), abs=0.01)


def test_the_record_has_that_fraction_for_every_seed(record, digits):
    expected = expected_share(digits.train.inputs[:PROBE_IMAGES])
    for run in record["runs"]:
        fraction = np.mean(run["saturated"])
        standard = run["initial_weights"] == "standard_normal"
        assert abs(fraction - expected) < 0.1 if standard else fraction < 0.01


def test_every_run_has_curves_and_recalls_that_agree(record, digits):
    cells = [(r["hidden"], r["initial_weights"]) for r in record["runs"]]
    assert cells == [(h, name) for h in (30,) for name in ("standard_normal", "lecun")]
    digits_of_each = np.bincount(digits.test.targets)
    for run in record["runs"]:
        assert np.shape(run["test_correct"]) == (2, 3)
        np.testing.assert_allclose(
            np.array(run["recall"]) @ digits_of_each, np.array(run["test_correct"])[:, -1]
        )


def test_stuck_neurons_are_caused_by_the_weights_only_if_lecuns_have_fewer(record):
    def claim():
        return next(c for c in EXPERIMENT.claims(record) if "Stuck" in c.statement)

    for run in record["runs"]:
        run["recall"] = np.full((2, 10), 0.9).tolist()
    assert claim().supported is False
    record["runs"][0]["recall"][1][4] = 0.4
    assert claim().supported
    assert "1 (N(0, 1), 30 hidden)" in claim().measured
