"""The step and the epoch, against float64 NumPy and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
import reference
from nnjax.nn import Objective
from nnjax.optim import make_optimizer
from nnjax.training.step import find_divergence, init_state, train_epoch, train_step

KEY = jax.random.key(42)
SGD = make_optimizer(optax.sgd, {"learning_rate": 3.0})


def sparse_examples(n, n_in, n_out, seed=0):
    """Inputs as sparse as MNIST's, 80 % zeros: trajectories on dense inputs diverge sooner."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, n_in)) * (rng.random((n, n_in)) < 0.2)
    targets = np.eye(n_out)[rng.integers(0, n_out, n)] if n_out > 1 else rng.random((n, 1)).round()
    return images.astype(np.uint8), targets


def assert_agrees_with_numpy(images, targets, sizes, steps=100, m=10):
    params = nnjax.init(KEY, sizes)
    ours, theirs = params, reference.as_numpy(params)
    opt_state = SGD.init(params)
    one_step = jax.jit(train_step)
    for i in range(steps):
        rows = (np.arange(m) + i * m) % len(images)
        x, y = images[rows], targets[rows]
        ours, opt_state, _ = one_step(ours, opt_state, jnp.asarray(x), jnp.asarray(y), KEY, Objective(), SGD)
        theirs = reference.descend(theirs, x / 255, y, 3.0)
    assert ours[0].w.dtype == jnp.float64
    assert reference.distance(ours, params) > 0.01
    assert reference.distance(ours, theirs) < 1e-12


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sizes", [(784, 30, 10), (5, 4, 3, 2), (3, 1)])
def test_100_steps_equal_numpy_backprop(sizes):
    assert_agrees_with_numpy(*sparse_examples(1000, sizes[0], sizes[-1]), sizes)


def test_100_steps_on_mnist_equal_numpy_backprop(mnist, x64):
    images, labels = mnist.train.inputs[:1000], mnist.train.targets[:1000]
    assert_agrees_with_numpy(images, np.eye(10)[labels], (784, 30, 10))


def numpy_epoch(params, images, targets, m, epoch_number=0):
    """The epoch as `training.step` documents it: order from the key, smaller last mini-batch included."""
    order_key, _ = jax.random.split(jax.random.fold_in(KEY, epoch_number))
    order = np.asarray(jax.random.permutation(order_key, len(images)))
    assert sorted(order) == list(range(len(images)))
    total = 0.0
    for i in range(0, len(images), m):
        x, y = images[order[i : i + m]] / 255, targets[order[i : i + m]]
        total += reference.cost(params, x, y) * len(x)
        params = reference.descend(params, x, y, 3.0)
    return params, total / len(images)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("n", "m"), [(60, 10), (67, 10), (5, 5), (7, 1)])
def test_an_epoch_is_its_steps_and_includes_the_smaller_last_mini_batch(n, m):
    images, targets = sparse_examples(n, 20, 3)
    params = nnjax.init(KEY, (20, 6, 3))
    state = init_state(KEY, params, SGD)
    expected = reference.as_numpy(params)
    for e in range(2):
        state, cost = train_epoch(state, images, targets, Objective(), SGD, m)
        expected, expected_cost = numpy_epoch(expected, images, targets, m, e)
        assert float(cost) == pytest.approx(expected_cost, rel=1e-12)
    assert reference.distance(state.params, expected) < 1e-12
    assert int(state.epoch) == 2


@pytest.mark.parametrize("m", [1, 4])
def test_each_example_of_each_step_gets_its_own_key_as_documented(m):
    """A forward that is nothing but noise from its key: the epoch's cost is the mean of the draws."""
    images, targets = sparse_examples(11, 4, 1)
    noise = Objective(
        forward=lambda params, x, key: params * jax.random.uniform(key, (1,)), cost=lambda a, y: a[0]
    )
    still = make_optimizer(optax.sgd, {"learning_rate": 0.0})
    _, cost = train_epoch(
        init_state(KEY, jnp.ones(1), still), images, targets.astype(np.float32), noise, still, m
    )
    _, steps_key = jax.random.split(jax.random.fold_in(KEY, 0))
    draws = [
        float(jax.random.uniform(key, (1,))[0])
        for i in range(0, 11, m)
        for key in jax.random.split(jax.random.fold_in(steps_key, i // m), min(m, 11 - i))
    ]
    assert len(set(draws)) == 11
    assert float(cost) == pytest.approx(np.mean(draws), rel=1e-5)


def test_the_callers_params_survive_donation():
    images, targets = sparse_examples(20, 4, 2)
    params = nnjax.init(KEY, (4, 2))
    before = reference.as_numpy(params)
    train_epoch(init_state(KEY, params, SGD), images, targets.astype(np.float32), Objective(), SGD, 10)
    assert reference.distance(params, before) == 0


@pytest.mark.parametrize("examples", [2000, 2001])
def test_find_divergence_returns_the_first_step_and_leaf(examples):
    """One weight doubles in each step until float32 overflows; another one does not change."""

    def doubling():
        def update(updates, state, params):
            return {"stays": 0 * params["stays"], "doubles": params["doubles"]}, state

        return optax.GradientTransformation(optax.init_empty_state, update)

    optimizer = make_optimizer(doubling, {})
    objective = Objective(forward=lambda params, x, key: 0 * params["stays"])
    steps = 128 - np.log2(4).astype(int)  # the smallest power of two that overflows is 2^128
    images, labels = jnp.zeros((examples, 4)), jnp.zeros((examples, 2))
    state = init_state(KEY, {"stays": jnp.ones(2), "doubles": jnp.full(2, 4.0)}, optimizer)
    divergence = find_divergence(state, images, labels, objective, optimizer, 2)
    assert divergence == (steps - 1, "params['doubles']")
    few = images[: 2 * (steps - 1)], labels[: 2 * (steps - 1)]
    assert find_divergence(state, *few, objective, optimizer, 2) is None
    assert np.isfinite(state.params["doubles"]).all()  # and was not donated
    # The smaller last mini-batch is checked too.
    short = images[: 2 * steps - 1], labels[: 2 * steps - 1]
    assert find_divergence(state, *short, objective, optimizer, 2) == divergence


def test_find_divergence_sees_an_infinite_cost():
    objective = Objective(forward=lambda p, x, key: p, cost=lambda a, y: jnp.inf + 0 * jnp.sum(a))
    images, labels = jnp.zeros((6, 4)), jnp.zeros((6, 2))
    state = init_state(KEY, jnp.ones(2), SGD)
    assert find_divergence(state, images, labels, objective, SGD, 2) == (0, "cost")


def test_the_mean_cost_does_not_overflow_if_no_cost_does(digits):
    objective = Objective(cost=lambda a, y: jnp.float32(2e37) + 0 * jnp.sum(a))
    optimizer = make_optimizer(optax.sgd, {"learning_rate": 0.0})
    state = init_state(jax.random.key(0), nnjax.init(jax.random.key(1), (64, 5, 10)), optimizer)
    _, cost = train_epoch(state, *digits.train, objective, optimizer, 10)
    assert float(cost) == pytest.approx(2e37)
