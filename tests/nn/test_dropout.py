"""Dropout: its distribution, and which units it drops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.nn.dropout import DenseWithDropout, dropout

KEY = jax.random.key(3)


def test_dropout_preserves_the_mean():
    x = jnp.linspace(0.5, 1.5, 50)
    many = jax.jit(jax.vmap(lambda key: dropout(key, x, 0.3)))(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(np.mean(many == 0, axis=0), 0.3, atol=0.04)
    np.testing.assert_allclose(many.mean(axis=0), x, rtol=0.06)
    nonzero = np.asarray(many[0]) != 0
    np.testing.assert_allclose(np.asarray(many[0])[nonzero], np.asarray(x)[nonzero] / 0.7, rtol=1e-6)


def test_the_gradient_is_zero_and_not_nan_if_everything_is_dropped():
    assert jax.grad(lambda x: dropout(KEY, x, 1.0).sum())(jnp.ones(5)).tolist() == [0.0] * 5


def test_inputs_and_hidden_units_are_dropped_by_their_rates_and_evaluation_drops_none():
    params = nnjax.init(jax.random.key(0), (20, 30, 10))
    x = jax.random.uniform(KEY, (20,))
    forward = DenseWithDropout(nnjax.relu, nnjax.identity)
    np.testing.assert_array_equal(
        forward(params, x), nnjax.feedforward(params, x, nnjax.relu, nnjax.identity)
    )
    none = DenseWithDropout(nnjax.relu, nnjax.identity, rate=0.0, input_rate=0.0)
    np.testing.assert_allclose(none(params, x, KEY), forward(params, x), rtol=1e-5, atol=1e-5)
    all_hidden = DenseWithDropout(nnjax.relu, nnjax.identity, rate=1.0, input_rate=0.0)
    np.testing.assert_array_equal(all_hidden(params, x, KEY), params[-1].b)
    assert (forward(params, x, KEY) != forward(params, x, jax.random.key(4))).any()


def test_a_rate_must_be_a_probability():
    with pytest.raises(ValueError, match=r"^rate must be from 0 to 1, got 1\.5"):
        DenseWithDropout(rate=1.5)
    with pytest.raises(ValueError, match=r"input_rate must be from 0 to 1, got -0\.1"):
        DenseWithDropout(input_rate=-0.1)
