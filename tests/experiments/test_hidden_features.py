import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from experiments.hidden_features import EXPERIMENT, NUM_NEURONS, measure, pictures


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


def test_a_neuron_with_weights_in_one_corner_has_its_variance_in_that_quarter():
    images = np.random.default_rng(0).integers(0, 256, (4000, 8, 8), np.uint8)
    split = nnjax.Split(images, np.arange(4000) % 10)
    corner = np.zeros((8, 8), np.float32)
    corner[:4, 4:] = -2
    layer = nnjax.Layer(jnp.stack([corner.ravel(), jnp.ones(64)]), jnp.zeros(2))
    local, even = measure(layer, split)["quarter"]
    assert local == pytest.approx(1)
    assert even == pytest.approx(0.25, abs=0.01)


def test_the_digits_that_activate_a_neuron_are_counted(digits):
    fours = jnp.asarray(digits.test.inputs[digits.test.targets == 4].mean(axis=0) / 255, jnp.float32)
    sevens = jnp.asarray(digits.test.inputs[digits.test.targets == 7].mean(axis=0) / 255, jnp.float32)
    faint = jnp.full(64, 1e-6)
    w = jnp.stack([faint, faint, (fours - sevens).ravel()])
    active = measure(nnjax.Layer(w, jnp.array([1.0, -1.0, 0.0])), digits.test)["digits"]
    assert active[:2].tolist() == [10, 0]
    assert 1 <= active[2] <= 9


def test_pictures_are_the_weights_and_the_images_with_the_largest_z(digits):
    params = nnjax.init(jax.random.key(0), (64, 30, 10))
    shown = pictures(params, digits.test.inputs, 4)
    assert len(shown) == 4
    z = digits.test.inputs.reshape(-1, 64) / 255 @ np.array(params[0].w).T + np.array(params[0].b)
    for j, neuron in enumerate(shown):
        weights = np.frombuffer(bytes.fromhex(neuron["weights"]), np.int8)
        assert np.corrcoef(weights, params[0].w[j])[0, 1] > 0.9999
        first = np.frombuffer(bytes.fromhex(neuron["images"][0]), np.uint8)
        assert np.array_equal(first, digits.test.inputs[z[:, j].argmax()].ravel())
        np.testing.assert_allclose(neuron["to_outputs"], params[1].w[:, j], atol=0.006)


def test_the_record_of_large_pictures_stays_small():
    mnist_sized = 784
    params = nnjax.init(jax.random.key(0), (mnist_sized, 30, 10))
    images = np.random.default_rng(0).integers(0, 256, (10, mnist_sized), np.uint8)
    assert 2 * len(json.dumps(pictures(params, images, NUM_NEURONS), indent=1)) < 250_000


def test_large_initial_weights_change_little(record):
    wide, narrow = (network["weight_correlation"] for network in record["networks"].values())
    assert np.shape(wide) == np.shape(narrow) == (2, 30)
    assert np.median(wide) > 0.9 > 0.7 > np.median(narrow)


def test_before_training_both_kinds_of_weights_differ_by_a_factor(record):
    wide, narrow = (network["before"] for network in record["networks"].values())
    for one, other in zip(wide, narrow, strict=True):
        np.testing.assert_allclose(one["quarter"], other["quarter"], rtol=1e-4)


def test_claims_judge_both_kinds_of_weights(record):
    supported = {claim.statement: claim.supported for claim in EXPERIMENT.claims(record)}
    assert len(supported) == 6
    assert [supported[s] for s in supported if "what was learned" in s] == [False, True]
