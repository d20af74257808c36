import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.optim.optimizers import OPTIMIZERS, make_optimizer
from nnjax.training import step

KEY = jax.random.key(0)
RATES = {name: variant.learning_rate for name, variant in OPTIMIZERS.items()}
FACTORIES = {name: variant.factory for name, variant in OPTIMIZERS.items()} | {
    "lbfgs": optax.lbfgs,
    "muon": optax.contrib.muon,
    "gauss_newton": nnjax.gauss_newton,
    "schedule": lambda learning_rate: optax.sgd(optax.cosine_decay_schedule(3.0, 5000)),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_every_variant_learns_and_another_rate_compiles_nothing(name, digits, compilations):
    def train(rate):
        return nnjax.fit(
            KEY,
            nnjax.init(KEY, (64, 30, 10)),
            digits,
            objective=objective,
            optimizer=FACTORIES[name],
            epochs=5,
            batch_size=100 if name in ("lbfgs", "gauss_newton") else 10,
            learning_rate=rate,
        ).history

    objective = nnjax.Objective(forward=lambda params, x, key: nnjax.feedforward(params, x))
    rate = RATES.get(name, {"lbfgs": 1.0, "gauss_newton": 1.0, "muon": 0.02}.get(name, 3.0))
    history = step(rate)
    assert history.train_cost[-1] < 0.7 * history.train_cost[0]
    assert compilations
    compilations.clear()
    step(rate / 2)
    assert not compilations


def test_momentum_and_nesterov_are_their_update_rules():
    w, v, grads = 1.0, 0.0, [0.5, -0.25, 1.0]
    for g in grads:
        v = 0.9 * v + g
        w = w - 0.1 * v
    assert descend(nnjax.momentum(0.1), grads) == pytest.approx(w, rel=1e-6)
    w, v = 1.0, 0.0
    for g in grads:
        v = 0.9 * v + g
        w = w - 0.1 * (0.9 * v + g)
    assert descend(nnjax.nesterov(0.1), grads) == pytest.approx(w, rel=1e-6)


def descend(transformation, grads):
    w = jnp.float32(1.0)
    state = transformation.init(w)
    for g in grads:
        updates, state = transformation.update(jnp.float32(g), state, w)
        w = optax.apply_updates(w, updates)
    return float(w)


def test_numbers_are_leaves_and_the_rest_is_static():
    optimizer = make_optimizer(
        optax.adam,
        {"learning_rate": 1, "b1": np.float32(0.5), "b2": jnp.float32(0.25), "nesterov": True},
    )
    assert sorted(jax.tree.leaves(optimizer)) == [0.25, 0.5, 1.0]
    assert dict(optimizer.static_args) == {"nesterov": True}


@pytest.mark.parametrize(
    ("factory", "given", "word"),
    [
        (optax.sgd, {"learning_rate": -1.0}, "negative"),
        (optax.sgd, {"learning_rate": float("nan")}, "finite"),
        (optax.sgd, {"learning_rate": float("inf")}, "finite"),
        (optax.sgd, {"learning_rate": 1.0, "momentum": float("nan")}, "momentum"),
        (optax.sgd, {"learning_rte": 1.0}, "did you mean 'learning_rate'"),
        (optax.sgd, {}, "learning_rate"),
        (optax.sgd, {"learning_rate": jnp.ones(3)}, "one number"),
        (optax.sgd, {"learning_rate": [1.0, 2.0]}, "one number"),
        (optax.sgd(0.1), {"learning_rate": 1.0}, "factory"),
        ("sgd", {"learning_rate": 1.0}, "optax.sgd"),
    ],
)
def test_wrong_hyperparameters_are_told(factory, given, word):
    with pytest.raises(ValueError, match=word):
        make_optimizer(factory, given)


def test_gauss_newton_solves_a_linear_least_squares_problem_in_one_step(x64):
    """For outputs linear in the parameters G is the Hessian: the normal equations' solution."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    objective = nnjax.Objective(forward=lambda params, x, key: params @ x)
    optimizer = make_optimizer(nnjax.gauss_newton, {"damping": 1e-12, "iterations": 50})
    params = jnp.zeros((2, 5))
    found, _, _ = step.train_step(
        params, optimizer.init(params), jnp.asarray(x), jnp.asarray(y), KEY, objective, optimizer
    )
    np.testing.assert_allclose(found, np.linalg.lstsq(x, y)[0].T, atol=1e-6)


def test_what_falls_must_be_a_number_over_whole_steps():
    falling = nnjax.Falling(optax.sgd)
    with pytest.raises(ValueError, match="steps must be a whole number, not 2"):
        falling(learning_rate=1.0, steps=2.5)
    with pytest.raises(ValueError, match="learning_rate must be the number that falls"):
        falling(learning_rate=optax.constant_schedule(1.0), steps=2)
