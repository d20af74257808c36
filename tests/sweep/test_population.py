"""A population trains like each of its networks alone, with and without padding."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnjax.nn import Dense, Objective, feedforward, sizes_of
from nnjax.optim import OPTIMIZERS, make_optimizer
from nnjax.sweep import _population
from nnjax.training import step
from nnjax.training.epoch import train_epoch
from reference import distance, random_params

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
    params = random_params(sizes)
    wide = _population.pad(params, padded)
    assert sizes_of(wide) == padded
    x = np.linspace(0, 1, sizes[0], dtype=np.float32)
    np.testing.assert_allclose(feedforward(wide, x), feedforward(params, x), atol=1e-6)
    assert distance(_population.crop(wide, sizes), params) == 0


@given(sizes_and_padded_sizes())
@settings(max_examples=20, deadline=None)
def test_the_mask_is_true_exactly_at_the_parameters_without_padding(both):
    sizes, padded = both
    masks = _population.padding_mask(sizes, padded)
    for mask, (n_in, n_out), (wide_in, wide_out) in zip(
        masks, pairwise(sizes), pairwise(padded), strict=True
    ):
        expected = np.zeros((wide_out, wide_in), bool)
        expected[:n_out, :n_in] = True
        np.testing.assert_array_equal(np.broadcast_to(mask.w, expected.shape), expected)
        np.testing.assert_array_equal(np.broadcast_to(mask.b, wide_out), np.arange(wide_out) < n_out)


DEEP = (64, 4, 6, 10), (64, 7, 6, 10)
SHALLOW = (64, 5, 10), (64, 9, 10)
FIRST_ORDER = [name for name, default in OPTIMIZERS.items() if default.factory is not optax.contrib.muon]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes", "padded"),
    [
        *((name, *SHALLOW) for name in FIRST_ORDER if name != "gauss_newton"),
        *((name, *DEEP) for name in ("sgd", "adam")),
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
    initial = random_params(sizes, dtype=np.float64)
    alone = step.init_state(jax.random.key(2), initial, optimizer)
    masked = _population.PaddingMask(optimizer, _population.padding_mask(sizes, padded))
    in_padding = step.init_state(jax.random.key(2), _population.pad(initial, padded), masked)
    for _ in range(epochs):
        alone, *_ = train_epoch(alone, inputs, labels, OBJECTIVE, optimizer, batch_size)
        in_padding, *_ = train_epoch(in_padding, inputs, labels, OBJECTIVE, masked, batch_size)
    assert distance(alone.params, initial) > 0.01
    assert distance(alone.params, _population.crop(in_padding.params, sizes)) < 1e-10
    padded_again = _population.pad(_population.crop(in_padding.params, sizes), padded)
    assert distance(in_padding.params, padded_again) == 0


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_a_population_trains_like_its_networks_one_by_one(x64, digits, shared):
    inputs, labels = (jnp.asarray(part[:205]) for part in digits.train)
    rates = 0.5, 1.0, 3.0
    params = [random_params((64, 6, 10), i, np.float64) for i in range(3)]
    optimizers = [make_optimizer(optax.sgd, {"learning_rate": rate}) for rate in rates]
    keys = jax.random.split(jax.random.key(7), 3)
    states = _population.init_states(
        keys[0] if shared else keys, _population.stack(params), _population.stack(optimizers)
    )
    arguments = inputs, labels, _population.stack([OBJECTIVE] * 3), _population.stack(optimizers), 10
    for _ in range(2):
        states, costs, _ = _population.train_epoch(states, *arguments)
    for i in range(3):
        state = step.init_state(keys[0 if shared else i], params[i], optimizers[i])
        for _ in range(2):
            state, cost, _ = train_epoch(state, inputs, labels, OBJECTIVE, optimizers[i], 10)
        assert float(costs[i]) == pytest.approx(float(cost), abs=1e-12)
        assert distance(jax.tree.map(lambda x, i=i: x[i], states.params), state.params) < 1e-11


def noisy(learning_rate):
    return optax.noisy_sgd(learning_rate, key=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "objective", "changes"),
    [
        (optax.sgd, Objective(forward=Dense(activation=jax.nn.softmax)), True),
        (optax.contrib.muon, OBJECTIVE, True),
        (noisy, OBJECTIVE, True),
        *(
            (OPTIMIZERS[name].factory, OBJECTIVE, False)
            for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lion")
        ),
    ],
)
def test_padding_changes_training_if_something_mixes_units(factory, objective, changes):
    sizes, padded = (12, 5, 4), (12, 8, 4)
    optimizer = make_optimizer(factory, {"learning_rate": 0.1})
    arguments = objective, optimizer, *examples(sizes)
    assert _population.padding_changes_training(random_params(sizes), padded, *arguments) is changes
