import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnjax
import reference
from nnjax.nn.dense import ACTIVATIONS, INITIAL_WEIGHTS, sizes_of

# Compiled, because every operation outside of jit is a program.
feedforward = jax.jit(nnjax.feedforward, static_argnums=(2, 3))


@given(sizes=st.sampled_from([(1, 1), (5, 6, 3, 2)]), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_feedforward_is_the_books_equation(sizes, seed):
    params = reference.random_params(sizes, seed)
    x = np.random.default_rng(seed).random(sizes[0], dtype=np.float32)
    expected = reference.forward(reference.as_numpy(params), x[None])[-1][0]
    np.testing.assert_allclose(feedforward(params, x), expected, rtol=1e-5)
    assert sizes_of(params) == sizes


def test_hidden_and_output_activations_are_separate():
    params = reference.random_params((3, 4, 2))
    x = np.array([0.2, 0.5, 0.9], np.float32)
    (w1, b1), (w2, b2) = reference.as_numpy(params)
    expected = w2 @ np.tanh(w1 @ x + b1) + b2
    np.testing.assert_allclose(feedforward(params, x, nnjax.tanh, nnjax.identity), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("threshold", "decisions"), [(5, [0, 0, 0, 0, 1, 1, 1, 1]), (3, [0, 0, 0, 1, 1, 1, 1, 1])]
)
def test_the_weekend_decision(threshold, decisions):
    """Weights 6, 2, 2 for weather, company, transport: the book's table for both thresholds."""
    params = (nnjax.Layer(np.array([[6, 2, 2]], np.float32), np.array([-threshold], np.float32)),)
    cases = np.array([[(i >> 2) & 1, (i >> 1) & 1, i & 1] for i in range(8)], np.float32)
    outputs = [feedforward(params, x, nnjax.sigmoid, nnjax.heaviside) for x in cases]
    assert np.ravel(outputs).tolist() == decisions


def test_perceptrons_output_1_only_above_zero():
    assert jax.jit(nnjax.heaviside)(np.float32([-1.0, 0.0, 1e-6])).tolist() == [0, 0, 1]


def test_sharp_sigmoid_approaches_the_heaviside_step():
    z = np.float32([-0.5, -0.1, 0.1, 0.5])
    np.testing.assert_allclose(nnjax.sigmoid(1000 * z), [0, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_preserve_shape_and_dtype(name, dtype):
    z = jax.ShapeDtypeStruct((5,), dtype)
    a = jax.eval_shape(ACTIVATIONS[name], z)
    assert (a.shape, a.dtype) == (z.shape, z.dtype)


@pytest.fixture(scope="module")
def layers():
    """A layer of each of `INITIAL_WEIGHTS` by name, drawn inside of jit from the same key."""
    draw = jax.jit(lambda key: {name: f(key, *SHAPE) for name, f in INITIAL_WEIGHTS.items()})
    return jax.tree.map(np.asarray, draw(KEY))


KEY, SHAPE = jax.random.key(3), (100, 20_000)


def test_initial_weights_have_the_documented_deviation(layers):
    for name, w_std in (("standard_normal", 1.0), ("lecun", 0.1)):
        w, b = layers[name]
        assert w.dtype == b.dtype == np.float32
        assert abs(float(w.mean())) < 0.01 * w_std
        assert float(w.std()) == pytest.approx(w_std, rel=0.01)
        assert float(b.std()) == pytest.approx(1.0, rel=0.05)


def test_he_preserves_the_mean_square_of_a_relu_layer(layers):
    w, b = layers["he"]
    x = np.random.default_rng(0).normal(size=100)
    assert np.mean(np.maximum(w @ x, 0) ** 2) == pytest.approx(np.mean(x**2), rel=0.05)
    assert not b.any()


@pytest.mark.parametrize(
    "name", ["lecun", *(pytest.param(name, marks=pytest.mark.slow) for name in ("standard_normal", "he"))]
)
def test_initial_weights_have_the_same_bits_inside_and_outside_of_jit(layers, name):
    for inside, outside in zip(layers[name], INITIAL_WEIGHTS[name](KEY, *SHAPE), strict=True):
        np.testing.assert_array_equal(inside, outside)


def test_init_depends_on_the_key_only_and_draws_layers_independently():
    first, again, other = (nnjax.init(jax.random.key(seed), (4, 4, 4)) for seed in (7, 7, 8))
    assert reference.distance(first, again) == 0
    assert reference.distance(first, other) > 0
    assert reference.distance(first[:1], first[1:]) > 0


@pytest.mark.parametrize(
    ("sizes", "message"),
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
def test_wrong_sizes_raise(sizes, message):
    with pytest.raises(ValueError, match=message):
        nnjax.init(jax.random.key(0), sizes)
