"""The step and the epoch, against float64 NumPy and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reference
from nnjax.nn import Objective
from nnjax.optim import make_optimizer
from nnjax.training.divergence import find_divergence
from nnjax.training.epoch import batch_sizes, mean_over_examples, train_epoch
from nnjax.training.step import init_state, train_step

KEY = jax.random.key(42)
SGD = make_optimizer(optax.sgd, {"learning_rate": 3.0})


def sparse_examples(n, n_in, n_out, seed=0):
    """Inputs as sparse as MNIST's, 80 % zeros: trajectories on dense inputs diverge sooner."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, n_in)) * (rng.random((n, n_in)) < 0.2)
    targets = np.eye(n_out)[rng.integers(0, n_out, n)] if n_out > 1 else rng.random((n, 1)).round()
    return images.astype(np.uint8), targets


def assert_agrees_with_numpy(images, targets, sizes, steps=100, m=10):
    params = reference.random_params(sizes, dtype=np.float64)
    ours, theirs = params, params
    opt_state = SGD.init(params)
    step = jax.jit(train_step)
    for i in range(steps):
        rows = (np.arange(m) + i * m) % len(images)
        x, y = images[rows], targets[rows]
        ours, opt_state, *_ = step(ours, opt_state, x, y, KEY, Objective(), SGD)
        theirs = reference.descend(theirs, x / 255, y, 3.0)
    assert ours[0].w.dtype == jnp.float64
    assert reference.distance(ours, params) > 0.01
    assert reference.distance(ours, theirs) < 1e-12


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sizes", [(784, 30, 10), (5, 4, 3, 2), (3, 1)])
def test_100_steps_equal_numpy_backprop(sizes):
    assert_agrees_with_numpy(*sparse_examples(1000, sizes[0], sizes[-1]), sizes)


@pytest.mark.slow
def test_100_steps_on_mnist_equal_numpy_backprop(mnist, x64):
    images, labels = mnist.train.inputs[:1000], mnist.train.targets[:1000]
    assert_agrees_with_numpy(images, np.eye(10)[labels], (784, 30, 10))


@jax.jit
def order_of_epoch(epoch, examples):
    """The order of the examples in an epoch as `training.step` documents it."""
    order_key, _ = jax.random.split(jax.random.fold_in(KEY, epoch))
    return jax.random.permutation(order_key, examples)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("n", "m"),
    [(67, 10), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(60, 10), (5, 5), (7, 1)])],
)
def test_an_epoch_is_its_steps_and_includes_the_smaller_last_mini_batch(n, m):
    images, targets = sparse_examples(n, 20, 3)
    expected = reference.random_params((20, 6, 3), dtype=np.float64)
    state = init_state(KEY, expected, SGD)
    for e in range(2):
        state, cost, _ = train_epoch(state, images, targets, Objective(), SGD, m)
        order = np.asarray(order_of_epoch(e, np.arange(n)))
        assert sorted(order) == list(range(n))
        expected, expected_cost = reference.epoch(expected, images, targets, order, m, 3.0)
        assert float(cost) == pytest.approx(expected_cost, rel=1e-12)
    assert reference.distance(state.params, expected) < 1e-12
    assert int(state.step) == 2 * -(-n // m)


@pytest.mark.parametrize("m", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_each_example_of_each_step_gets_a_different_key_as_documented(m):
    """The forward function only draws a number from its key: the epoch's cost is the mean of the draws."""
    images, targets = sparse_examples(11, 4, 1)
    noise = Objective(
        forward=lambda params, x, key: params * jax.random.uniform(key, (1,)), cost=lambda a, y: a[0]
    )
    constant = make_optimizer(optax.sgd, {"learning_rate": 0.0})
    _, cost, _ = train_epoch(
        init_state(KEY, np.ones(1, np.float32), constant), images, np.float32(targets), noise, constant, m
    )

    @jax.jit
    def draw():
        _, steps_key = jax.random.split(jax.random.fold_in(KEY, 0))
        steps = [jax.random.fold_in(steps_key, step) for step in range(-(-11 // m))]
        keys = [jax.random.split(key, min(m, 11 - m * step)) for step, key in enumerate(steps)]
        return jax.vmap(lambda key: jax.random.uniform(key, (1,))[0])(jnp.concatenate(keys))

    draws = np.asarray(draw())
    assert len(set(draws)) == 11
    assert float(cost) == pytest.approx(np.mean(draws), rel=1e-5)


def test_find_divergence_returns_the_first_step_and_leaf():
    """One weight doubles in each step until float32 overflows; another one does not change."""

    def doubling():
        def update(updates, state, params):
            return {"stays": 0 * params["stays"], "doubles": params["doubles"]}, state

        return optax.GradientTransformation(optax.init_empty_state, update)

    optimizer = make_optimizer(doubling, {})
    objective = Objective(forward=lambda params, x, key: 0 * params["stays"])
    steps = 128 - np.log2(4).astype(int)  # the smallest power of two that overflows is 2^128

    def find(initial, examples):
        params = {"stays": np.ones(2, np.float32), "doubles": np.full(2, initial, np.float32)}
        images, labels = np.zeros((examples, 4), np.float32), np.zeros((examples, 2), np.float32)
        state = init_state(KEY, params, optimizer)
        divergence = find_divergence(state, images, labels, objective, optimizer, 2)
        assert np.isfinite(state.params["doubles"]).all()  # not donated
        return divergence

    assert find(4, 400) == (steps - 1, "params['doubles']")
    assert find(4, 2 * steps - 1) == (steps - 1, "params['doubles']")  # in the smaller last mini-batch
    assert find(2, 2 * steps - 1) is None


def test_find_divergence_returns_cost_if_only_the_cost_is_infinite():
    objective = Objective(forward=lambda p, x, key: p, cost=lambda a, y: jnp.inf + 0 * jnp.sum(a))
    state = init_state(KEY, np.ones(2, np.float32), SGD)
    images, labels = np.zeros((6, 4), np.float32), np.zeros((6, 2), np.float32)
    assert find_divergence(state, images, labels, objective, SGD, 2) == (0, "cost")


def test_the_mean_cost_does_not_overflow_if_no_cost_does():
    costs = np.full(121, 2e37, np.float32)
    mean = jax.jit(lambda costs: mean_over_examples(costs, batch_sizes(1204, 10)))(costs)
    assert float(mean) == pytest.approx(2e37)
