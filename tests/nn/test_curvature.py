"""The Gauss-Newton product against the matrix itself."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.nn import Dense, Objective, gauss_newton_product


@pytest.mark.parametrize("cost", [nnjax.quadratic, nnjax.softmax_cross_entropy])
def test_the_gauss_newton_product_equals_that_of_the_matrix(x64, cost):
    """JᵀHJ as matrices, for a network that is small enough."""
    params = nnjax.init(jax.random.key(0), (4, 3, 3))
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    images, labels = jax.random.uniform(jax.random.key(1), (5, 4)), jnp.array([0, 1, 2, 0, 1])
    objective = Objective(forward=Dense(output=nnjax.identity), cost=cost)

    def outputs(flat):
        return jax.vmap(lambda x: objective.forward(unflatten(flat), x))(images).ravel()

    def cost_of(outputs):
        return jnp.mean(jax.vmap(cost)(outputs.reshape(5, 3), jnp.eye(3)[labels]))

    j, h = jax.jit(jax.jacobian(outputs))(flat), jax.jit(jax.hessian(cost_of))(outputs(flat))
    v = jax.random.normal(jax.random.key(2), flat.shape)
    product = gauss_newton_product(params, unflatten(v), objective, images, labels, jax.random.key(3))
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(product)[0], j.T @ h @ j @ v, atol=1e-12)
