"""Blocked SGD is the same SGD."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.nn.dense import identity
from nnjax.nn.objective import Dense, Objective, softmax_cross_entropy
from nnjax.optim.optimizers import make_optimizer
from nnjax.runtime import sharding
from nnjax.sweep import _blocked, _population
from nnjax.training import step
from reference import distance

RATES = (0.05, 0.5, 1.0, 3.0)
LOGITS = Objective(Dense(jax.nn.relu, identity), softmax_cross_entropy)


def sgd(rate):
    return make_optimizer(optax.sgd, {"learning_rate": rate})


def networks(sizes, objective, rates=RATES, padded=None):
    """The state of a population in double precision, its objectives and its optimizers."""
    count = len(rates)
    params = [nnjax.init(key, sizes) for key in jax.random.split(jax.random.key(0), count)]
    optimizers = _population.stack([sgd(rate) for rate in rates])
    if padded:
        mask = _population.padding_mask(sizes, padded)
        optimizers = _population.PaddingMask(optimizers, _population.stack([mask] * count))
        params = [_population.pad(p, padded) for p in params]
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), _population.stack(params))
    states = _population.init_states(jax.random.key(5), params, optimizers)
    return states, _population.stack([objective] * count), optimizers


def of_each(states, images, labels, objectives, optimizers, batch_size):
    """An epoch of each network by itself, step by step."""
    states = jax.tree.map(jnp.copy, states)  # consumed
    axes = states._replace(params=0, opt_state=0, key=None, epoch=None)

    def alone(state, objective, optimizer):
        return step.train_epoch(state, images, labels, objective, optimizer, batch_size)

    return jax.vmap(alone, (axes, 0, 0), (axes, 0))(states, objectives, optimizers)


@pytest.mark.parametrize(
    ("sizes", "objective", "padded", "n", "batch_size"),
    [
        ((64, 16, 10), Objective(), None, 1200, 10),  # 60 blocks of 2 steps
        ((64, 16, 10), Objective(), None, 1203, 5),  # an odd step or two, and three examples
        ((64, 16, 5, 6, 10), Objective(), None, 1203, 7),
        ((64, 16, 10), LOGITS, None, 500, 4),
        ((64, 14, 5, 10), Objective(), (64, 16, 8, 10), 500, 10),
        ((64, 16, 10), Objective(), None, 9, 10),  # less than a mini-batch
    ],
)
def test_an_epoch_by_blocks_is_that_of_each_network_step_by_step(
    x64, digits, sizes, objective, padded, n, batch_size
):
    images, labels = (jnp.asarray(part[:n]) for part in digits.train)
    states, objectives, optimizers = networks(sizes, objective, padded=padded)
    inner = optimizers.optimizer if padded else optimizers
    assert _blocked.block_steps(states.params, objectives, inner, batch_size, devices=1) > 1
    expected, costs = of_each(states, images, labels, objectives, optimizers, batch_size)
    assert distance(expected.params, states.params) > 0.01 or n < 10
    found, found_costs = _population.train_epoch(states, images, labels, objectives, optimizers, batch_size)
    assert distance(found.params, expected.params) < 1e-11
    np.testing.assert_allclose(found_costs, costs, rtol=1e-11)
    assert found.epoch == 1


def test_the_networks_of_a_mesh_are_blocked_too(x64, digits, mesh8, monkeypatch):
    images, labels = (jnp.asarray(part[:500]) for part in digits.train)
    states, objectives, optimizers = networks((64, 16, 10), Objective(), RATES * 2)
    expected, _ = of_each(states, images, labels, objectives, optimizers, 4)
    called = []
    epoch = _blocked.train_epoch
    monkeypatch.setattr(_blocked, "train_epoch", lambda *a, **k: called.append(None) or epoch(*a, **k))
    mesh = sharding.with_auto_axes(mesh8)
    states = _population.place(states, mesh)
    found, _ = _population.train_epoch(states, images, labels, objectives, optimizers, 4, mesh)
    assert called
    assert distance(found.params, expected.params) < 1e-11


def test_what_is_not_plain_sgd_on_dense_networks_goes_the_general_way():
    def steps(optimizer=sgd(3.0), objective=Objective(), sizes=(784, 30, 10), m=10, count=32, devices=1):
        params = _population.stack([nnjax.init(jax.random.key(0), sizes)] * count)
        return _blocked.block_steps(params, objective, optimizer, m, devices)

    assert steps() == 26
    assert steps(count=8) == 12
    assert steps(count=8, devices=2) == 6
    assert not steps(count=1)  # the Gram matrix would be dearer than what it saves
    assert not steps(m=200)
    assert not steps(make_optimizer(optax.sgd, {"learning_rate": 3.0, "momentum": 0.9}))
    assert not steps(make_optimizer(optax.sgd, {"learning_rate": optax.constant_schedule(3.0)}))
    assert not steps(make_optimizer(optax.adam, {"learning_rate": 3.0}))
    assert not steps(make_optimizer(optax.sgd(3.0), {}))
    assert not steps(objective=Objective(penalty=lambda params: 0.0))
    assert not steps(objective=Objective(forward=lambda p, x, key: nnjax.feedforward(p, x)))
    assert not steps(sizes=(784, 10))
