from copy import deepcopy

import jax
import numpy as np
import pytest
from scipy.stats import norm

import nnjax
from experiments.initial_weights import EXPERIMENT, FLAT, LOOKED_AT, saturated


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def expected_share(images, n_in=1):
    """Given x, z of a fresh neuron is N(0, 1 + |x|²/n_in): how often it lies where σ is flat."""
    x = images.astype(float) / 255
    edge = np.log((1 + np.sqrt(1 - 4 * FLAT)) / (1 - np.sqrt(1 - 4 * FLAT)))  # σ'(±edge) = FLAT
    return np.mean(2 * norm.sf(edge / np.sqrt(1 + np.sum(x**2, axis=1) / n_in)))


def test_the_saturated_share_is_that_of_a_normal_sum(digits):
    images = digits.train.inputs[:100]
    for draw, n_in in ((nnjax.standard_normal, 1), (nnjax.lecun, 64)):
        share = float(saturated(draw(jax.random.key(0), 64, 5000), images))
        assert share == pytest.approx(expected_share(images, n_in), abs=0.01)


def test_the_record_has_that_share_for_every_seed(record, digits):
    expected = expected_share(digits.train.inputs[:LOOKED_AT])
    for run in record["runs"]:
        found = np.mean(run["saturated"])
        assert abs(found - expected) < 0.1 if run["initial_weights"] == "gaussian" else found < 0.01


def test_every_run_has_curves_and_recalls_that_agree(record, digits):
    told = [(r["hidden"], r["initial_weights"]) for r in record["runs"]]
    assert told == [(30, "gaussian"), (30, "scaled"), (100, "gaussian"), (100, "scaled")]
    of_each = np.bincount(digits.test.targets)
    for run in record["runs"]:
        assert np.shape(run["test_correct"]) == (2, 5)
        np.testing.assert_allclose(np.array(run["recall"]) @ of_each, np.array(run["test_correct"])[:, -1])


def test_stuck_neurons_are_laid_to_the_weights_only_where_others_have_fewer(record):
    def told():
        return next(c for c in EXPERIMENT.claims(record) if "stuck" in c.says)

    for run in record["runs"]:
        run["recall"] = np.full((2, 10), 0.9).tolist()
    assert told().holds is False
    record["runs"][2]["recall"][1][4] = 0.4
    assert told().holds
    assert "100 hidden, gaussian: 1," in told().ours
