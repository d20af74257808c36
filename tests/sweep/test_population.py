"""A population trains like its networks on their own, with and without padding."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnjax
from nnjax.nn import Dense, Objective, sizes_of
from nnjax.optim import OPTIMIZERS, make_optimizer
from nnjax.sweep import _population
from nnjax.training import step
from reference import distance

OBJECTIVE = Objective()


@st.composite
def sizes_and_padded_sizes(draw):
    ends = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    hidden = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return (ends[0], *hidden, ends[1]), (ends[0], *(n + draw(st.integers(0, 4)) for n in hidden), ends[1])


def examples(sizes, n=10, seed=0):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.integers(0, 256, (n, sizes[0])), jnp.uint8)
    return images, jnp.asarray(rng.integers(0, sizes[-1], n), jnp.int32)


@pytest.mark.slow
@given(sizes_and_padded_sizes())
@settings(max_examples=12, deadline=None)
def test_a_padded_network_has_the_same_output(both):
    sizes, padded = both
    params = nnjax.init(jax.random.key(1), sizes)
    wide = _population.pad(params, padded)
    assert sizes_of(wide) == padded
    x = jnp.linspace(0, 1, sizes[0])
    np.testing.assert_allclose(nnjax.feedforward(wide, x), nnjax.feedforward(params, x), atol=1e-6)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, _population.crop(wide, sizes), params))


@given(sizes_and_padded_sizes())
@settings(max_examples=8, deadline=None)
def test_the_mask_is_true_exactly_at_the_parameters_without_padding(both):
    sizes, padded = both
    ones = tuple(nnjax.Layer(np.ones((n_out, n_in)), np.ones(n_out)) for n_in, n_out in pairwise(sizes))
    for mask, layer in zip(
        _population.padding_mask(sizes, padded), _population.pad(ones, padded), strict=True
    ):
        for part, expected in zip(mask, layer, strict=True):
            np.testing.assert_array_equal(np.broadcast_to(part, expected.shape), np.asarray(expected) == 1)


DEEP = (64, 4, 6, 10), (64, 7, 6, 10)
SHALLOW = (64, 5, 10), (64, 9, 10)
FIRST_ORDER = [name for name, default in OPTIMIZERS.items() if default.factory is not optax.contrib.muon]


@pytest.mark.parametrize(
    ("name", "sizes", "padded"),
    [
        ("sgd", *DEEP),
        ("adam", *SHALLOW),
        *(
            pytest.param(name, *shape, marks=pytest.mark.slow)
            for name, shape in [*((name, SHALLOW) for name in FIRST_ORDER if name != "adam"), ("adam", DEEP)]
            if name != "gauss_newton"
        ),
    ],
)
def test_a_padded_network_trains_like_the_network_without_padding(x64, digits, name, sizes, padded):
    """100 steps in float64; the padding stays zero."""
    # A line search on mini-batches of 10 is chaotic: L-BFGS takes 20 steps on all examples.
    factory, rate, batch_size, epochs = (
        (optax.lbfgs, 1.0, 500, 20) if name == "lbfgs" else (*OPTIMIZERS[name], 10, 2)
    )
    optimizer = make_optimizer(factory, {"learning_rate": rate})
    inputs, labels = (jnp.asarray(part[:500]) for part in digits.train)
    alone = step.init_state(jax.random.key(2), nnjax.init(jax.random.key(1), sizes), optimizer)
    initial = jax.tree.map(jnp.copy, alone.params)
    masked = _population.PaddingMask(optimizer, _population.padding_mask(sizes, padded))
    in_padding = step.init_state(jax.random.key(2), _population.pad(alone.params, padded), masked)
    for _ in range(epochs):
        alone, _ = step.train_epoch(alone, inputs, labels, OBJECTIVE, optimizer, batch_size)
        in_padding, _ = step.train_epoch(in_padding, inputs, labels, OBJECTIVE, masked, batch_size)
    assert distance(alone.params, initial) > 0.01
    assert distance(alone.params, _population.crop(in_padding.params, sizes)) < 1e-10
    padded_again = _population.pad(_population.crop(in_padding.params, sizes), padded)
    assert distance(in_padding.params, padded_again) == 0


@pytest.mark.parametrize("shared", [True, False])
def test_a_population_trains_like_its_networks_one_by_one(x64, digits, shared):
    inputs, labels = (jnp.asarray(part[:205]) for part in digits.train)
    rates = 0.5, 1.0, 3.0
    params = [nnjax.init(jax.random.key(i), (64, 6, 10)) for i in range(3)]
    optimizers = [make_optimizer(optax.sgd, {"learning_rate": rate}) for rate in rates]
    keys = jax.random.split(jax.random.key(7), 3)
    states = _population.init_states(
        keys[0] if shared else keys, _population.stack(params), _population.stack(optimizers)
    )
    arguments = inputs, labels, _population.stack([OBJECTIVE] * 3), _population.stack(optimizers), 10
    for _ in range(2):
        states, costs = _population.train_epoch(states, *arguments)
    for i in range(3):
        state = step.init_state(keys[0 if shared else i], params[i], optimizers[i])
        for _ in range(2):
            state, cost = step.train_epoch(state, inputs, labels, OBJECTIVE, optimizers[i], 10)
        assert float(costs[i]) == pytest.approx(float(cost), abs=1e-12)
        assert distance(jax.tree.map(lambda x, i=i: x[i], states.params), state.params) < 1e-11


def noisy(learning_rate):
    return optax.noisy_sgd(learning_rate, key=0)


def square_penalty(reduce):
    return Objective(penalty=lambda params: reduce(params[0].w ** 2))


@pytest.mark.parametrize(
    ("factory", "objective", "changes"),
    [
        (optax.sgd, OBJECTIVE, False),
        (optax.adam, OBJECTIVE, False),
        (optax.contrib.muon, OBJECTIVE, True),
        (noisy, OBJECTIVE, True),
        (optax.sgd, Objective(forward=Dense(activation=jax.nn.softmax)), True),
        (optax.sgd, square_penalty(jnp.sum), False),
        (optax.sgd, square_penalty(jnp.mean), True),
        *(
            pytest.param(OPTIMIZERS[name].factory, OBJECTIVE, False, marks=pytest.mark.slow)
            for name in ("momentum", "nesterov", "adagrad", "rmsprop", "adamw", "lion")
        ),
    ],
)
def test_padding_changes_training_if_something_mixes_units(factory, objective, changes):
    sizes, padded = (12, 5, 4), (12, 8, 4)
    optimizer = make_optimizer(factory, {"learning_rate": 0.1})
    params = nnjax.init(jax.random.key(0), sizes)
    arguments = objective, optimizer, *examples(sizes)
    assert _population.padding_changes_training(params, padded, *arguments) is changes
