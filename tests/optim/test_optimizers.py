import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.optim.optimizers import OPTIMIZERS, make_optimizer
from nnjax.training import step
from nnjax.training.epoch import train_epoch

KEY = jax.random.key(0)
RATES = {name: default.learning_rate for name, default in OPTIMIZERS.items()}
RATES |= {"lion": 0.003, "muon": 0.02}  # larger than the defaults, to learn within 75 steps
FACTORIES = {name: default.factory for name, default in OPTIMIZERS.items()} | {
    "optax schedule": lambda learning_rate: optax.sgd(optax.cosine_decay_schedule(3.0, 5000)),
}


@pytest.mark.parametrize(
    "name", ["adam", *(pytest.param(name, marks=pytest.mark.slow) for name in FACTORIES if name != "adam")]
)
def test_every_optimizer_learns_and_another_rate_does_not_compile(name, digits, compilations):
    params = nnjax.init(KEY, (64, 30, 10))

    def train(rate):
        optimizer = make_optimizer(FACTORIES[name], {"learning_rate": rate})
        state, costs = step.init_state(KEY, params, optimizer), []
        for _ in range(3):
            state, cost, _ = train_epoch(state, *digits.train, nnjax.Objective(), optimizer, 43)
            costs.append(float(cost))
        return costs

    rate = RATES.get(name) or 3.0
    costs = train(rate)
    assert costs[-1] < 0.9 * costs[0]
    assert compilations
    compilations.clear()
    train(rate / 2)
    assert not compilations


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lbfgs"])  # has no learning rate
def test_every_optimizer_learns_with_a_schedule(name, digits):
    run = nnjax.fit(
        KEY, nnjax.init(KEY, (64, 30, 10)), digits, optimizer=OPTIMIZERS[name].factory,
        learning_rate=2 * RATES[name], schedule="cosine", epochs=3, batch_size=43,
    )  # fmt: skip
    assert run.history.train_cost[-1] < 0.9 * run.history.train_cost[0]


def test_momentum_and_nesterov_are_their_update_rules():
    w, v, grads = 1.0, 0.0, [0.5, -0.25, 1.0]
    for g in grads:
        v = 0.9 * v + g
        w = w - 0.1 * v
    assert run_steps(nnjax.momentum(0.1), grads) == pytest.approx(w, rel=1e-6)
    w, v = 1.0, 0.0
    for g in grads:
        v = 0.9 * v + g
        w = w - 0.1 * (0.9 * v + g)
    assert run_steps(nnjax.nesterov(0.1), grads) == pytest.approx(w, rel=1e-6)


def run_steps(transformation, grads):
    @jax.jit
    def descend():
        w = jnp.float32(1.0)
        state = transformation.init(w)
        for g in grads:
            updates, state = transformation.update(jnp.float32(g), state, w)
            w = optax.apply_updates(w, updates)
        return w

    return float(descend())


def test_numbers_are_leaves_and_the_rest_is_static():
    optimizer = make_optimizer(
        optax.adam,
        {"learning_rate": 1, "b1": np.float32(0.5), "b2": jnp.float32(0.25), "nesterov": True},
    )
    assert sorted(jax.tree.leaves(optimizer)) == [0.25, 0.5, 1.0]
    assert dict(optimizer.static_args) == {"nesterov": True}


@pytest.mark.parametrize(
    ("factory", "hyperparameters", "message"),
    [
        (optax.sgd, {"learning_rate": -1.0}, "learning_rate must be non-negative, got -1"),
        (optax.sgd, {"learning_rate": float("nan")}, "finite"),
        (optax.sgd, {"learning_rate": float("inf")}, "finite"),
        (optax.sgd, {"learning_rate": 1.0, "momentum": float("nan")}, "momentum"),
        (optax.sgd, {"learning_rte": 1.0}, "did you mean 'learning_rate'"),
        (optax.sgd, {}, "optimizer sgd must get its required arguments by name: .*'learning_rate'"),
        (optax.sgd, {"learning_rate": np.ones(3)}, "learning_rate must be a single number"),
        (optax.sgd, {"learning_rate": [1.0, 2.0]}, "learning_rate must be a single number"),
        (optax.sgd(0.1), {"learning_rate": 1.0}, "hyper-parameters must be omitted .* got learning_rate"),
        (
            optax.sgd,
            {"learning_rate": 1.0, "momentum": jax.random.key(0)},
            "momentum must be a single",
        ),
        ("sgd", {"learning_rate": 1.0}, "optax.sgd"),
    ],
)
def test_wrong_hyperparameters_raise(factory, hyperparameters, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(factory, hyperparameters)


def test_a_schedule_needs_the_number_of_steps():
    with pytest.raises(ValueError, match="num_steps must be a number for a named schedule"):
        make_optimizer(optax.sgd, {"learning_rate": 1.0}, "cosine")


def test_gauss_newton_solves_a_linear_least_squares_problem_in_one_step(x64):
    """If the outputs are linear in the parameters, G is the Hessian: the solution of the normal equations."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    objective = nnjax.Objective(forward=lambda params, x, key: params @ x)
    optimizer = make_optimizer(nnjax.gauss_newton, {"damping": 1e-12, "iterations": 50})
    params = np.zeros((2, 5))
    solution = jax.jit(step.train_step)(
        params, optimizer.init(params), x, y, KEY, objective, optimizer
    ).params
    np.testing.assert_allclose(solution, np.linalg.lstsq(x, y)[0].T, atol=1e-6)
