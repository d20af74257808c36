"""Weight averaging: evaluation uses the mean, and the steps do not change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.optim import eval_params, make_optimizer, with_ema

KEY = jax.random.key(1)
PARAMS = nnjax.init(jax.random.key(0), (64, 30, 10))
SETTINGS = {"epochs": 2, "batch_size": 10, "learning_rate": 1.0}


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def test_the_mean_follows_its_recursion():
    optimizer = make_optimizer(optax.sgd, {"learning_rate": 0.5}, ema_decay=0.9)
    apply = jax.jit(lambda params, state: optimizer.apply(params, state, params)[:2])  # the gradient of w²/2
    w, mean = 3.0, 3.0
    params, state = jnp.array(w), optimizer.init(jnp.array(w))
    for t in range(1, 120):
        params, state = apply(params, state)
        w *= 0.5
        keep = min(0.9, (1 + t) / (10 + t))
        mean = keep * mean + (1 - keep) * w
        assert params == pytest.approx(w)
        assert state.mean == pytest.approx(mean, rel=1e-5)


def test_the_mean_has_the_dtype_of_the_parameters():
    optimizer = make_optimizer(optax.sgd, {"learning_rate": 0.5}, ema_decay=0.9)
    w = jax.ShapeDtypeStruct((3,), jnp.bfloat16)
    _, state, _ = jax.eval_shape(lambda w: optimizer.apply(w, optimizer.init(w), w), w)
    assert state.mean.dtype == jnp.bfloat16


def test_the_steps_are_those_without_a_mean_and_the_mean_is_evaluated(digits):
    plain = nnjax.fit(KEY, PARAMS, digits, **SETTINGS)
    mean = nnjax.fit(KEY, PARAMS, digits, ema_decay=0.99, **SETTINGS)
    for a, b in zip(leaves(plain.params), leaves(mean.state.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(leaves(mean.params), leaves(mean.state.params), strict=True))
    assert mean.history.test_correct[-1] == nnjax.count_correct(mean.params, *digits.test)
    np.testing.assert_array_equal(plain.history.train_cost, mean.history.train_cost)


def test_the_mean_of_an_optimizer_inside_a_chain_is_evaluated():
    initial, last = np.zeros(2), np.ones(2)
    state = optax.chain(optax.clip(0.01), with_ema(optax.sgd(1.0))).init(initial)
    assert eval_params(last, state) is initial
    assert eval_params(last, optax.sgd(1.0).init(initial)) is last


@pytest.mark.slow
def test_a_sweep_averages_each_network(digits):
    settings = SETTINGS | {"epochs": 1}
    grid = nnjax.sweep(KEY, digits, hidden=30, seeds=2, ema_decay=(0.9, 0.99), **settings)
    params = grid.params(ema_decay=0.9, seed=1)
    correct = grid.test_correct.sel(ema_decay=0.9, seed=1, epoch=0)
    assert int(correct) == nnjax.count_correct(params, *digits.test)
    init_key, fit_key = grid.rng_keys(1)
    run = nnjax.fit(fit_key, nnjax.init(init_key, (64, 30, 10)), digits, ema_decay=0.9, **settings)
    for a, b in zip(leaves(params), leaves(run.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3)


def test_a_resumed_training_continues_with_its_mean(digits, tmp_path):
    settings = SETTINGS | {"ema_decay": 0.999}
    nnjax.fit(KEY, PARAMS, digits, checkpoint=tmp_path, **settings | {"epochs": 1})
    resumed = nnjax.fit(KEY, PARAMS, digits, checkpoint=tmp_path, **settings)
    uninterrupted = nnjax.fit(KEY, PARAMS, digits, **settings)
    for a, b in zip(leaves(resumed.params), leaves(uninterrupted.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("decay", "message"), [(1.5, "between 0 and 1, got 1.5"), ("0.9", "a single number")]
)
def test_a_decay_must_be_a_fraction(decay, message):
    with pytest.raises(ValueError, match=f"ema_decay must be {message}"):
        make_optimizer(optax.sgd, {"learning_rate": 1.0}, ema_decay=decay)
