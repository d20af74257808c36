"""Dropout: its distribution, and which units it drops."""

import jax
import numpy as np
import pytest

import nnjax
import reference
from nnjax.nn.dropout import DenseWithDropout, dropout

KEY = jax.random.key(3)


def test_dropout_preserves_the_mean():
    x = np.linspace(0.5, 1.5, 50, dtype=np.float32)
    many = np.asarray(
        jax.jit(lambda: jax.vmap(lambda key: dropout(key, x, 0.3))(jax.random.split(KEY, 4000)))()
    )
    np.testing.assert_allclose(np.mean(many == 0, axis=0), 0.3, atol=0.04)
    np.testing.assert_allclose(many.mean(axis=0), x, rtol=0.06)
    nonzero = many[0] != 0
    np.testing.assert_allclose(many[0][nonzero], x[nonzero] / 0.7, rtol=1e-6)


def test_the_gradient_is_zero_and_not_nan_if_everything_is_dropped():
    gradient = jax.jit(jax.grad(lambda x: dropout(KEY, x, 1.0).sum()))
    assert gradient(np.ones(5, np.float32)).tolist() == [0.0] * 5


def test_inputs_and_hidden_units_are_dropped_by_their_rates_and_evaluation_drops_none():
    params = reference.random_params((64, 30, 10))
    x = np.random.default_rng(0).random(64, dtype=np.float32)
    (w1, b1), (w2, b2) = params
    expected = w2 @ np.maximum(w1 @ x + b1, 0) + b2

    @jax.jit
    def apply(forward, key):
        return forward(params, x, key)

    def forward(**rates):
        return DenseWithDropout(nnjax.relu, nnjax.identity, **rates)

    np.testing.assert_allclose(apply(forward(), None), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(apply(forward(rate=0.0, input_rate=0.0), KEY), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(apply(forward(rate=1.0, input_rate=0.0), KEY), b2)
    hidden = np.asarray(apply(forward(rate=0.0, input_rate=1.0), KEY))
    np.testing.assert_allclose(hidden, w2 @ np.maximum(b1, 0) + b2, rtol=1e-4, atol=1e-4)
    assert (apply(forward(), KEY) != apply(forward(), jax.random.key(4))).any()


def test_a_rate_must_be_a_probability():
    with pytest.raises(ValueError, match=r"^rate must be between 0 and 1, got 1\.5"):
        DenseWithDropout(rate=1.5)
    with pytest.raises(ValueError, match=r"input_rate must be between 0 and 1, got -0\.1"):
        DenseWithDropout(input_rate=-0.1)
