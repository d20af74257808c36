"""The values of the watches, compared with NumPy and explicit matrices."""

import dataclasses
from functools import partial

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import nnjax
import reference
from nnjax import Dense, Layer, Objective, watch
from nnjax.nn import DenseWithDropout

SIZES = (4, 3, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 2, 2)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 1], np.int32)
TREES = {
    "dense": reference.random_params(SIZES),
    "nested": {"a": [np.ones((2, 3), np.float32), reference.random_params((2, 1))], "b": np.float32(-2)},
    "mixed dtypes": (np.ones(3, np.float32), jnp.full(2, 3, jnp.bfloat16)),
}

all_watches = pytest.mark.parametrize(
    "watched",
    [
        watch.gradient_norm,
        watch.gradient_norms,
        watch.parameter_norm,
        watch.update_ratios,
        watch.gradient_cosine(),
        watch.saturated_units(Dense(), IMAGES),
        watch.dead_units(Dense(nnjax.relu), IMAGES),
        watch.probe_gradient_norms(Objective(), IMAGES, LABELS),
        watch.hessian_eigenvalue(Objective(), IMAGES, LABELS, iterations=4),
        watch.gauss_newton_eigenvalue(Objective(), IMAGES, LABELS, iterations=4),
    ],
    ids=lambda f: getattr(f, "__name__", None),
)


@jax.jit
def first_value(watched, params, grads, updates):
    return watched.update(watched.init(params), params, grads, updates)[1]


def value_of(watched, params, grads=None, updates=None):
    """The value in the first step of training."""
    return first_value(watch.as_watch(watched), params, grads, updates)


def layers_of(tree):
    """Each layer, or other leaf, as one float64 vector."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Layer))
    return [np.concatenate([np.ravel(x).astype(float) for x in jax.tree.leaves(leaf)]) for leaf in leaves]


# --- Watch ---


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "epoch"])
def test_every_must_be_a_positive_integer_or_none(every):
    with pytest.raises(ValueError, match="every must be a positive integer, got"):
        watch.as_watch(watch.gradient_norm, every)


def test_a_watch_must_be_a_function_or_a_watch():
    with pytest.raises(ValueError, match=r"watch must be a function f\(params, grads, updates\).*, got 3"):
        watch.as_watch(3)


def test_as_watch_returns_a_watch_unchanged():
    cosine = watch.gradient_cosine(every=7)
    assert watch.as_watch(cosine) is cosine
    assert cosine.every == 7


def test_probe_arrays_are_leaves_and_plain_functions_are_static():
    assert jax.tree.leaves(watch.as_watch(watch.gradient_norm)) == []
    assert jax.tree.map(np.shape, jax.tree.leaves(watch.dead_units(Dense(), IMAGES))) == [(6, 2, 2), ()]
    penalty = jax.tree_util.Partial(lambda rate, params: rate * watch.parameter_norm(params, (), ()), 0.1)
    probed = watch.hessian_eigenvalue(Objective(penalty=penalty), IMAGES, LABELS, every=3)
    assert len(jax.tree.leaves(probed)) == 3
    doubled = jax.tree.map(lambda x: 2 * x, probed)
    assert (doubled.every, doubled.update.f.objective.penalty.args) == (3, (0.2,))
    np.testing.assert_array_equal(doubled.update.f.targets, 2 * LABELS)


def test_an_equal_watch_does_not_compile_again(compilations):
    @jax.jit
    def observed_value(watched, params):
        return watched.update((), params, params, params)[1]

    for images in (IMAGES, 255 - IMAGES):
        observed_value(watch.as_watch(watch.gradient_norm), TREES["dense"])
        observed_value(watch.saturated_units(Dense(), images), TREES["dense"])
        observed_value(watch.hessian_eigenvalue(Objective(), images, LABELS, 2), TREES["dense"])
    assert len([name for name in compilations if "observed_value" in name]) == 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@all_watches
def test_every_watch_runs_in_a_scan_under_vmap_and_equals_that_of_one_network(watched, dtype):
    """As in an epoch of a population: evaluated in every second step, with the probe shared."""
    watched = watch.as_watch(watched)

    def epoch(watched, params):
        def step(carry, i):
            params, state = carry
            grads = jax.tree.map(lambda p: jnp.sin(3 * p), params)
            updates = jax.tree.map(lambda g: -g / 10, grads)
            state, value = jax.lax.cond(
                i % 2 == 0,
                lambda: watched.update(state, params, grads, updates),
                lambda: (state, jax.tree.map(lambda v: jnp.full(v.shape, -1, v.dtype), shape)),
            )
            return (jax.tree.map(jnp.add, params, updates), state), value

        shape = jax.eval_shape(watched.update, watched.init(params), params, params, params)[1]
        return jax.lax.scan(step, (params, watched.init(params)), jnp.arange(3))[1]

    with jax.enable_x64(dtype == np.float64):
        networks = [reference.random_params(SIZES, seed, dtype) for seed in range(2)]
        population = jax.tree.map(lambda *leaves: np.stack(leaves), *networks)
        together = jax.jit(jax.vmap(epoch, (None, 0)))(watched, population)
        assert together.dtype == dtype
        tolerance = 1e-4 if dtype == np.float32 else 1e-11
        single = jax.jit(epoch)
        for i, params in enumerate(networks):
            np.testing.assert_allclose(together[i], single(watched, params), rtol=tolerance, atol=tolerance)
    assert np.all(np.asarray(together[:, 1]) == -1)
    assert np.all(np.isfinite(together[:, 2]))


# --- norms ---


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_norms_equal_those_of_numpy(tree):
    updates = jax.tree.map(lambda x: x * x / 100, tree)
    grads, params, changes = layers_of(tree), layers_of(tree), layers_of(updates)
    norm = np.linalg.norm(np.concatenate(grads))
    np.testing.assert_allclose(value_of(watch.gradient_norm, None, tree), norm, rtol=1e-6)
    np.testing.assert_allclose(value_of(watch.parameter_norm, tree), norm, rtol=1e-6)
    norms = [np.linalg.norm(layer) for layer in grads]
    np.testing.assert_allclose(value_of(watch.gradient_norms, None, tree), norms, rtol=1e-6)
    ratios = [np.linalg.norm(u) / np.linalg.norm(p) for u, p in zip(changes, params, strict=True)]
    np.testing.assert_allclose(value_of(watch.update_ratios, tree, None, updates), ratios, rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    arrays(np.float32, 5, elements=st.floats(-1, 1, width=32, allow_subnormal=False)),
    st.integers(-36, 36),
)
def test_the_norm_is_exact_for_numbers_whose_squares_overflow_or_vanish(x, exponent):
    x = np.where(abs(x) < 1e-2, 0, x) * np.float32(10.0**exponent)
    norm = np.linalg.norm(x.astype(float))
    np.testing.assert_allclose(watch.gradient_norm((), x, ()), norm, rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize(("number", "norm"), [(np.inf, np.inf), (-np.inf, np.inf), (np.nan, np.nan)])
def test_the_norm_of_a_diverged_network_is_not_finite(number, norm):
    np.testing.assert_equal(
        np.asarray(watch.gradient_norm((), np.float32([1, number]), ())), np.float32(norm)
    )


def test_update_ratios_without_parameters_or_updates():
    params, updates = (np.zeros(2, np.float32),) * 2, (np.zeros(2, np.float32), np.ones(2, np.float32))
    assert value_of(watch.update_ratios, params, None, updates).tolist() == [0, np.inf]


# --- the angle between gradients ---


@settings(deadline=None, max_examples=25)
@given(
    arrays(np.float64, (3, 4), elements=st.floats(-1, 1).filter(lambda x: abs(x) > 1e-3)),
    st.integers(-100, 100),
)
def test_cosines_equal_those_of_numpy(gradients, exponent):
    """The scale of the gradients does not matter."""
    with jax.enable_x64(True):
        cosine = watch.gradient_cosine()
        scaled, values = gradients * 10.0**exponent, []
        state = cosine.init((jnp.zeros(1), jnp.zeros(3)))
        for g in scaled:
            state, value = cosine.update(state, None, (jnp.array(g[:1]), jnp.array(g[1:])), None)
            values.append(float(value))
    units = [g / np.linalg.norm(g) for g in gradients]
    np.testing.assert_allclose(values, [np.nan, units[0] @ units[1], units[1] @ units[2]], atol=1e-12)


# --- hidden units ---

# One input; the pre-activations of the first hidden layer are ±x and ±9x, those of the second 0 and 100.
BY_HAND = (
    Layer(np.float32([[1], [-1], [9], [-9]]), np.zeros(4, np.float32)),
    Layer(np.zeros((2, 4), np.float32), np.float32([0, 100])),
    Layer(np.zeros((1, 2), np.float32), np.zeros(1, np.float32)),
)


@pytest.mark.parametrize(
    ("activation", "inputs", "shares"),
    [
        # |f'| is at most 5 % of its maximum if |z| > 4.36 for sigmoid and 2.18 for tanh.
        (nnjax.sigmoid, [1.0, 4.0], [4 / 8, 1 / 2]),
        (nnjax.sigmoid, [0.1, 5.0], [4 / 8, 1 / 2]),
        (nnjax.sigmoid, [0.1], [0, 1 / 2]),
        (nnjax.tanh, [1.0, 4.0], [6 / 8, 1 / 2]),
        (nnjax.relu, [1.0, 4.0], [4 / 8, 1 / 2]),
        (nnjax.identity, [1.0, 4.0], [0, 0]),
    ],
)
def test_saturated_units_by_hand(activation, inputs, shares):
    saturated = watch.saturated_units(Dense(activation), np.float32(inputs)[:, None])
    assert value_of(saturated, BY_HAND).tolist() == shares


def test_saturation_is_counted_up_to_the_threshold():
    z = 3.0
    derivative = reference.sigmoid(z) * (1 - reference.sigmoid(z)) / 0.25
    params = (Layer(np.eye(1, dtype=np.float32), np.zeros(1, np.float32)),) * 2
    for factor, share in ((0.99, 0), (1.01, 1)):
        saturated = watch.saturated_units(Dense(), np.float32([[z]]), factor * derivative)
        assert value_of(saturated, params).tolist() == [share]


@pytest.mark.parametrize(
    ("inputs", "shares"), [([1.0, 4.0], [1 / 2, 1 / 2]), ([1.0, -1.0], [0, 1 / 2]), ([0.0], [1, 1 / 2])]
)
def test_a_unit_is_dead_if_it_is_off_for_every_example(inputs, shares):
    dead = watch.dead_units(Dense(nnjax.relu), np.float32(inputs)[:, None])
    assert value_of(dead, BY_HAND).tolist() == shares


def test_images_of_a_probe_are_scaled_as_in_training():
    params = reference.random_params(SIZES, seed=3)
    params = (Layer(3 * params[0].w, params[0].b), params[1])
    a = reference.forward(params, IMAGES / 255)[1]
    for forward in (Dense(), DenseWithDropout()):
        share = value_of(watch.saturated_units(forward, IMAGES, 0.5), params)
        np.testing.assert_allclose(share, [np.mean(4 * a * (1 - a) <= 0.5)])
    assert 0.1 < share[0] < 0.9


def test_hidden_units_of_other_models_are_not_known():
    with pytest.raises(ValueError, match="forward must be a Dense, got ConvNet"):
        watch.dead_units(nnjax.ConvNet((2, 2)), IMAGES)
    with pytest.raises(ValueError, match="activation must have a derivative that is not zero everywhere"):
        watch.saturated_units(Dense(nnjax.heaviside), IMAGES)
    with pytest.raises(ValueError, match="threshold must be between 0 and 1, got 2"):
        watch.saturated_units(Dense(), IMAGES, 2)
    with pytest.raises(ValueError, match="params must have a hidden layer"):
        value_of(watch.dead_units(Dense(), IMAGES), reference.random_params((4, 3)))


# --- gradient and curvature on a probe ---


def half_squares(params):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) / 2


def test_gradient_norms_of_a_probe_equal_backpropagation_in_numpy():
    params = reference.random_params(SIZES)
    grads = reference.backprop(params, IMAGES / 255, np.eye(3)[LABELS])
    norms = [np.linalg.norm(np.append(dw, db)) for dw, db in grads]
    value = value_of(watch.probe_gradient_norms(Objective(), IMAGES, LABELS), params)
    np.testing.assert_allclose(value, norms, rtol=1e-5)


@pytest.mark.parametrize("cost", [nnjax.quadratic, nnjax.softmax_cross_entropy])
def test_eigenvalues_equal_those_of_the_explicit_matrices(x64, cost):
    params = reference.random_params(SIZES, dtype=np.float64)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    forward = Dense(output=nnjax.identity)
    objective = Objective(forward, cost, penalty=lambda params: 0.1 * half_squares(params))
    x, y = IMAGES.reshape(6, 4) / 255, np.eye(3)[LABELS]

    def outputs(flat):
        return jax.vmap(partial(forward, unravel(flat)))(x)

    def mean_cost(outputs):
        return jnp.mean(jax.vmap(cost)(outputs, y))

    @jax.jit
    def matrices(flat):
        hessian = jax.hessian(lambda flat: mean_cost(outputs(flat)))(flat)
        j = jax.jacobian(lambda flat: outputs(flat).ravel())(flat)
        h = jax.hessian(lambda outputs: mean_cost(outputs.reshape(6, 3)))(outputs(flat).ravel())
        return hessian, j.T @ h @ j

    hessian, gauss_newton = (np.linalg.eigvalsh(matrix)[-1] for matrix in matrices(flat))
    for watched, expected in (
        (watch.hessian_eigenvalue, hessian + 0.1),  # of the penalty
        (watch.gauss_newton_eigenvalue, gauss_newton),
    ):
        value = value_of(watched(objective, IMAGES, LABELS, iterations=flat.size), params)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert abs(hessian - gauss_newton) > 1e-3


def test_the_cost_of_a_probe_is_without_dropout_and_with_label_smoothing_and_penalty():
    params = reference.random_params(SIZES)
    code = nnjax.LabelSmoothing(0.2)
    objective = Objective(DenseWithDropout(rate=0.9), code=code, penalty=half_squares)
    without_dropout = dataclasses.replace(objective, forward=Dense())
    values = [
        value_of(watch.probe_gradient_norms(o, IMAGES, LABELS), params) for o in (objective, without_dropout)
    ]
    np.testing.assert_array_equal(*values)
    for other in (Objective(code=code), Objective(penalty=half_squares)):
        assert (
            abs(value_of(watch.probe_gradient_norms(other, IMAGES, LABELS), params)[0] - values[0][0]) > 1e-4
        )


def test_a_forward_gets_no_key():
    """Models without `inference`, such as those of other libraries, are random only if they get a key."""
    keys = []
    objective = Objective(lambda params, x, key: keys.append(key) or params * x.ravel()[:2], code=None)
    targets = np.zeros((6, 2), np.float32)
    for watched in (watch.probe_gradient_norms, watch.hessian_eigenvalue, watch.gauss_newton_eigenvalue):
        value_of(watched(objective, IMAGES, targets), np.ones(2, np.float32))
    assert len(keys) >= 3
    assert set(keys) == {None}


def test_the_eigenvalue_of_a_diverged_network_is_nan():
    params = jax.tree.map(lambda x: np.full_like(x, np.nan), reference.random_params(SIZES))
    assert np.isnan(value_of(watch.hessian_eigenvalue(Objective(), IMAGES, LABELS), params))


def test_a_probe_must_have_as_many_targets_as_inputs():
    for inputs, targets in ((IMAGES, LABELS[:2]), (IMAGES[:0], LABELS[:0])):
        with pytest.raises(ValueError, match="inputs and targets must have the same positive length, got"):
            watch.hessian_eigenvalue(Objective(), inputs, targets)
    with pytest.raises(ValueError, match="iterations must be a positive integer, got 0"):
        watch.hessian_eigenvalue(Objective(), IMAGES, LABELS, iterations=0)
