"""Autoencoders: shapes, the cost of the variational one, and the comparison with principal components."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, stats

import nnjax
from nnjax.nn import Autoencoder, VariationalAutoencoder, negative_elbo

KEY, CODE = jax.random.key(0), 4


@pytest.fixture(scope="module")
def images(digits):
    """The digits as inputs and as targets."""
    splits = (digits.train, digits.validation, digits.test)
    return nnjax.Dataset.from_arrays(*((split.inputs, split.inputs) for split in splits), name="images")


def test_a_linear_autoencoder_is_a_product_of_matrices():
    forward = Autoencoder(activation=nnjax.identity)
    params = forward.init(KEY, 6, (5,), 2)
    x = jax.random.normal(KEY, (2, 3))
    a = np.asarray(x).ravel()
    for w, b in (*params.encoder, *params.decoder):
        a = np.asarray(w) @ a + np.asarray(b)
    np.testing.assert_allclose(forward(params, x), a.reshape(2, 3), rtol=1e-4)


@pytest.mark.slow
def test_the_error_is_below_that_of_principal_components_of_the_same_size(images):
    forward = Autoencoder(output=nnjax.sigmoid)
    run = nnjax.fit(
        KEY, forward.init(KEY, 64, (48, 32), CODE), images, objective=nnjax.Objective(forward, code=None),
        optimizer=optax.adam, learning_rate=0.003, epochs=60, schedule="cosine",
    )  # fmt: skip
    train, test = (s.inputs.reshape(-1, 64) / 255 for s in (images.train, images.test))
    mean = train.mean(axis=0)
    components = np.linalg.svd(train - mean, full_matrices=False)[2][:CODE]
    centered = test - mean
    error = np.sum((centered - centered @ components.T @ components) ** 2, axis=1).mean() / 2
    assert run.history.test_cost[-1] < 0.9 * error


def test_the_cost_is_cross_entropy_plus_the_divergence_of_gaussians():
    logits, mean, log_variance = np.array([0.5, -1.0]), np.array([0.3]), np.array([-0.7])
    x = np.array([[0.2], [0.9]])
    p = 1 / (1 + np.exp(-logits))
    cross_entropy = -np.sum(x.ravel() * np.log(p) + (1 - x.ravel()) * np.log(1 - p))
    q, prior = stats.norm(mean[0], np.exp(log_variance[0] / 2)), stats.norm()
    divergence, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - prior.logpdf(z)), -10, 10)
    output = jnp.concatenate([logits, mean, log_variance])
    assert float(negative_elbo(output, jnp.asarray(x))) == pytest.approx(cross_entropy + divergence, rel=1e-5)


def test_the_code_is_drawn_in_training_and_the_mean_in_evaluation():
    forward = VariationalAutoencoder()
    params, x = forward.init(KEY, 4, (3,), 2), jnp.array([0.1, 0.9, 0.5, 0.0])
    evaluated = forward(params, x)
    np.testing.assert_array_equal(evaluated, forward(params, x, None))
    draws = [forward(params, x, jax.random.key(seed)) for seed in range(2)]
    assert np.abs(draws[0][:4] - draws[1][:4]).max() > 1e-3
    np.testing.assert_array_equal(draws[0][4:], evaluated[4:])  # mean and log-variance have no noise


@pytest.mark.slow
def test_a_variational_autoencoder_learns(images):
    forward = VariationalAutoencoder()
    objective = nnjax.Objective(forward, negative_elbo, code=None)
    params = forward.init(KEY, 64, (48,), CODE)
    run = nnjax.fit(
        KEY, params, images, objective=objective, optimizer=optax.adam, learning_rate=0.003, epochs=20
    )
    train, test = (s.inputs.reshape(-1, 64) / 255 for s in (images.train, images.test))
    p = np.clip(train.mean(axis=0), 1e-3, 1)
    without_code = -np.sum(test * np.log(p) + (1 - test) * np.log(1 - p), axis=1).mean()
    assert run.history.test_cost[-1] < without_code - 1
    means = np.stack(
        [forward(run.params, jnp.asarray(x, float) / 255)[64 : 64 + CODE] for x in images.test.inputs[:50]]
    )
    assert means.std(axis=0).max() > 0.3  # the code carries information
