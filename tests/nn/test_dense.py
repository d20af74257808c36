import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnjax
import reference
from nnjax.nn.dense import ACTIVATIONS, sizes_of

# Few shapes, because each one compiles.
SIZES = st.sampled_from([(1, 1), (3, 4, 2), (5, 6, 3, 2)])


@given(sizes=SIZES, seed=st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_feedforward_is_the_books_equation(sizes, seed):
    params = nnjax.init(jax.random.key(seed), sizes)
    x = np.random.default_rng(seed).random(sizes[0], dtype=np.float32)
    expected = reference.forward(reference.as_numpy(params), x[None])[-1][0]
    np.testing.assert_allclose(nnjax.feedforward(params, x), expected, rtol=1e-5)
    assert sizes_of(params) == sizes


def test_hidden_and_output_activations_are_separate():
    params = nnjax.init(jax.random.key(0), (3, 4, 2))
    x = jnp.array([0.2, 0.5, 0.9])
    (w1, b1), (w2, b2) = reference.as_numpy(params)
    expected = w2 @ np.tanh(w1 @ np.asarray(x) + b1) + b2
    out = nnjax.feedforward(params, x, nnjax.tanh, nnjax.identity)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("threshold", "decisions"), [(5, [0, 0, 0, 0, 1, 1, 1, 1]), (3, [0, 0, 0, 1, 1, 1, 1, 1])]
)
def test_the_weekend_decision(threshold, decisions):
    """Weights 6, 2, 2 for weather, company, transport: the book's table for both thresholds."""
    params = (nnjax.Layer(jnp.array([[6.0, 2.0, 2.0]]), jnp.array([-float(threshold)])),)
    cases = jnp.array([[(i >> 2) & 1, (i >> 1) & 1, i & 1] for i in range(8)], jnp.float32)
    out = jax.vmap(lambda x: nnjax.feedforward(params, x, output=nnjax.heaviside))(cases)
    assert out[:, 0].tolist() == decisions


def test_perceptrons_fire_above_zero_only():
    assert nnjax.heaviside(jnp.array([-1.0, 0.0, 1e-6])).tolist() == [0, 0, 1]


def test_sharp_sigmoid_approaches_the_heaviside_step():
    z = jnp.array([-0.5, -0.1, 0.1, 0.5])
    np.testing.assert_allclose(nnjax.sigmoid(1000 * z), nnjax.heaviside(z), atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_keep_shape_and_dtype(name):
    z = jnp.linspace(-2, 2, 5)
    assert ACTIVATIONS[name](z).shape == z.shape
    assert ACTIVATIONS[name](z).dtype == z.dtype


@pytest.mark.parametrize(
    ("initial_weights", "w_std"), [(nnjax.standard_normal, 1.0), (nnjax.lecun, 784**-0.5)]
)
def test_initial_weights_have_the_documented_deviation(initial_weights, w_std):
    w, b = nnjax.init(jax.random.key(3), (784, 3000), initial_weights)[0]
    assert w.dtype == b.dtype == jnp.float32
    assert abs(float(w.mean())) < 0.01 * w_std
    assert float(w.std()) == pytest.approx(w_std, rel=0.01)
    assert float(b.std()) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("initial_weights", [nnjax.standard_normal, nnjax.lecun])
def test_init_has_the_same_bits_inside_of_jit(initial_weights):
    arguments = jax.random.key(5), (64, 7), initial_weights
    compiled = jax.jit(nnjax.init, static_argnums=(1, 2))(*arguments)
    for a, b in zip(jax.tree.leaves(nnjax.init(*arguments)), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_array_equal(a, b)


def test_init_depends_on_the_key_only_and_draws_layers_independently():
    first, again = (nnjax.init(jax.random.key(7), (4, 4, 4)) for _ in range(2))
    other = nnjax.init(jax.random.key(8), (4, 4, 4))
    assert reference.distance(first, again) == 0
    assert reference.distance(first, other) > 0
    assert np.abs(first[0].w - first[1].w).max() > 0


@pytest.mark.parametrize(
    ("sizes", "word"),
    [
        ((), "input and an output"),
        ((784,), "input and an output"),
        ((784, 0, 10), "positive"),
        ((784, -30, 10), "positive"),
        ((784, 30.5, 10), "integers"),
        (("784", 10), "integers"),
        (784, "integers"),
    ],
)
def test_wrong_sizes_raise(sizes, word):
    with pytest.raises(ValueError, match=word):
        nnjax.init(jax.random.key(0), sizes)


def test_he_preserves_the_mean_square_of_a_relu_layer():
    layer = nnjax.he(jax.random.key(0), 300, 20_000)
    x = np.random.default_rng(0).normal(size=300)
    a = np.maximum(np.array(layer.w) @ x, 0)
    assert np.mean(a**2) == pytest.approx(np.mean(x**2), rel=0.05)
    assert not np.any(layer.b)
