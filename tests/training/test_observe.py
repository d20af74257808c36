"""The argument `watch` of `fit` and `sweep`: the values in each step of the compiled epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
import reference
from nnjax.optim import make_optimizer
from nnjax.training import epoch, init_state, train_epoch
from runs import every_epoch

KEY = jax.random.key(4)
SIZES = (64, 5, 10)
SETTINGS = {"learning_rate": 1.0, "batch_size": 200}  # 7 steps an epoch, the last one with 4 examples


def fit(data, **settings):
    return nnjax.fit(KEY, reference.random_params(SIZES), data, **{"epochs": 2} | SETTINGS | settings)


def output_biases(params, grads, updates):
    return params[1].b


def output_updates(params, grads, updates):
    return updates[1].b


def test_updates_lead_from_the_parameters_of_one_step_to_those_of_the_next(digits):
    run = fit(digits, watch={"biases": output_biases, "updates": output_updates})
    biases, updates = (run.history.watched[name] for name in ("biases", "updates"))
    assert biases.shape == updates.shape == (2, 7, 10)
    biases, updates = biases.reshape(14, 10), updates.reshape(14, 10)
    np.testing.assert_array_equal(biases[0], reference.random_params(SIZES)[1].b)
    np.testing.assert_allclose(biases[:-1] + updates[:-1], biases[1:], rtol=1e-6)
    np.testing.assert_allclose(biases[-1] + updates[-1], run.params[1].b, rtol=1e-6)


def test_gradients_are_those_of_the_mini_batch(digits, x64):
    params = reference.random_params(SIZES, dtype=np.float64)
    run = nnjax.fit(KEY, params, digits, epochs=1, watch={"norm": nnjax.watch.gradient_norm}, **SETTINGS)
    order_key, _ = jax.random.split(jax.random.fold_in(KEY, 0))
    order = np.asarray(jax.random.permutation(order_key, len(digits.train.targets)))
    norms = []
    for rows in (order[i : i + 200] for i in range(0, 1204, 200)):
        x, y = digits.train.inputs[rows] / 255, np.eye(10)[digits.train.targets[rows]]
        grads = reference.backprop(params, x, y)
        norms.append(np.sqrt(sum(np.sum(part**2) for layer in grads for part in layer)))
        params = reference.descend(params, x, y, 1.0)
    np.testing.assert_allclose(run.history.watched["norm"], [norms], rtol=1e-10)


@pytest.mark.slow
def test_every_selects_steps_and_changes_nothing_else(digits):
    every_step = fit(digits, watch={"biases": output_biases}).history.watched["biases"].reshape(14, 10)
    for every, steps in ((3, [[0, 3, 6], [9, 12, -1]]), (None, [[0], [7]]), (20, [[0], [-1]])):
        watch = {"biases": nnjax.watch.as_watch(output_biases, every)}
        run = fit(digits, watch=watch)
        assert run.history.watched_step["biases"].tolist() == steps
        expected = np.where(np.array(steps)[..., None] < 0, np.nan, every_step[steps])
        np.testing.assert_array_equal(run.history.watched["biases"], expected)
    assert reference.distance(run.params, fit(digits).params) == 0
    assert fit(digits).history.watched == {}


def test_values_that_are_missing_in_a_shorter_last_row_are_nan(digits):
    run = fit(digits, epochs=None, steps=9, evaluate_every=5, watch={"biases": output_biases})
    watched = run.history.watched["biases"]
    assert watched.shape == (2, 5, 10)
    assert np.isnan(watched[1, 4]).all()
    assert np.isfinite(np.delete(watched.reshape(10, 10), 9, axis=0)).all()


def test_the_state_of_a_watch_is_kept_between_epochs_and_restored(digits, tmp_path):
    count = nnjax.watch.Watch(lambda params: jnp.int32(0), lambda n, *_: (n + 1, n), every=2)
    watch = {"count": count, "cosine": nnjax.watch.gradient_cosine()}
    whole = fit(digits, watch=watch)
    np.testing.assert_array_equal(whole.history.watched["count"], [[0, 1, 2, 3], [4, 5, 6, np.nan]])
    fit(digits, epochs=1, watch=watch, checkpoint=every_epoch(tmp_path))
    resumed = fit(digits, watch=watch, checkpoint=tmp_path)
    assert resumed.restored == 1
    for name in watch:
        np.testing.assert_array_equal(resumed.history.watched[name], whole.history.watched[name])
    with pytest.raises(ValueError, match="watch was cosine, count and is count"):
        fit(digits, watch={"count": count}, checkpoint=tmp_path)


def test_without_watches_nothing_is_added_to_the_program(digits, monkeypatch):
    def program():
        optimizer = make_optimizer(optax.sgd, {"learning_rate": 1.0})
        state = init_state(KEY, reference.random_params(SIZES), optimizer)
        jax.clear_caches()
        return train_epoch.lower(state, *digits.train, nnjax.Objective(), optimizer, 50).as_text()

    expected = program()
    for name, result in (("with_buffers", {}), ("observe", ({}, {})), ("without_buffers", ({}, {}))):
        monkeypatch.setattr(epoch, name, lambda *_, result=result: result)
    assert program() == expected


@pytest.mark.slow
@pytest.mark.parametrize("shared_batches", [True, False])
def test_a_network_of_a_sweep_has_the_watched_values_of_fit(digits, shared_batches):
    """Without watches, these networks would be padded and trained in blocks by plain SGD."""
    settings = {"epochs": 2, "batch_size": 200, "watch": {"norms": nnjax.watch.gradient_norms}}
    grid = nnjax.sweep(
        KEY, digits, hidden=[5, (5, 4)], learning_rate=(0.5, 1.0), seeds=2, shared_batches=shared_batches,
        **settings,
    )  # fmt: skip
    norms = grid.watched["norms"]
    assert norms.dims == ("hidden", "learning_rate", "seed", "epoch", "value", "norms_0")
    assert norms.watched_step.isel(hidden=0, learning_rate=0, seed=0).values.tolist() == [
        list(range(7)), list(range(7, 14))
    ]  # fmt: skip
    assert norms.shape == (2, 2, 2, 2, 7, 3)
    init_key, fit_key = grid.rng_keys(1)
    for hidden, sizes in ((5, (64, 5, 10)), ("5x4", (64, 5, 4, 10))):
        run = nnjax.fit(fit_key, nnjax.init(init_key, sizes), digits, learning_rate=1.0, **settings)
        layers = len(sizes) - 1
        cell = norms.sel(hidden=hidden, learning_rate=1.0, seed=1).values
        np.testing.assert_allclose(cell[..., :layers], run.history.watched["norms"], rtol=1e-3)
        assert np.isnan(cell[..., layers:]).all()


@pytest.mark.slow
def test_probes_are_shared_by_the_networks_of_a_sweep(digits):
    probe = digits.train.inputs[:20], digits.train.targets[:20]
    watch = {"sharpness": nnjax.watch.gauss_newton_eigenvalue(nnjax.Objective(), *probe, iterations=3)}
    settings = {"epochs": 1, "batch_size": 400, "watch": watch, "learning_rate": 1.0}
    grid = nnjax.sweep(KEY, digits, hidden=5, seeds=2, **settings)
    init_key, fit_key = grid.rng_keys(1)
    run = nnjax.fit(fit_key, nnjax.init(init_key, SIZES), digits, **settings)
    assert run.history.watched["sharpness"].shape == (1, 1)
    sharpness = grid.watched["sharpness"].sel(seed=1).values.squeeze()
    assert sharpness == pytest.approx(run.history.watched["sharpness"].item(), rel=1e-4)


@pytest.mark.parametrize(
    ("watch", "message"),
    [
        ([output_biases], "watch must be a mapping from names to functions"),
        ({3: output_biases}, "got the name 3"),
        ({"x": 3}, "watch must be a function"),
        ({"x": lambda params: 0.0}, "watch x must accept params, grads and updates"),
        ({"x": lambda params, grads, updates: grads}, "watch x must return an array of real numbers"),
        ({"x": lambda params, grads, updates: "text"}, "watch x must"),
        (
            {"x": nnjax.watch.Watch(lambda params: jnp.zeros(2), lambda state, *_: (state[:1], 0.0))},
            "watch x must return a state with the shapes of its init",
        ),
        (
            {"x": lambda params, grads, updates: jnp.zeros(2**24)},
            r"watch x must return less than 1 GiB in total, got 1\.3 GiB: return less",
        ),
    ],
)
def test_wrong_watches_raise(digits, watch, message):
    trainings = (
        lambda: fit(digits, epochs=3, watch=watch),
        lambda: nnjax.sweep(KEY, digits, hidden=5, learning_rate=1.0, epochs=3, batch_size=200, watch=watch),
    )
    for train in trainings:
        with pytest.raises(ValueError, match=message):
            train()
