"""Training with `steps`: it uses the mini-batches of the epochs, and can be evaluated at any step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
import reference
from runs import assert_same_run, every_epoch

KEY = jax.random.key(3)
SIZES = (64, 5, 10)
SETTINGS = {"learning_rate": 1.0, "batch_size": 200}  # 7 steps an epoch, the last one with 4 examples


def fit(data, **settings):
    return nnjax.fit(KEY, reference.random_params(SIZES), data, **SETTINGS | settings)


def test_steps_and_epochs_use_equal_mini_batches_for_any_evaluate_every(digits):
    epochs = fit(digits, epochs=2)
    for evaluate_every in (7, 5):
        steps = fit(digits, steps=14, evaluate_every=evaluate_every)
        assert reference.distance(steps.params, epochs.params) < 1e-6
        np.testing.assert_array_equal(steps.history.test_correct[-1], epochs.history.test_correct[-1])
        assert int(steps.state.step) == int(epochs.state.step) == 14
    assert steps.history.step.tolist() == [5, 10, 14]
    by_epoch = fit(digits, steps=14, evaluate_every=7)
    np.testing.assert_allclose(by_epoch.history.train_cost, epochs.history.train_cost, rtol=1e-6)
    np.testing.assert_array_equal(by_epoch.history.test_correct, epochs.history.test_correct)


def test_steps_across_an_epoch_equal_numpy_backprop(digits, x64):
    """The first 7 steps use the order of the first epoch, and the other 3 that of the second epoch."""
    params = expected = reference.random_params(SIZES, dtype=np.float64)
    run = nnjax.fit(KEY, params, digits, steps=10, evaluate_every=4, **SETTINGS)
    n, costs, sizes = len(digits.train.targets), [], []
    for step in range(10):
        epoch, i = divmod(step, 7)
        order_key, _ = jax.random.split(jax.random.fold_in(KEY, epoch))
        rows = np.asarray(jax.random.permutation(order_key, n))[200 * i : 200 * (i + 1)]
        x, y = digits.train.inputs[rows] / 255, np.eye(10)[digits.train.targets[rows]]
        costs.append(reference.cost(expected, x, y))
        sizes.append(len(rows))
        expected = reference.descend(expected, x, y, 1.0)
    assert sizes[6] == 4
    assert reference.distance(run.params, expected) < 1e-12
    means = [np.average(costs[a:b], weights=sizes[a:b]) for a, b in ((0, 4), (4, 8), (8, 10))]
    np.testing.assert_allclose(run.history.train_cost, means, rtol=1e-12)


def test_a_training_with_steps_has_at_most_forty_evaluations_by_default(digits):
    run = fit(digits, steps=80)
    assert len(run.history) == 40
    assert run.history.step.tolist() == list(range(2, 81, 2))
    assert repr(run).startswith("Run(steps=80, test_accuracy=")
    assert len(fit(digits, steps=3).history) == 3


def test_a_training_with_steps_resumes_with_more_steps_and_the_same_bits(digits, tmp_path, advanced):
    adam = {"optimizer": optax.adam, "learning_rate": 0.01, "evaluate_every": 5}
    fit(digits, steps=10, checkpoint=every_epoch(tmp_path), **adam)
    advanced.clear()
    resumed = fit(digits, steps=20, checkpoint=every_epoch(tmp_path), **adam)
    assert (len(advanced), resumed.restored) == (2, 2)
    expected = fit(digits, steps=20, **adam)
    for a, b in zip(jax.tree.leaves(resumed.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(resumed.history.test_correct, expected.history.test_correct)
    with pytest.raises(ValueError, match="steps must be at least 20"):
        fit(digits, steps=15, checkpoint=every_epoch(tmp_path), **adam)
    with pytest.raises(ValueError, match="unit was step and is epoch"):
        fit(digits, epochs=3, checkpoint=tmp_path, **adam)


def numpy_steps(data, params, steps, rows_of_step):
    """The parameters after each step of gradient descent with rate 1, by NumPy."""
    after = [params]
    for step in range(steps):
        rows = rows_of_step(step)
        x, y = data.train.inputs[rows] / 255, np.eye(10)[data.train.targets[rows]]
        after.append(reference.descend(after[-1], x, y, 1.0))
    return after


def full_mini_batch(key, n):
    """The rows of a step, if an epoch has 6 steps with 200 examples, and its remainder is dropped."""

    def rows_of_step(step):
        epoch, i = divmod(step, 6)
        order_key, _ = jax.random.split(jax.random.fold_in(key, epoch))
        return np.asarray(jax.random.permutation(order_key, n))[200 * i : 200 * (i + 1)]

    return rows_of_step


def test_drop_remainder_equals_numpy_backprop(digits, x64):
    params, n = reference.random_params(SIZES, dtype=np.float64), len(digits.train.targets)
    expected = numpy_steps(digits, params, 14, full_mini_batch(KEY, n))
    for settings in ({"epochs": 2}, {"steps": 12, "evaluate_every": 6}, {"steps": 14, "evaluate_every": 5}):
        run = nnjax.fit(KEY, params, digits, drop_remainder=True, **SETTINGS, **settings)
        assert reference.distance(run.params, expected[run.history.step[-1]]) < 1e-12
    epochs = nnjax.fit(KEY, params, digits, drop_remainder=True, epochs=2, **SETTINGS)
    steps = nnjax.fit(KEY, params, digits, drop_remainder=True, steps=12, evaluate_every=6, **SETTINGS)
    assert epochs.history.step.tolist() == steps.history.step.tolist() == [6, 12]
    np.testing.assert_allclose(epochs.history.train_cost, steps.history.train_cost, rtol=1e-12)


@pytest.mark.parametrize("length", [{"epochs": 2}, {"steps": 14, "evaluate_every": 5}])
@pytest.mark.parametrize("shared_batches", [True, False])
def test_a_sweep_with_drop_remainder_equals_numpy_backprop(digits, x64, length, shared_batches):
    grid = nnjax.sweep(
        KEY, digits, hidden=5, seeds=2, learning_rate=1.0, batch_size=200, drop_remainder=True,
        shared_batches=shared_batches, **length,
    )  # fmt: skip
    for seed in range(2):
        init_key, fit_key = grid.rng_keys(seed)
        params, rows = nnjax.init(init_key, SIZES), full_mini_batch(fit_key, len(digits.train.targets))
        expected = numpy_steps(digits, reference.as_numpy(params), 14, rows)
        step = 12 if "epochs" in length else 14
        assert reference.distance(grid.params(seed=seed), expected[step]) < 1e-12


def test_drop_remainder_must_be_equal_to_resume(digits, tmp_path):
    sweep = partial(nnjax.sweep, KEY, digits, hidden=5, learning_rate=1.0, batch_size=200)
    fit(digits, steps=2, checkpoint=tmp_path / "fit")
    sweep(steps=2, checkpoint=tmp_path / "sweep")
    message = "drop_remainder was False and is True"
    with pytest.raises(ValueError, match=message):
        fit(digits, steps=2, checkpoint=tmp_path / "fit", drop_remainder=True)
    with pytest.raises(ValueError, match=message):
        sweep(steps=2, checkpoint=tmp_path / "sweep", drop_remainder=True)


@pytest.mark.slow
def test_each_epoch_draws_its_order_once(digits, monkeypatch):
    """3 rows of 5 steps are parts of 3 epochs with 6 steps; a part draws 3 orders, or 3 for each network."""
    drawn, permutation = [], jax.random.permutation

    def counting(key, n):
        jax.debug.callback(drawn.append, jax.random.key_data(key))
        return permutation(key, n)

    monkeypatch.setattr(jax.random, "permutation", counting)
    for shared_batches, expected in ((True, 3), (False, 2 * 3)):
        drawn.clear()
        nnjax.sweep(
            KEY, digits, hidden=4, seeds=2, steps=15, evaluate_every=5, batch_size=210,
            learning_rate=1.0, shared_batches=shared_batches, threads=1,
        )  # fmt: skip
        jax.effects_barrier()
        assert len(drawn) == expected


def test_a_resumed_run_draws_the_order_of_its_epoch_again(digits, tmp_path):
    """A run resumes within an epoch; neither checkpoints nor results contain the order."""
    expected = fit(digits, steps=12, evaluate_every=3)
    fit(digits, steps=9, evaluate_every=3, checkpoint=every_epoch(tmp_path))
    resumed = fit(digits, steps=12, evaluate_every=3, checkpoint=every_epoch(tmp_path))
    assert (resumed.restored, resumed.state.order) == (3, None)
    assert_same_run(resumed, expected)


def test_a_schedule_ends_with_the_last_step(digits):
    """With a linear schedule, the rate of step t of 10 is 1 − t / 10."""
    learning_rates = {"rate": lambda params, grads, updates: -updates[0].b[0] / grads[0].b[0]}
    run = fit(digits, steps=10, evaluate_every=10, schedule="linear", watch=learning_rates)
    np.testing.assert_allclose(run.history.watched["rate"], [1 - np.arange(10) / 10], rtol=1e-4)


def test_a_sweep_with_steps_equals_fit_and_has_an_axis_of_steps(digits):
    grid = nnjax.sweep(
        KEY, digits, hidden=5, steps=9, evaluate_every=4, batch_size=200, learning_rate=(0.5, 1.0)
    )
    assert grid.test_accuracy.dims == ("learning_rate", "seed", "step")
    assert grid.data.step.values.tolist() == [4, 8, 9]
    init_key, fit_key = grid.rng_keys(0)
    run = nnjax.fit(fit_key, nnjax.init(init_key, SIZES), digits, steps=9, evaluate_every=4, **SETTINGS)
    assert reference.distance(grid.params(learning_rate=1.0, seed=0), run.params) < 1e-5
    costs = grid.train_cost.sel(learning_rate=1.0, seed=0)
    np.testing.assert_allclose(costs, run.history.train_cost, rtol=1e-5)


def test_locate_nan_counts_the_steps_since_the_last_evaluation(digits):
    def explodes_in_step_8(learning_rate):
        def update(grads, count, params=None):
            factor = jnp.where(count == 8, jnp.inf, -learning_rate)
            return jax.tree.map(lambda g: factor * g, grads), count + 1

        return optax.GradientTransformation(lambda params: jnp.int32(0), update)

    run = fit(digits, steps=15, evaluate_every=5, optimizer=explodes_in_step_8, locate_nan=True)
    assert run.history.diverged_at == 1
    assert run.divergence[:2] == (1, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"steps": 5, "epochs": 2}, "epochs must be None if steps is passed, got epochs=2 and steps=5"),
        ({"steps": 5, "evaluate_every": 0}, "evaluate_every must be a positive integer, got 0"),
        ({"steps": 5, "drop_remainder": 1}, "drop_remainder must be True or False, got 1"),
    ],
)
def test_wrong_lengths_raise(digits, settings, message):
    for train in (
        lambda: fit(digits, **settings),
        lambda: nnjax.sweep(KEY, digits, learning_rate=1.0, **settings),
    ):
        with pytest.raises(ValueError, match=message):
            train()
