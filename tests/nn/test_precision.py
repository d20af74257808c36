"""Mixed precision: forward in bfloat16; cost, gradient and parameters in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
import reference
from nnjax.nn import ComputeDtype, mean_cost

KEY = jax.random.key(0)
SIZES = (64, 30, 10)


def objective(dtype=None):
    forward = nnjax.Dense()
    return nnjax.Objective(forward if dtype is None else ComputeDtype(forward, dtype))


def test_products_are_computed_in_bfloat16_and_gradients_are_float32(digits):
    params, (inputs, targets) = reference.random_params(SIZES), (part[:20] for part in digits.train)
    gradient = jax.jit(jax.grad(mean_cost))
    grads = gradient(params, objective(jnp.bfloat16), inputs, targets, KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype(jnp.float32)}
    program = gradient.lower(params, objective(jnp.bfloat16), inputs, targets, KEY).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert products
    assert all("bf16" in line and "f32" not in line for line in products)
    exact = gradient(params, objective(), inputs, targets, KEY)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(exact), strict=True):
        assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(b)  # bfloat16 has 8 significant bits
        assert np.linalg.norm(a - b) > 0


def test_float64_in_float32_parameters_is_more_exact(x64):
    params = tuple(
        nnjax.Layer(w.astype(np.float32), b.astype(np.float32)) for w, b in reference.random_params(SIZES)
    )
    x = np.random.default_rng(0).random(64)
    expected = reference.forward(reference.as_numpy(params), x[None])[-1][0]
    output = ComputeDtype(nnjax.Dense(), jnp.float64)(params, x)
    assert output.dtype == jnp.float32
    np.testing.assert_array_equal(output, expected.astype(np.float32))


@pytest.mark.slow
def test_a_network_learns_in_bfloat16_alone_and_in_a_sweep(digits):
    settings = {"objective": objective(jnp.bfloat16), "optimizer": optax.adam, "learning_rate": 0.01}
    params = nnjax.init(KEY, SIZES)
    run = nnjax.fit(KEY, params, digits, epochs=15, batch_size=43, **settings)
    assert run.history.test_accuracy[-1] > 0.85
    assert {leaf.dtype for leaf in jax.tree.leaves(run.params)} == {jnp.dtype(jnp.float32)}
    grid = nnjax.sweep(KEY, digits, hidden=30, seeds=2, epochs=15, batch_size=43, **settings)
    assert (grid.test_accuracy.isel(epoch=-1) > 0.85).all()


def test_dropout_stops_in_evaluation():
    forward = ComputeDtype(nnjax.DenseWithDropout(rate=0.5))
    assert forward.inference() == ComputeDtype(nnjax.Dense())
    assert jax.tree.leaves(forward) == [0.5, 0.2]


def test_dtype_must_be_a_float():
    for dtype in (jnp.int32, "foo", None):
        with pytest.raises(ValueError, match="dtype must be a floating-point dtype"):
            ComputeDtype(nnjax.Dense(), dtype)
