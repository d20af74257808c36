import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from experiments.hidden_features import EXPERIMENT, HIDDEN, SHOWN, measures, pictures


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


def test_what_moves_a_neuron_is_told_by_quarters():
    images = np.random.default_rng(0).integers(0, 256, (4000, 64), np.uint8)
    split = nnjax.data.Split(images, np.arange(4000) % 10)
    corner = np.zeros((8, 8), np.float32)
    corner[:4, 4:] = -2
    layer = nnjax.Layer(jnp.stack([corner.ravel(), jnp.ones(64)]), jnp.zeros(2))
    local, even = measures(layer, split, (8, 8))["quarter"]
    assert local == pytest.approx(1)
    assert even == pytest.approx(0.25, abs=0.01)


def test_digits_that_excite_a_neuron_are_counted(digits):
    fours = jnp.asarray(digits.test.inputs[digits.test.targets == 4].mean(axis=0) / 255, jnp.float32)
    sevens = jnp.asarray(digits.test.inputs[digits.test.targets == 7].mean(axis=0) / 255, jnp.float32)
    faint = jnp.full(64, 1e-6)
    w = jnp.stack([faint, faint, fours - sevens])
    found = measures(nnjax.Layer(w, jnp.array([1.0, -1.0, 0.0])), digits.test, digits.input_shape)["digits"]
    assert found[:2].tolist() == [10, 0]
    assert 1 <= found[2] <= 9


def test_pictures_are_the_weights_and_the_most_exciting_images(digits):
    params = nnjax.init(jax.random.key(0), (64, HIDDEN, 10))
    shown = pictures(params, digits.test.inputs)
    assert len(shown) == SHOWN
    z = digits.test.inputs / 255 @ np.array(params[0].w).T + np.array(params[0].b)
    for j, neuron in enumerate(shown):
        weights = np.frombuffer(bytes.fromhex(neuron["weights"]), np.int8)
        assert np.corrcoef(weights, params[0].w[j])[0, 1] > 0.9999
        first = np.frombuffer(bytes.fromhex(neuron["exciting"][0]), np.uint8)
        assert np.array_equal(first, digits.test.inputs[z[:, j].argmax()])
        np.testing.assert_allclose(neuron["to_outputs"], params[1].w[:, j], atol=0.006)


def test_the_record_of_the_large_pictures_stays_small():
    mnist_sized = 784
    params = nnjax.init(jax.random.key(0), (mnist_sized, HIDDEN, 10))
    images = np.random.default_rng(0).integers(0, 256, (10, mnist_sized), np.uint8)
    assert 2 * len(json.dumps(pictures(params, images), indent=1)) < 250_000


def test_weights_drawn_large_stay_what_they_were(record):
    wide, narrow = (network["kept"] for network in record["networks"].values())
    assert np.shape(wide) == np.shape(narrow) == (2, HIDDEN)
    assert np.median(wide) > 0.9 > 0.7 > np.median(narrow)


def test_before_training_both_ways_differ_by_a_factor_alone(record):
    wide, narrow = (network["before"] for network in record["networks"].values())
    for one, other in zip(wide, narrow, strict=True):
        np.testing.assert_allclose(one["quarter"], other["quarter"], rtol=1e-4)


def test_claims_tell_both_ways_by_themselves(record):
    told = {claim.says: claim.holds for claim in EXPERIMENT.claims(record)}
    shown = [holds for says, holds in told.items() if "what was learnt" in says]
    assert len(told) == 6
    assert shown == [False, True]
