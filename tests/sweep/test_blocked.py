"""Blocked SGD equals SGD step by step."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
import reference
from nnjax.nn import Dense, Layer, Objective, feedforward, identity, softmax_cross_entropy
from nnjax.optim import make_optimizer
from nnjax.runtime import sharding
from nnjax.sweep import _blocked, _population
from nnjax.training.epoch import train_epoch
from reference import distance, random_params

KEY = jax.random.key(5)
RATES = (0.05, 0.5, 1.0, 3.0)
LOGITS = Objective(Dense(jax.nn.relu, identity), softmax_cross_entropy)


def sgd(rate):
    return make_optimizer(optax.sgd, {"learning_rate": rate})


def networks(sizes, objective, rates=RATES, padded=None):
    """The state of a population in double precision, its objectives and its optimizers."""
    count = len(rates)
    params = [random_params(sizes, seed, np.float64) for seed in range(count)]
    optimizers = _population.stack([sgd(rate) for rate in rates])
    if padded:
        mask = _population.padding_mask(sizes, padded)
        optimizers = _population.PaddingMask(optimizers, _population.stack([mask] * count))
        params = [_population.pad(p, padded) for p in params]
    states = _population.init_states(KEY, _population.stack(params), optimizers)
    return states, _population.stack([objective] * count), optimizers


def test_a_blocked_epoch_equals_numpy_step_by_step(x64, digits):
    """Networks with 14 hidden neurons, padded to 16; ten blocks of 4 steps, one step and 3 examples."""
    sizes, padded, n = (64, 14, 10), (64, 16, 10), 208
    inputs, labels = (np.asarray(part[:n]) for part in digits.train)
    states, objectives, optimizers = networks(sizes, Objective(), padded=padded)
    assert _blocked.block_steps(states.params, objectives, optimizers.optimizer, 5, devices=1) == 4
    order_key, _ = jax.random.split(jax.random.fold_in(KEY, 0))
    order = np.asarray(jax.random.permutation(order_key, n))
    blocked, costs, _ = _population.train_epoch(states, inputs, labels, objectives, optimizers, 5)
    params = jax.tree.map(np.asarray, blocked.params)
    for i, rate in enumerate(RATES):
        initial = random_params(sizes, i, np.float64)
        expected, cost = reference.epoch(initial, inputs, np.eye(10)[labels], order, 5, rate)
        network = _population.crop(jax.tree.map(lambda x, i=i: x[i], params), sizes)
        assert distance(network, initial) > 0.01
        assert distance(network, expected) < 1e-11
        assert float(costs[i]) == pytest.approx(cost, rel=1e-11)
    assert blocked.step == -(-n // 5)


@partial(jax.jit, static_argnames="batch_size")
def step_by_step(states, inputs, labels, objectives, optimizers, batch_size):
    """An epoch of each network alone."""
    axes = states._replace(params=0, opt_state=0, key=None, step=None, watched=0)

    def alone(state, objective, optimizer):
        return train_epoch(state, inputs, labels, objective, optimizer, batch_size)[:2]

    return jax.vmap(alone, (axes, 0, 0), (axes, 0))(states, objectives, optimizers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "objective", "padded", "n", "batch_size"),
    [
        ((64, 14, 10), LOGITS, (64, 16, 10), 208, 5),
        ((64, 16, 10), Objective(), None, 208, 5),
        ((64, 14, 5, 10), Objective(), (64, 16, 8, 10), 200, 10),
        ((64, 16, 10), LOGITS, None, 200, 4),
        ((64, 16, 10), Objective(), None, 1200, 10),
        ((64, 16, 5, 6, 10), Objective(), None, 1203, 7),
        ((64, 16, 10), Objective(), None, 9, 10),  # one batch
    ],
)
def test_a_blocked_epoch_equals_the_epoch_step_by_step(x64, digits, sizes, objective, padded, n, batch_size):
    inputs, labels = (jnp.asarray(part[:n]) for part in digits.train)
    states, objectives, optimizers = networks(sizes, objective, padded=padded)
    inner = optimizers.optimizer if padded else optimizers
    assert _blocked.block_steps(states.params, objectives, inner, batch_size, devices=1) > 1
    expected, costs = step_by_step(states, inputs, labels, objectives, optimizers, batch_size)
    assert distance(expected.params, states.params) > 0.01 or n < 10
    blocked, blocked_costs, _ = _population.train_epoch(
        states, inputs, labels, objectives, optimizers, batch_size
    )
    assert distance(blocked.params, expected.params) < 1e-11
    np.testing.assert_allclose(blocked_costs, costs, rtol=1e-11)
    assert blocked.step == -(-n // batch_size)


@pytest.mark.slow
def test_networks_on_a_mesh_are_blocked_too(x64, digits, mesh8, monkeypatch):
    inputs, labels = (jnp.asarray(part[:500]) for part in digits.train)
    states, objectives, optimizers = networks((64, 16, 10), Objective(), RATES * 2)
    expected, _ = step_by_step(states, inputs, labels, objectives, optimizers, 4)
    called = []
    epoch = _blocked.train_epoch
    monkeypatch.setattr(_blocked, "train_epoch", lambda *a, **k: called.append(None) or epoch(*a, **k))
    mesh = sharding.with_auto_axes(mesh8)
    states = _population.place(states, mesh)
    blocked, *_ = _population.train_epoch(states, inputs, labels, objectives, optimizers, 4, mesh)
    assert called
    assert distance(blocked.params, expected.params) < 1e-11


def test_only_plain_sgd_on_dense_networks_is_blocked():
    def steps(optimizer=sgd(3.0), objective=Objective(), sizes=(784, 30, 10), m=10, count=32, devices=1):
        shape = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
        params = tuple(
            Layer(shape((count, n_out, n_in)), shape((count, n_out))) for n_in, n_out in pairwise(sizes)
        )
        return _blocked.block_steps(params, objective, optimizer, m, devices)

    assert steps() == 26
    assert steps(count=8) == 12
    assert steps(count=8, devices=2) == 6
    assert not steps(count=1)  # the Gram matrix would cost more than it saves
    assert not steps(m=200)
    assert not steps(make_optimizer(optax.sgd, {"learning_rate": 3.0, "momentum": 0.9}))
    assert not steps(make_optimizer(optax.sgd, {"learning_rate": optax.constant_schedule(3.0)}))
    assert not steps(make_optimizer(optax.adam, {"learning_rate": 3.0}))
    assert not steps(make_optimizer(optax.sgd(3.0), {}))
    assert not steps(make_optimizer(optax.sgd, {"learning_rate": 3.0}, "cosine", 100))
    assert not steps(make_optimizer(optax.sgd, {"learning_rate": 3.0}, ema_decay=0.9))
    assert not steps(objective=Objective(penalty=lambda params: 0.0))
    assert not steps(objective=Objective(forward=lambda p, x, key: feedforward(p, x)))
    assert not steps(sizes=(784, 10))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "is_blocked"),
    [
        ({}, True),
        ({"schedule": "cosine"}, False),
        ({"watch": {"norm": nnjax.watch.gradient_norm}}, False),
        ({"epochs": None, "steps": 3}, False),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ({"schedule": "constant"}, True),
                ({"zip": {"learning_rate": (0.5, 1.0)}}, True),
                ({"schedule": ("constant", "cosine")}, False),
                ({"schedule": optax.constant_schedule(1.0)}, False),
                ({"shared_batches": False}, False),
            )
        ),
    ],
)
def test_the_settings_decide_whether_a_sweep_is_blocked(digits, monkeypatch, settings, is_blocked):
    blocked = []
    epoch = _blocked.train_epoch
    monkeypatch.setattr(_blocked, "train_epoch", lambda *a, **k: blocked.append(None) or epoch(*a, **k))
    jax.clear_caches()  # a compiled program is not traced again
    rate = {} if "zip" in settings else {"learning_rate": 0.5}
    nnjax.sweep(KEY, digits, **{"hidden": 20, "seeds": 4, "epochs": 1, "batch_size": 7} | rate | settings)
    assert bool(blocked) == is_blocked
