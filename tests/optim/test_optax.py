"""Every optimizer of optax trains with `fit` and in a sweep, or is listed with the reason why it does not."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import nnjax
import reference

KEY = jax.random.key(0)
INITIAL = reference.random_params((64, 10), 1)
OBJECTIVE = nnjax.Objective(nnjax.Dense(output=nnjax.identity), nnjax.softmax_cross_entropy)

OPTIMIZERS = {
    name: function
    for module in (optax, contrib)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if "learning_rate" in inspect.signature(function).parameters and not name.startswith(("_", "scale_by"))
}
REASONS = {
    "dpsgd": "needs the gradient of every example",
    "optimistic_adam": "deprecated; optimistic_adam_v2 is tested",
    "schedule_free": "wraps an optimizer; schedule_free_sgd and schedule_free_adamw are tested",
}
# Learning rates for this problem; those without an entry get 0.01.
RATES = {
    "adagrad": 0.3, "adadelta": 10.0, "cocob": 1.0, "dadapt_adamw": 1.0, "dog": 1.0, "dowg": 1.0,
    "fromage": 0.03, "lars": 1.0, "momo": 1.0, "noisy_sgd": 0.1, "optimistic_gradient_descent": 0.1,
    "prodigy": 1.0, "radam": 0.1, "schedule_free_sgd": 0.3, "sgd": 0.1, "sm3": 0.1,
}  # fmt: skip
EPOCHS = {"dog": 12}  # its first steps are tiny
# `key` is also an argument of `fit`, so it is passed in a mapping.
OTHERS = {"noisy_sgd": {"hyperparameters": {"key": 0}}}
FAST = ("noisy_sgd", "schedule_free_sgd", "sophia")


@pytest.fixture(autouse=True, scope="module")
def _compile_fast():
    """Compiles without expensive optimizations, because compilation is most of the time of these tests."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def settings(name):
    return {"optimizer": OPTIMIZERS[name], "objective": OBJECTIVE, "batch_size": 86, **OTHERS.get(name, {})}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in OPTIMIZERS]
)
def test_every_optimizer_of_optax_learns_with_fit_and_in_a_sweep(name, digits):
    if name in REASONS:
        pytest.skip(f"{name}: {REASONS[name]}")
    rate, epochs = RATES.get(name, 0.01), EPOCHS.get(name, 4)
    run = nnjax.fit(KEY, INITIAL, digits, learning_rate=rate, epochs=epochs, **settings(name))
    first, last = run.history.train_cost[[0, -1]]
    assert last < 0.8 * first
    grid = nnjax.sweep(
        KEY, digits, init=lambda key: jax.tree.map(jnp.asarray, INITIAL), learning_rate=(rate, rate / 2),
        epochs=epochs, **settings(name),
    )  # fmt: skip
    costs = grid.train_cost.isel(seed=0).values
    assert costs[0, -1] < 0.8 * costs[0, 0]
    assert not np.array_equal(costs[0], costs[1])


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_schedule_free_optimizers_are_evaluated_at_their_average(name, digits, tmp_path):
    arguments = settings(name) | {"learning_rate": RATES.get(name, 0.01), "epochs": 2}
    run = nnjax.fit(KEY, INITIAL, digits, checkpoint=tmp_path, **arguments)
    expected = contrib.schedule_free_eval_params(run.state.opt_state, run.state.params)
    assert reference.distance(run.params, expected) < 1e-6
    assert reference.distance(run.params, run.state.params) > 1e-4
    correct = int(nnjax.count_correct(expected, *digits.test, OBJECTIVE))
    assert run.history.test_correct[-1] == correct
    again = nnjax.fit(KEY, INITIAL, digits, checkpoint=tmp_path, **arguments)
    assert reference.distance(again.params, run.params) == 0


def test_the_average_of_an_optimizer_in_a_chain_is_evaluated(digits):
    def factory(learning_rate):
        return optax.chain(optax.clip_by_global_norm(1.0), contrib.schedule_free_sgd(learning_rate))

    run = nnjax.fit(
        KEY,
        INITIAL,
        digits,
        optimizer=factory,
        learning_rate=0.3,
        objective=OBJECTIVE,
        epochs=1,
        batch_size=86,
    )
    expected = contrib.schedule_free_eval_params(run.state.opt_state[1], run.state.params)
    assert reference.distance(run.params, expected) < 1e-6


def test_a_hyperparameter_called_key_can_be_an_axis(digits):
    grid = nnjax.sweep(
        KEY, digits, init=lambda key: jax.tree.map(jnp.asarray, INITIAL), learning_rate=0.1, epochs=1,
        optimizer=optax.noisy_sgd, objective=OBJECTIVE, batch_size=86, hyperparameters={"key": [0, 1]},
    )  # fmt: skip
    assert grid.test_accuracy.dims == ("key", "seed", "epoch")
    assert grid.train_cost.sel(key=0).values != grid.train_cost.sel(key=1).values


@pytest.mark.slow
def test_gradients_are_clipped_and_accumulated_by_chains(digits):
    """Two steps accumulated are one step with the mean gradient; clipping bounds the norm of the update."""
    inputs, targets = (jnp.asarray(part[:20]) for part in digits.train)
    data = nnjax.Dataset.from_arrays((inputs, targets), num_classes=10)

    def accumulated(learning_rate):
        return optax.MultiSteps(optax.sgd(learning_rate), every_k_schedule=2).gradient_transformation()

    arguments = {"objective": OBJECTIVE, "learning_rate": 0.1, "epochs": 1}
    small = nnjax.fit(KEY, INITIAL, data, optimizer=accumulated, batch_size=10, **arguments)
    large = nnjax.fit(KEY, INITIAL, data, batch_size=20, **arguments)
    assert reference.distance(small.params, large.params) < 1e-6

    def clipped(learning_rate):
        return optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(learning_rate))

    one = nnjax.fit(KEY, INITIAL, data, optimizer=clipped, batch_size=20, **arguments)
    change = optax.tree.norm(optax.tree.sub(one.params, INITIAL))
    assert float(change) == pytest.approx(0.1 * 0.5, rel=1e-3)


def test_sam_takes_the_gradient_at_the_adversarial_point(x64):
    """One step on ½ a w²: the gradient is that at w + ρ g / ‖g‖ (Foret and others, 2021)."""
    curvature, w, rho, rate = np.array([1.0, 4.0]), np.array([3.0, 1.0]), 0.1, 0.5

    def sam(learning_rate):
        adversary = optax.chain(contrib.normalize(), optax.sgd(rho))
        return contrib.sam(optax.sgd(learning_rate), adversary, opaque_mode=True)

    objective = nnjax.Objective(
        lambda w, x, key: w * jnp.sqrt(x), lambda output, target: jnp.sum(output**2) / 2, code=None
    )
    data = nnjax.Dataset.from_arrays((curvature[None], curvature[None]))
    run = nnjax.fit(
        KEY, w, data, objective=objective, optimizer=sam, learning_rate=rate, steps=1, batch_size=1
    )
    gradient = curvature * w
    adversarial = curvature * (w + rho * gradient / np.linalg.norm(gradient))
    np.testing.assert_allclose(run.params, w - rate * adversarial, rtol=1e-12)
    for more in ({"schedule": optax.constant_schedule(1.0)}, {"ema_decay": 0.0}):
        again = nnjax.fit(
            KEY,
            w,
            data,
            objective=objective,
            optimizer=sam,
            learning_rate=rate,
            steps=1,
            batch_size=1,
            **more,
        )
        np.testing.assert_allclose(again.params, run.params, rtol=1e-12)


# `optax.lookahead` is missing: its parameters and its gradients have different structures.
WRAPPERS = {
    "mechanize": lambda learning_rate: contrib.mechanize(optax.adam(learning_rate)),
    "reduce_on_plateau": lambda learning_rate: optax.chain(
        optax.adam(learning_rate), contrib.reduce_on_plateau(patience=2, accumulation_size=14)
    ),
    "apply_if_finite": lambda learning_rate: optax.apply_if_finite(optax.adam(learning_rate), 3),
    "inject_hyperparams": lambda learning_rate: optax.inject_hyperparams(optax.adam)(
        learning_rate=learning_rate
    ),
    "partition": lambda learning_rate: optax.partition(
        {"w": optax.adam(learning_rate), "b": optax.sgd(learning_rate)},
        lambda params: jax.tree.map_with_path(lambda path, _: path[-1].name, params),
    ),
    "split_real_and_imaginary": lambda learning_rate: contrib.split_real_and_imaginary(
        optax.adam(learning_rate)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_of_optimizers_learn_with_fit_and_in_a_sweep(name, digits):
    arguments = {"optimizer": WRAPPERS[name], "objective": OBJECTIVE, "batch_size": 86, "epochs": 4}
    grid = nnjax.sweep(
        KEY,
        digits,
        init=lambda key: jax.tree.map(jnp.asarray, INITIAL),
        learning_rate=(0.01, 0.005),
        **arguments,
    )
    run = nnjax.fit(grid.rng_keys(0)[1], INITIAL, digits, learning_rate=0.01, **arguments)
    assert run.history.train_cost[-1] < 0.8 * run.history.train_cost[0]
    np.testing.assert_allclose(grid.train_cost[0, 0], run.history.train_cost, rtol=1e-3)


def test_a_plateau_reduces_the_learning_rate(digits):
    """The cost is constant, so the rate is halved each time that `patience` steps have passed."""

    def on_plateau(learning_rate):
        return optax.chain(
            optax.sgd(learning_rate), contrib.reduce_on_plateau(factor=0.5, patience=2, accumulation_size=1)
        )

    # A cost that depends on the parameter, but has the value 1.
    objective = nnjax.Objective(
        lambda w, x, key: w, lambda w, target: 1 + jnp.sum(w - jax.lax.stop_gradient(w)), code=None
    )
    data = nnjax.Dataset.from_arrays((np.zeros((8, 1), np.float32), np.zeros((8, 1), np.float32)))
    run = nnjax.fit(
        KEY, np.zeros(1, np.float32), data, objective=objective, optimizer=on_plateau, learning_rate=1.0,
        batch_size=1, epochs=1, watch={"updates": lambda params, grads, updates: -updates[0]},
    )  # fmt: skip
    rates = run.history.watched["updates"][0]
    assert rates[0] == 1
    assert set(rates.tolist()) >= {1.0, 0.5, 0.25}
    assert (np.diff(rates) <= 0).all()
