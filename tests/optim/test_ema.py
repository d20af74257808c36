"""Weight averaging: the mean that is evaluated, and the steps that it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.optim.ema import Averaged
from nnjax.optim.optimizers import make_optimizer

KEY = jax.random.key(1)
PARAMS = nnjax.init(jax.random.key(0), (64, 12, 10))
SETTINGS = {"epochs": 3, "learning_rate": 1.0}


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def test_the_mean_is_that_of_its_recursion():
    optimizer = make_optimizer(Averaged(optax.sgd), {"learning_rate": 0.5, "decay": 0.9})
    w, mean = 3.0, 3.0
    params, state = jnp.array(w), optimizer.init(jnp.array(w))
    for t in range(1, 200):
        params, state = optimizer.apply(params, state, params)  # the gradient of w²/2
        w *= 0.5
        keep = min(0.9, (1 + t) / (10 + t))
        mean = keep * mean + (1 - keep) * w
        assert params == pytest.approx(w)
        assert state.mean == pytest.approx(mean, rel=1e-5)


def test_the_mean_has_the_precision_of_its_parameters(digits):
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    run = nnjax.fit(KEY, params, digits, optimizer=Averaged(optax.sgd), epochs=1, learning_rate=1.0)
    assert {x.dtype for x in jax.tree.leaves(run.params)} == {jnp.dtype(jnp.bfloat16)}


def test_steps_are_those_of_the_factory_and_what_is_evaluated_is_the_mean(digits):
    plain = nnjax.fit(KEY, PARAMS, digits, **SETTINGS)
    mean = nnjax.fit(KEY, PARAMS, digits, optimizer=Averaged(optax.sgd), decay=0.99, **SETTINGS)
    for a, b in zip(leaves(plain.params), leaves(mean.state.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(leaves(mean.params), leaves(mean.state.params), strict=True))
    assert mean.history.test_correct[-1] == nnjax.count_correct(mean.params, *digits.test)
    np.testing.assert_array_equal(plain.history.train_cost, mean.history.train_cost)


def test_the_mean_is_found_at_the_end_of_a_chain(digits):
    clipped = optax.chain(optax.clip(0.01), Averaged(optax.sgd)(learning_rate=1.0))
    run = nnjax.fit(KEY, PARAMS, digits, optimizer=clipped, epochs=1)
    for ours, mean in zip(leaves(run.params), leaves(run.state.opt_state[1].mean), strict=True):
        np.testing.assert_array_equal(ours, mean)


def test_a_share_that_is_none_is_refused(digits):
    with pytest.raises(ValueError, match="decay must be from 0 to 1"):
        nnjax.fit(KEY, PARAMS, digits, optimizer=Averaged(optax.sgd), decay=1.5, **SETTINGS)


def test_a_sweep_averages_each_network(digits):
    grid = nnjax.sweep(
        KEY, digits, hidden=12, seeds=2, optimizer=Averaged(optax.sgd), decay=(0.9, 0.99), epochs=2,
        learning_rate=1.0,
    )  # fmt: skip
    params = grid.params(decay=0.9, seed=1)
    right = grid.test_correct.sel(decay=0.9, seed=1, epoch=1)
    assert int(right) == nnjax.count_correct(params, *digits.test)
    init_key, fit_key = grid.rng_keys(1)
    alone = nnjax.fit(
        fit_key, nnjax.init(init_key, (64, 12, 10)), digits, optimizer=Averaged(optax.sgd), decay=0.9,
        epochs=2, learning_rate=1.0,
    )  # fmt: skip
    for a, b in zip(leaves(params), leaves(alone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3)


def test_a_kept_training_goes_on_with_its_mean(digits, tmp_path):
    settings = {"optimizer": Averaged(optax.sgd), "learning_rate": 1.0, "checkpoint": tmp_path / "kept"}
    nnjax.fit(KEY, PARAMS, digits, epochs=1, **settings)
    on = nnjax.fit(KEY, PARAMS, digits, epochs=2, **settings)
    whole = nnjax.fit(KEY, PARAMS, digits, epochs=2, **settings | {"checkpoint": None})
    for a, b in zip(leaves(on.params), leaves(whole.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_are_checked_as_those_of_the_factory(digits):
    with pytest.raises(ValueError, match="learning_rat"):
        make_optimizer(Averaged(optax.sgd), {"learning_rat": 1.0})
    with pytest.raises(ValueError, match="missing a required argument: 'learning_rate'"):
        make_optimizer(Averaged(optax.sgd), {"decay": 0.9})
