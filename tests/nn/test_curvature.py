"""Products of the Hessian and the Gauss-Newton matrix, and eigenvalues, against the matrices themselves."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnjax
import reference
from nnjax.nn import Dense, Objective, gauss_newton_product, hessian_product, largest_eigenvalue, mean_cost


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


def test_the_hessian_product_equals_that_of_the_matrix(x64):
    rng = np.random.default_rng(0)
    flat, unflatten = jax.flatten_util.ravel_pytree(reference.random_params((4, 3, 3), dtype=np.float64))
    batch = rng.integers(0, 256, (5, 4)).astype(np.uint8), np.array([0, 1, 2, 0, 1])
    objective = Objective(penalty=lambda params: jnp.sum(params[0].w ** 4))

    @jax.jit
    def matrix_and_product(flat, v):
        matrix = jax.hessian(lambda flat: mean_cost(unflatten(flat), objective, *batch, None))(flat)
        product = hessian_product(unflatten(flat), unflatten(v), objective, *batch, None)
        return matrix, jax.flatten_util.ravel_pytree(product)[0]

    v = rng.normal(size=flat.shape)
    matrix, product = matrix_and_product(flat, v)
    np.testing.assert_allclose(product, matrix @ v, atol=1e-12)


# --- eigenvalues ---


@jax.jit
def eigenvalues_by_iterations(matrix):
    """The largest eigenvalue after 2 iterations, as many as the matrix has rows, and one more."""
    zero = {"a": jnp.zeros((2, 1), matrix.dtype), "b": jnp.zeros(len(matrix) - 2, matrix.dtype)}
    _, unflatten = jax.flatten_util.ravel_pytree(zero)

    def product(v):
        return unflatten(matrix @ jax.flatten_util.ravel_pytree(v)[0])

    counts = 2, len(matrix), len(matrix) + 1
    return jnp.stack([largest_eigenvalue(product, zero, n, jax.random.key(0)) for n in counts])


def symmetric(spectrum, seed=0):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))
    return q @ np.diag(spectrum) @ q.T


@pytest.mark.parametrize(
    "spectrum",
    [
        [1.0, 2.0, 3.0, 4.0, 5.0],
        [-9.0, -1.0, 0.0, 2.0, 3.0],  # the largest in absolute value is negative
        [-5.0, -4.0, -3.0, -3.0, -2.0],
        [-2.0, -2.0, -2.0, -2.0, -2.0],  # the first Krylov space is complete after one product
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1e-12],
        [0.0, 1.0, 1.0, 1e12, 1e12],
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_eigenvalue_of_a_known_spectrum(spectrum, dtype):
    with jax.enable_x64(dtype == np.float64):
        values = eigenvalues_by_iterations(symmetric(spectrum).astype(dtype))
    assert values.dtype == dtype
    tolerance = 100 * np.finfo(dtype).eps * np.max(np.abs(spectrum))
    np.testing.assert_allclose(values[-2:], spectrum[-1], rtol=0, atol=tolerance)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-10, 10), min_size=5, max_size=5), st.integers(0, 100))
def test_the_eigenvalue_grows_with_the_iterations_to_the_largest(spectrum, seed):
    with jax.enable_x64(True):
        matrix = symmetric(spectrum, seed)
        values = np.asarray(eigenvalues_by_iterations(matrix))
    largest = np.linalg.eigvalsh(matrix)[-1]
    assert np.all(np.diff(values) > -1e-10)
    assert np.all(values < largest + 1e-10)


def test_few_iterations_suffice_for_an_outlier(x64):
    spectrum = np.append(np.random.default_rng(0).uniform(-1, 1, 200), 10)
    matrix = symmetric(spectrum)
    value = jax.jit(largest_eigenvalue, static_argnums=2)(
        jax.tree_util.Partial(jnp.matmul, matrix), np.zeros(201), 8, jax.random.key(1)
    )
    np.testing.assert_allclose(value, 10, rtol=1e-6)


def test_many_matrices_in_one_program_have_the_eigenvalues_of_each(x64):
    matrices = np.stack([symmetric([-3.0, 0.5, seed], seed) for seed in range(3)])
    values = jax.vmap(eigenvalues_by_iterations)(matrices)
    np.testing.assert_allclose(values[:, -1], [0.5, 1, 2], atol=1e-12)


def test_parameters_of_different_dtypes(x64):
    params = jnp.zeros(1, jnp.float32), jnp.zeros(1, jnp.float64)
    value = largest_eigenvalue(lambda v: (3 * v[0], 2 * v[1]), params, 2, jax.random.key(0))
    np.testing.assert_allclose(value, 3, rtol=1e-6)
