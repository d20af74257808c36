"""Many networks side by side are the networks alone: padded, masked, or of any shape."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnjax
from nnjax.nn.dense import sizes_of
from nnjax.nn.objective import Dense, Objective
from nnjax.optim.optimizers import OPTIMIZERS, make_optimizer
from nnjax.sweep import _population
from nnjax.training import step
from reference import distance

OBJECTIVE = Objective()


@st.composite
def widened(draw):
    ends = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    own = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return (ends[0], *own, ends[1]), (ends[0], *(n + draw(st.integers(0, 4)) for n in own), ends[1])


def some(sizes, n=10, seed=0):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.integers(0, 256, (n, sizes[0])), jnp.uint8)
    return images, jnp.asarray(rng.integers(0, sizes[-1], n), jnp.int32)


@pytest.mark.slow
@given(widened())
@settings(max_examples=12, deadline=None)
def test_a_padded_network_computes_what_the_network_does(both):
    own, padded = both
    params = nnjax.init(jax.random.key(1), own)
    wide = _population.pad(params, padded)
    assert sizes_of(wide) == padded
    x = jnp.linspace(0, 1, own[0])
    np.testing.assert_allclose(nnjax.feedforward(wide, x), nnjax.feedforward(params, x), atol=1e-6)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, _population.crop(wide, own), params))


@given(widened())
@settings(max_examples=12, deadline=None)
def test_the_mask_is_true_exactly_where_the_network_is(both):
    own, padded = both
    ones = jax.tree.map(jnp.ones_like, nnjax.init(jax.random.key(0), own))
    for mask, one in zip(_population.padding_mask(own, padded), _population.pad(ones, padded), strict=True):
        for part, expected in zip(mask, one, strict=True):
            np.testing.assert_array_equal(np.broadcast_to(part, expected.shape), expected == 1)


DEEP = (64, 4, 6, 10), (64, 7, 6, 10)


@pytest.mark.parametrize(
    ("name", "own", "padded"),
    [*((name, (64, 5, 10), (64, 9, 10)) for name in [*OPTIMIZERS, "lbfgs"]), ("sgd", *DEEP), ("adam", *DEEP)],
)
def test_a_masked_network_trains_as_it_does_alone(x64, digits, name, own, padded):
    """100 steps in float64, and the padding is as it was."""
    # A line search on mini-batches of 10 is chaotic: L-BFGS takes 20 steps on all examples.
    factory, rate, batch_size, epochs = (
        (optax.lbfgs, 1.0, 500, 20) if name == "lbfgs" else (*OPTIMIZERS[name], 10, 2)
    )
    optimizer = make_optimizer(factory, {"learning_rate": rate})
    images, labels = (jnp.asarray(part[:500]) for part in digits.train)
    alone = step.init_state(jax.random.key(2), nnjax.init(jax.random.key(1), own), optimizer)
    wide = _population.pad(alone.params, padded)
    masked = _population.PaddingMask(optimizer, _population.padding_mask(own, padded))
    among = step.init_state(jax.random.key(2), wide, masked)
    for _ in range(epochs):
        alone, _ = step.train_epoch(alone, images, labels, OBJECTIVE, optimizer, batch_size)
        among, _ = step.train_epoch(among, images, labels, OBJECTIVE, masked, batch_size)
    assert distance(alone.params, nnjax.init(jax.random.key(1), own)) > 0.01
    assert distance(alone.params, _population.crop(among.params, own)) < 1e-10
    again = _population.pad(_population.crop(among.params, own), padded)
    assert distance(among.params, again) == 0


@pytest.mark.parametrize("shared", [True, False])
def test_a_population_is_its_networks_one_by_one(x64, digits, shared):
    images, labels = (jnp.asarray(part[:205]) for part in digits.train)
    rates = 0.5, 1.0, 3.0
    params = [nnjax.init(jax.random.key(i), (64, 6, 10)) for i in range(3)]
    optimizers = [make_optimizer(optax.sgd, {"learning_rate": rate}) for rate in rates]
    keys = jax.random.split(jax.random.key(7), 3)
    states = _population.init_states(
        keys[0] if shared else keys, _population.stack(params), _population.stack(optimizers)
    )
    arguments = images, labels, _population.stack([OBJECTIVE] * 3), _population.stack(optimizers), 10
    for _ in range(2):
        states, costs = _population.train_epoch(states, *arguments)
    for i in range(3):
        state = step.init_state(keys[0 if shared else i], params[i], optimizers[i])
        for _ in range(2):
            state, cost = step.train_epoch(state, images, labels, OBJECTIVE, optimizers[i], 10)
        assert float(costs[i]) == pytest.approx(float(cost), abs=1e-12)
        assert distance(jax.tree.map(lambda x, i=i: x[i], states.params), state.params) < 1e-11


def noisy(learning_rate):
    return optax.noisy_sgd(learning_rate, key=0)


@pytest.mark.parametrize(
    ("factory", "objective", "seen"),
    [
        *((variant.factory, OBJECTIVE, False) for variant in OPTIMIZERS.values()),
        (optax.contrib.muon, OBJECTIVE, True),
        (noisy, OBJECTIVE, True),
        (optax.sgd, Objective(forward=Dense(activation=jax.nn.softmax)), True),
        (optax.sgd, Objective(penalty=lambda params: jnp.sum(params[0].w ** 2)), False),
        (optax.sgd, Objective(penalty=lambda params: jnp.mean(params[0].w ** 2)), True),
    ],
)
def test_what_mixes_units_is_found_out(factory, objective, seen):
    own, padded = (12, 5, 4), (12, 8, 4)
    optimizer = make_optimizer(factory, {"learning_rate": 0.1})
    params = nnjax.init(jax.random.key(0), own)
    assert _population.padding_changes_training(params, padded, objective, optimizer, *some(own)) is seen
