"""The Gauss-Newton product against the matrix itself."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
import reference
from nnjax.nn import Dense, Objective, gauss_newton_product


@pytest.mark.parametrize("cost", [nnjax.quadratic, nnjax.softmax_cross_entropy])
def test_the_gauss_newton_product_equals_that_of_the_matrix(x64, cost):
    """JᵀHJ as matrices, for a network that is small enough."""
    rng = np.random.default_rng(0)
    params = reference.random_params((4, 3, 3), dtype=np.float64)
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    images, labels = rng.random((5, 4)), np.array([0, 1, 2, 0, 1])
    objective = Objective(forward=Dense(output=nnjax.identity), cost=cost)

    def outputs(flat):
        return jax.vmap(lambda x: objective.forward(unflatten(flat), x))(images).ravel()

    def cost_of(outputs):
        return jnp.mean(jax.vmap(cost)(outputs.reshape(5, 3), np.eye(3)[labels]))

    @jax.jit
    def matrices_and_product(flat, v):
        j, h = jax.jacobian(outputs)(flat), jax.hessian(cost_of)(outputs(flat))
        key = jax.random.key(3)
        product = gauss_newton_product(unflatten(flat), unflatten(v), objective, images, labels, key)
        return j, h, jax.flatten_util.ravel_pytree(product)[0]

    v = rng.normal(size=flat.shape)
    j, h, product = map(np.asarray, matrices_and_product(flat, v))
    np.testing.assert_allclose(product, j.T @ h @ j @ v, atol=1e-12)
