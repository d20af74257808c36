"""Schedules against their formulas, and the learning rate that an optimizer gets in each step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.optim import SCHEDULES, make_optimizer
from reference import distance

KEY = jax.random.key(0)
STEPS = 40


def learning_rates(schedule, learning_rate=2.0):
    """The step that SGD takes along a gradient of 1, in each of `STEPS` steps."""
    optimizer = make_optimizer(optax.sgd, {"learning_rate": learning_rate}, schedule, STEPS)

    def step(state, _):
        w, state, _ = optimizer.apply(jnp.float32(1), state, jnp.float32(0))
        return state, -w

    return np.asarray(jax.jit(lambda: jax.lax.scan(step, optimizer.init(jnp.float32(0)), length=STEPS))()[1])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("cosine", optax.cosine_decay_schedule(2.0, STEPS)), ("linear", optax.linear_schedule(2.0, 0.0, STEPS))],
)
def test_schedules_equal_those_of_optax(schedule, expected):
    with jax.numpy_dtype_promotion("standard"):
        expected = jax.jit(lambda: jax.vmap(expected)(jnp.arange(STEPS)))()
    np.testing.assert_allclose(learning_rates(schedule), expected, rtol=1e-5)


def test_a_schedule_of_adam_equals_the_same_schedule_inside_of_optax():
    """Adam's state does not depend on the learning rate, so it can be built again in each step."""
    optimizer = make_optimizer(optax.adam, {"learning_rate": 2.0, "b1": 0.8}, "cosine", STEPS)
    inside = make_optimizer(optax.adam(optax.cosine_decay_schedule(2.0, STEPS), b1=0.8), {})

    @jax.jit
    def descend(optimizer):
        def step(carry, gradient):
            w, state, _ = optimizer.apply(gradient, carry[1], carry[0])
            return (w, state), w

        w = jnp.float32(1)
        return jax.lax.scan(step, (w, optimizer.init(w)), jnp.sin(jnp.arange(STEPS, dtype=jnp.float32)))[1]

    np.testing.assert_allclose(descend(optimizer), descend(inside), rtol=1e-4)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_warmup_rises_linearly_in_the_first_twentieth(decay):
    rates = learning_rates(f"warmup_{decay}")
    np.testing.assert_allclose(rates[:3], [0, 1, 2], atol=1e-5)
    assert np.all(np.diff(rates[2:]) < 0)
    t = (np.arange(STEPS)[2:] / STEPS - 0.05) / 0.95
    expected = 2 * (1 - t) if decay == "linear" else 1 + np.cos(np.pi * t)
    np.testing.assert_allclose(rates[2:], expected, rtol=1e-4)


def test_every_schedule_of_optax_multiplies_the_learning_rate():
    steps = np.arange(STEPS)
    schedule = optax.exponential_decay(0.5, transition_steps=10, decay_rate=0.1)
    np.testing.assert_allclose(learning_rates(schedule), 2 * 0.5 * 0.1 ** (steps / 10), rtol=1e-5)
    schedule = optax.join_schedules([optax.constant_schedule(1.0), optax.constant_schedule(0.25)], [30])
    np.testing.assert_allclose(learning_rates(schedule), np.where(steps < 30, 2, 0.5), rtol=1e-6)


def test_a_constant_schedule_adds_no_state():
    optimizer = make_optimizer(optax.sgd, {"learning_rate": 1.0}, "constant", STEPS)
    assert optimizer.num_steps is None
    assert jax.tree.leaves(optimizer.init(jnp.zeros(2))) == []


def test_fit_ends_a_schedule_with_its_last_step_and_more_epochs_do_not_compile(
    digits, compilations, monkeypatch
):
    """A schedule that is 1 only in the last of 258 or of 172 steps."""
    params = nnjax.init(KEY, (64, 30, 10))

    def train(epochs):
        return nnjax.fit(
            KEY, params, digits, epochs=epochs, batch_size=14, learning_rate=1.0, schedule="last_step"
        )

    def last_step(fraction):
        return (fraction > 0.9935).astype(jnp.float32)

    monkeypatch.setitem(SCHEDULES, "last_step", last_step)
    three = train(3)
    assert three.history.train_cost[0] == pytest.approx(three.history.train_cost[1], rel=1e-4)
    assert np.abs(three.params[0].w - params[0].w).max() > 0
    compilations.clear()
    assert np.abs(train(2).params[0].w - params[0].w).max() > 0
    assert not [name for name in compilations if "epoch" in name]


@pytest.mark.slow
def test_a_sweep_of_schedules_is_one_program_and_equals_fit(digits, compilations):
    settings = {"epochs": 1, "batch_size": 50, "learning_rate": 1.0}
    halved = optax.piecewise_constant_schedule(1.0, {10: 0.5})
    schedules = {"constant": "constant", "cosine": "cosine", "halved": halved}
    nnjax.sweep(KEY, digits, hidden=6, schedule={"constant": "constant", "halved": halved}, **settings)
    compilations.clear()
    grid = nnjax.sweep(KEY, digits, hidden=6, schedule=schedules, **settings)
    assert sum("train_epoch" in name for name in compilations) == 1
    assert grid.data.schedule.values.tolist() == list(schedules)
    init_key, fit_key = grid.rng_keys(0)
    for label, schedule in schedules.items():
        run = nnjax.fit(fit_key, nnjax.init(init_key, (64, 6, 10)), digits, schedule=schedule, **settings)
        assert distance(grid.params(schedule=label, seed=0), run.params) < 1e-4


@pytest.mark.parametrize(
    ("factory", "hyperparameters", "schedule", "message"),
    [
        (optax.sgd, {"learning_rate": 1.0}, "cosin", "schedule must be one of .* did you mean 'cosine'"),
        (optax.sgd, {"learning_rate": 1.0}, 3, "schedule must be a name or an optax schedule"),
        (optax.sgd(1.0), {}, "cosine", "hyper-parameters must be omitted .* got schedule"),
        (optax.sgd, {"learning_rate": optax.constant_schedule(1.0)}, "cosine", "must be a number"),
        (optax.lbfgs, {}, "cosine", "learning_rate must be"),
        (optax.sgd, {"learning_rate": 1.0}, lambda step, more: step, "must be a function of the step"),
        (optax.sgd, {"learning_rate": 1.0}, lambda step: jnp.ones(2), "must return one number"),
    ],
)
def test_wrong_schedules_raise(factory, hyperparameters, schedule, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(factory, hyperparameters, schedule, STEPS)


def test_every_schedule_is_between_0_and_1():
    fractions = np.linspace(0, 1, 101, dtype=np.float32)
    factors = jax.jit(lambda: {name: jax.vmap(schedule)(fractions) for name, schedule in SCHEDULES.items()})()
    for values in map(np.asarray, factors.values()):
        assert np.all((values >= 0) & (values <= 1 + 1e-6))
