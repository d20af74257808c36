"""`sweep` trains every cell like `fit`, labels the results, and resumes interrupted sweeps."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.sweep import _axes, _plan, _sweep
from nnjax.sweep.grid import Keys, make_grid
from nnjax.training.budget import Budget
from nnjax.training.history import empty_history
from reference import distance

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def small(digits):
    """1,000 digits: with 100 steps in an epoch even η = 3 is not chaotic yet."""
    inputs, labels = digits.train
    return nnjax.Dataset.from_arrays((inputs[:1000], labels[:1000]), test=tuple(digits.test))


@partial(jax.jit, static_argnums=(1, 2))
def sines(key, n_in, n_out):
    """Initial weights between -1 and 1 that compile faster than random numbers."""
    seed = (jax.random.key_data(key)[0] % 1000).astype(float)
    w = jnp.sin(seed + jnp.arange(n_out * n_in, dtype=seed.dtype)).reshape(n_out, n_in)
    return nnjax.Layer(w, w[:, 0])


# The same shapes in many tests, so that they use the same compiled program.
SMALL = {"hidden": 5, "initial_weights": sines, "learning_rate": (0.5, 3), "batch_size": 50}
SMALL["max_networks_per_program"] = 2


def fit_alone(grid, data, sizes, seed, epochs=1, initial_weights=nnjax.standard_normal, **settings):
    """One network of a grid, trained by `fit` with the keys of the grid."""
    init_key, fit_key = grid.rng_keys(seed)
    params = nnjax.init(init_key, sizes, initial_weights)
    return nnjax.fit(fit_key, params, data, epochs=epochs, **settings)


@pytest.mark.parametrize(
    ("shared_batches", "cells"),
    [
        (True, [(7, 3, 1), (7, 0.3, 0)]),  # padded to 8 hidden neurons
        (False, [(7, 3, 1)]),
        pytest.param(False, [(8, 3, 1), (7, 0.3, 0)], marks=pytest.mark.slow),
    ],
)
def test_every_cell_equals_fit(x64, small, shared_batches, cells):
    grid = nnjax.sweep(
        KEY, small, hidden=(7, 8), learning_rate=(0.3, 3), seeds=2, epochs=1, shared_batches=shared_batches,
        max_networks_per_program=4, initial_weights=sines,
    )  # fmt: skip
    chunks = plan(small, {"hidden": (7, 8), "initial_weights": sines})[-1]
    assert [chunk.padded for chunk in chunks] == [(64, 8, 10)]
    for hidden, rate, seed in cells:
        run = fit_alone(grid, small, (64, hidden, 10), seed, 1, sines, learning_rate=rate)
        assert run.params[0].w.dtype == jnp.float64
        labels = {"hidden": hidden, "learning_rate": rate, "seed": seed}
        assert distance(grid.params(**labels), run.params) < 1e-10
        cell = grid.data.sel(labels)
        assert cell.test_correct.item() == run.history.test_correct[0]
        assert cell.train_cost.item() == pytest.approx(run.history.train_cost[0], abs=1e-12)
        assert grid.test_accuracy.sel(labels).item() == pytest.approx(run.history.test_accuracy[0])


def plan(data, model, factory=optax.sgd, batch_size=10, seeds=1, limit=None, shared_batches=True, **rates):
    """The axes, cells and chunks of a sweep; nothing is trained."""
    model = {"objective": nnjax.Objective(), "hidden": None, "init": None, "initial_weights": None} | model
    training = {"optimizer": factory, "schedule": "constant", "ema_decay": None, "batch_size": batch_size}
    rates = {"learning_rate": 0.5} | rates
    settings = model | training | rates
    axes = _axes.make_axes(settings, None, seeds)
    cells = _plan.make_cells(data, axes, settings, rates, Budget("epoch", 1, 1))
    return axes, cells, list(_plan.make_chunks(cells, axes.networks(), data, not shared_batches, limit))


@pytest.mark.slow
def test_steps_need_no_memory_for_batches_of_each_network(digits, monkeypatch):
    """An epoch shuffles a copy of the examples for each network; steps gather rows of one array."""
    monkeypatch.setattr(_sweep, "_num_threads", lambda threads, mesh: 0)  # as on an accelerator
    monkeypatch.setattr(_plan, "CPU_CACHE_BYTES", 2 * _plan.num_bytes(digits.train))
    chunks = []
    make_chunks = _plan.make_chunks
    monkeypatch.setattr(
        _sweep, "make_chunks", lambda *a, **k: chunks.append(list(make_chunks(*a, **k))) or chunks[-1]
    )
    for length in ({"epochs": 1}, {"steps": 2}):
        nnjax.sweep(
            jax.random.key(0), digits, hidden=2, seeds=3, learning_rate=1.0, batch_size=400,
            shared_batches=False, **length,
        )  # fmt: skip
    assert [len(c) for c in chunks] == [3, 1]


def labelled(data, seeds, epochs, **settings):
    """A grid in which the results of every network are its index in the order of cells and seeds."""
    axes, _, chunks = plan(data, seeds=seeds, **settings)
    histories = []
    for chunk in chunks:
        indices = np.array([cell * seeds + seed for cell, seed in chunk.networks])
        history = empty_history("epoch", np.arange(epochs), (len(indices),), data.validation, data.test)
        history.train_cost[:] = indices[None] + np.arange(epochs)[:, None] / 10
        history.test_correct[:] = indices[None]
        histories.append(replace(history, diverged_at=-indices))
    keys = Keys(KEY, shared_batches=True)
    count = len(axes.networks())
    return make_grid(axes, chunks, histories, list(range(count)), keys, Budget("epoch", epochs, 1))


def test_results_have_the_labels_of_their_networks(small):
    """Chunks contain networks of one program, so their order is not that of the grid."""
    model = {"hidden": [4, (4, 3)], "initial_weights": (nnjax.standard_normal, nnjax.lecun)}
    changes = {"factory": optax.adam, "b1": (0.8, 0.9), "nesterov": (False, True), "limit": 5}
    grid = labelled(small, 3, 2, model=model, **changes)
    assert grid.test_correct.dims == ("hidden", "initial_weights", "b1", "nesterov", "seed", "epoch")
    assert grid.test_correct.shape == (2, 2, 2, 2, 3, 2)
    assert grid.data.hidden.values.tolist() == [4, "4x3"]
    assert grid.data.initial_weights.values.tolist() == ["standard_normal", "lecun"]
    assert grid.data.seed.values.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(grid.test_correct.isel(epoch=1).values.ravel(), np.arange(48))
    np.testing.assert_array_equal(grid.diverged_at.values.ravel(), -np.arange(48))
    labels = {"hidden": "4x3", "initial_weights": "lecun", "b1": 0.8, "nesterov": True, "seed": 2}
    index = np.ravel_multi_index((1, 1, 0, 1, 2), (2, 2, 2, 2, 3))
    assert grid.test_correct.sel(labels).values.tolist() == [index, index]
    assert grid.train_cost.sel(labels).values.tolist() == [index, pytest.approx(index + 0.1)]
    assert int(grid.params(**labels)) == index
    rows = grid.to_dataframe()
    assert len(rows) == 96
    row = rows[np.logical_and.reduce([rows[name] == label for name, label in labels.items()])]
    assert row.test_correct.tolist() == [index, index]
    assert row.epoch.tolist() == [0, 1]


@pytest.mark.slow
def test_axes_have_labels_in_the_order_of_the_arguments_and_the_dataframe_is_tidy(small):
    grid = nnjax.sweep(
        KEY, small, hidden=[4, (4, 3)], optimizer=optax.adam, learning_rate=0.01, b1=(0.8, 0.9),
        nesterov=(False, True), seeds=3, epochs=2, batch_size=500,
    )  # fmt: skip
    assert grid.test_correct.dims == ("hidden", "b1", "nesterov", "seed", "epoch")
    assert grid.test_correct.shape == (2, 2, 2, 3, 2)
    assert grid.data.hidden.values.tolist() == [4, "4x3"]
    assert grid.data.seed.values.tolist() == [0, 1, 2]
    rows = grid.to_dataframe()
    assert len(rows) == 48
    row = rows[
        (rows.hidden == "4x3") & (rows.b1 == 0.9) & rows.nesterov & (rows.seed == 2) & (rows.epoch == 1)
    ]
    cell = grid.data.sel(hidden="4x3", b1=0.9, nesterov=True, seed=2, epoch=1)
    assert row.test_correct.item() == cell.test_correct.item()
    assert [layer.b.shape for layer in grid.params(hidden="4x3", b1=0.8, nesterov=False, seed=0)] == [
        (4,), (3,), (10,)
    ]  # fmt: skip


@pytest.mark.slow
def test_objectives_and_initial_weights_make_axes_too(x64, small):
    def decay(rate, params):
        return rate * sum(jnp.sum(layer.w**2) for layer in params)

    objectives = {
        rate: nnjax.Objective(penalty=jax.tree_util.Partial(decay, rate)) for rate in (0.0, 0.001)
    } | {"binary": nnjax.Objective(code=nnjax.binary)}
    grid = nnjax.sweep(
        KEY, small, hidden=6, objective=objectives, initial_weights=(nnjax.standard_normal, nnjax.lecun),
        learning_rate=1.0, epochs=1,
    )  # fmt: skip
    assert grid.data.initial_weights.values.tolist() == ["standard_normal", "lecun"]
    for label, n_out in [(0.001, 10), ("binary", 4)]:
        run = fit_alone(
            grid, small, (64, 6, n_out), 0, 1, nnjax.lecun, objective=objectives[label], learning_rate=1.0
        )
        assert distance(grid.params(objective=label, initial_weights="lecun", seed=0), run.params) < 1e-10


@pytest.fixture(scope="module")
def softmax_regression():
    objective = nnjax.Objective(
        forward=lambda params, x, key: params["w"] @ x.ravel(), cost=nnjax.softmax_cross_entropy
    )

    def init(key):
        return {"w": jnp.zeros((10, 64))}

    return init, objective


def test_a_custom_model_can_be_swept(small, softmax_regression):
    init, objective = softmax_regression
    grid = nnjax.sweep(KEY, small, init=init, objective=objective, learning_rate=(0.1, 0.5), epochs=5)
    assert (grid.test_accuracy.isel(epoch=-1) > 0.9).all()


@pytest.mark.slow
def test_a_custom_model_in_a_sweep_equals_fit(x64, small, softmax_regression):
    init, objective = softmax_regression
    grid = nnjax.sweep(
        KEY, small, init=init, objective=objective, optimizer=nnjax.momentum, learning_rate=(0.01, 0.1),
        momentum=(0.0, 0.9), epochs=1,
    )  # fmt: skip
    init_key, fit_key = grid.rng_keys(0)
    run = nnjax.fit(
        fit_key, init(init_key), small, objective=objective, optimizer=nnjax.momentum, learning_rate=0.1,
        momentum=0.9, epochs=1,
    )  # fmt: skip
    w = grid.params(learning_rate=0.1, momentum=0.9)["w"]
    np.testing.assert_allclose(w, run.params["w"], rtol=0, atol=1e-10)


@pytest.mark.slow
def test_widths_are_not_padded_if_the_optimizer_mixes_units(x64, small):
    settings = {"optimizer": optax.contrib.muon, "learning_rate": 0.02, "batch_size": 100, "epochs": 1}
    grid = nnjax.sweep(KEY, small, hidden=(9, 10), **settings)
    for hidden in (9, 10):
        run = fit_alone(grid, small, (64, hidden, 10), 0, **settings)
        assert distance(grid.params(hidden=hidden), run.params) < 1e-10


def test_padding_is_checked_for_every_setting(small):
    """The first setting has a penalty of 0, so it cannot show that the mean in the penalty mixes units."""

    def mean_square(rate, params):
        return rate * jnp.mean(params[0].w ** 2)

    penalties = {rate: jax.tree_util.Partial(mean_square, rate) for rate in (0.0, 1.0)}
    objectives = {rate: nnjax.Objective(penalty=penalty) for rate, penalty in penalties.items()}
    model = {"hidden": (7, 8), "objective": objectives, "initial_weights": sines}
    assert [chunk.padded for chunk in plan(small, model)[-1]] == [None, None]


def test_a_diverged_network_is_recorded_and_does_not_affect_the_others(x64, small):
    relu = nnjax.Objective(forward=nnjax.Dense(nnjax.relu, nnjax.identity))
    settings = {"objective": relu, "hidden": 7, "initial_weights": sines, "epochs": 1, "batch_size": 100}
    both = nnjax.sweep(KEY, small, learning_rate=(0.001, 1e200), **settings)
    finite = nnjax.sweep(KEY, small, learning_rate=(0.001, 0.002), **settings)
    assert both.diverged_at.sel(learning_rate=1e200).item() == 0
    assert both.diverged_at.sel(learning_rate=0.001).item() == -1
    assert finite.diverged_at.values.tolist() == [[-1], [-1]]
    assert distance(both.params(learning_rate=0.001), finite.params(learning_rate=0.001)) < 1e-10


@pytest.mark.slow
def test_the_results_do_not_depend_on_the_chunks(x64, small):
    settings = {"hidden": 7, "learning_rate": (0.5, 3), "seeds": 3, "epochs": 1, "batch_size": 20}
    together = nnjax.sweep(KEY, small, **settings)
    in_chunks = nnjax.sweep(KEY, small, max_networks_per_program=4, **settings)
    np.testing.assert_allclose(in_chunks.train_cost, together.train_cost, atol=1e-10)
    np.testing.assert_array_equal(in_chunks.test_correct, together.test_correct)
    labels = {"learning_rate": 3, "seed": 2}
    assert distance(in_chunks.params(**labels), together.params(**labels)) < 1e-9


def test_other_epochs_and_learning_rates_do_not_compile(small, compilations):
    nnjax.sweep(KEY, small, epochs=1, **SMALL)
    compilations.clear()
    nnjax.sweep(jax.random.key(6), small, epochs=3, **SMALL | {"learning_rate": (0.1, 0.7)})
    assert not [name for name in compilations if "epoch" in name or "evaluate" in name]


@pytest.mark.slow
def test_progress_has_counts_settings_and_history(small):
    progress = []
    grid = nnjax.sweep(
        KEY, small, hidden=(3, 20), seeds=2, epochs=3, learning_rate=1.0, max_networks_per_program=2,
        callback=progress.append,
    )  # fmt: skip
    assert [(p.networks, p.done) for p in progress] == [(0, 1), (0, 2), (0, 3), (2, 1), (2, 2), (2, 3)]
    assert {(p.num_networks, p.total) for p in progress} == {(4, 3)}
    fractions = [p.fraction for p in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert fractions[2] > 0.8  # the wide networks, which come first, are most of the work
    assert [p.settings for p in progress[::3]] == [
        [{"hidden": hidden, "seed": seed} for seed in range(2)] for hidden in (20, 3)
    ]
    for p in progress:
        for i, network in enumerate(p.settings):
            expected = grid.test_correct.sel(network).values[: p.done]
            np.testing.assert_array_equal(p.history.test_correct[:, i], expected)


class Stopped(Exception):
    pass


def test_a_label_with_another_value_does_not_resume(small, tmp_path):
    settings = SMALL | {"epochs": 1, "checkpoint": tmp_path}
    nnjax.sweep(KEY, small, **settings | {"learning_rate": {"low": 0.1}})
    with pytest.raises(ValueError, match=r"learning_rate was .*0\.1.* and is .*0\.2"):
        nnjax.sweep(KEY, small, **settings | {"learning_rate": {"low": 0.2}})


def test_an_epoch_whose_callback_raises_is_saved(small, tmp_path, advanced):
    def stop_after_the_second_epoch(progress):
        if progress.done == 2:
            raise Stopped

    settings = SMALL | {"learning_rate": 0.5, "epochs": 3}
    settings["checkpoint"] = nnjax.CheckpointPolicy(tmp_path, every_seconds=1000)
    with pytest.raises(Stopped):
        nnjax.sweep(KEY, small, callback=stop_after_the_second_epoch, **settings)
    advanced.clear()
    nnjax.sweep(KEY, small, **settings)
    assert len(advanced) == 1


def test_a_stopped_sweep_resumes_after_its_finished_chunks(small, tmp_path, advanced):
    settings = SMALL | {"seeds": 2, "epochs": 2}

    def stop_in_the_second_chunk(progress):
        if progress.networks:
            raise Stopped

    with pytest.raises(Stopped):
        nnjax.sweep(KEY, small, checkpoint=tmp_path, callback=stop_in_the_second_chunk, **settings)
    advanced.clear()
    resumed = nnjax.sweep(KEY, small, checkpoint=tmp_path, **settings)
    assert len(advanced) == settings["epochs"] - 1  # the second epoch of the second chunk
    uninterrupted = nnjax.sweep(KEY, small, **settings)
    assert resumed.data.drop_vars("seconds").identical(uninterrupted.data.drop_vars("seconds"))
    labels = {"learning_rate": 0.5, "seed": 1}
    assert distance(resumed.params(**labels), uninterrupted.params(**labels)) == 0


@pytest.mark.parametrize("optimizer", [optax.sgd, pytest.param(optax.adam, marks=pytest.mark.slow)])
def test_a_sweep_resumes_to_more_epochs(small, tmp_path, advanced, optimizer):
    settings = SMALL | {"optimizer": optimizer}
    nnjax.sweep(KEY, small, checkpoint=tmp_path, epochs=1, **settings)
    resumed = nnjax.sweep(KEY, small, checkpoint=tmp_path, epochs=2, **settings)
    assert len(advanced) == 2
    uninterrupted = nnjax.sweep(KEY, small, epochs=2, **settings)
    assert resumed.data.drop_vars("seconds").identical(uninterrupted.data.drop_vars("seconds"))


@pytest.mark.slow
def test_a_scheduled_sweep_does_not_resume_to_more_epochs(small, tmp_path):
    settings = {"hidden": 4, "learning_rate": 0.5, "schedule": "cosine", "batch_size": 500}
    nnjax.sweep(KEY, small, checkpoint=tmp_path, epochs=1, **settings)
    with pytest.raises(ValueError, match="num_steps"):
        nnjax.sweep(KEY, small, checkpoint=tmp_path, epochs=2, **settings)


@pytest.fixture(scope="module")
def stopped_sweep(small, tmp_path_factory):
    settings = SMALL | {"key": KEY, "epochs": 1, "checkpoint": tmp_path_factory.mktemp("sweep")}
    nnjax.sweep(data=small, **settings)
    return settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 100}, "batch_size was 50 and is 100"),
        ({"learning_rate": (0.5, 2.9)}, r"learning_rate was \[0.5, 3\] and is \[0.5, 2.9\]"),
        ({"key": jax.random.key(6)}, r"key was \[0, 5\] and is \[0, 6\]"),
        ({"objective": nnjax.Objective(code=nnjax.binary)}, "objective was .*OneHot.* and is .*Binary"),
        ({"optimizer": nnjax.momentum}, "optimizer was <function sgd> and is <function momentum>"),
        ({"seeds": 2}, "seeds was 1 and is 2"),
        ({"shared_batches": False}, "shared_batches was True and is False"),
        ({"max_networks_per_program": 1}, r"programs was \[2\] and is \[1, 1\]"),
        ({"schedule": "cosine"}, "num_steps .* and is 20"),
    ],
)
def test_resuming_a_sweep_with_other_settings_names_them(small, stopped_sweep, change, message):
    with pytest.raises(ValueError, match=message):
        nnjax.sweep(data=small, **stopped_sweep | change)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden": ()}, "hidden must have at least one value"),
        ({"learning_rate": []}, "learning_rate must have at least one value"),
        ({"hidden": (30, 30)}, "hidden must have distinct values"),
        ({"learning_rate": (3, 3.0)}, "learning_rate must have distinct values"),
        ({"seeds": 0}, "seeds must be a positive integer, got 0"),
        ({"seeds": 2.5}, "seeds must be a positive integer"),
        ({"hidden": (30, 0)}, "sizes must be positive"),
        ({"hidden": (30, 2.5)}, "sizes must be integers"),
        ({"learning_rate": (3.0, -1.0)}, "must be non-negative"),
        ({"learning_rate": (3.0, float("nan"))}, "finite"),
        ({"rate": (3.0, 1.0)}, "hyper-parameter must be one of .* got 'rate'"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"max_networks_per_program": 0}, "max_networks_per_program must be a positive integer"),
        ({"batch_size": 1001}, "batch_size must be at most 1000, the number of training examples, got 1001"),
        ({"objective": "quadratic"}, "objective must be an Objective"),
        ({"objective": [nnjax.Objective()]}, "objective must be a mapping from labels to values"),
        ({"hidden": 3, "init": lambda key: {}}, "hidden and initial_weights must be None if init is passed"),
        ({"init": lambda key: {}}, "params must contain at least one array"),
        ({"key": 0}, "key must be a jax.random.key"),
        ({"key": jax.random.PRNGKey(0)}, "key must be a jax.random.key"),
        ({"key": jax.random.split(KEY, 3)}, "key must be a jax.random.key"),
        ({"hidden": (4, (4,))}, "hidden must have distinct values"),
        ({"hidden": True}, "sizes must be integers"),
        ({"seeds": True}, "seeds must be a positive integer"),
        ({"objective": {None: nnjax.Objective()}}, "objective must be a mapping from labels to values"),
        ({"optimizer": lambda learning_rate, seed: optax.sgd(learning_rate), "seed": (1, 2)}, "called seed"),
        ({"init": 3}, "init must be a function"),
        ({"init": lambda: ()}, "init must be a function from a key to parameters"),
        ({"initial_weights": "lecun"}, "initial_weights must be a function"),
        ({"init": lambda key: {}, "initial_weights": nnjax.lecun}, "must be None if init is passed"),
        ({"callback": 3}, "callback must be a function"),
        ({"checkpoint": 3}, "the checkpoint directory must be a path, got 3"),
    ],
)
def test_wrong_arguments_raise_before_anything_trains(small, wrong, message, compilations):
    with pytest.raises(ValueError, match=message):
        nnjax.sweep(**{"key": KEY, "data": small, "learning_rate": 3.0} | wrong)
    assert not [name for name in compilations if "epoch" in name]


def test_a_checkpoint_must_be_a_directory(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file"):
        nnjax.sweep(KEY, small, learning_rate=3.0, checkpoint=tmp_path / "file")


def test_float32_values_are_labelled_with_their_shortest_decimals():
    assert _axes.parse_axis("learning_rate", jnp.array([0.3, 1.0])) == {0.3: 0.3, 1.0: 1.0}


def test_params_raise_without_a_label_on_every_axis(small):
    grid = labelled(small, 2, 1, model={"hidden": (2, 5)}, limit=2)
    assert int(grid.params(hidden=5, seed=0)) == 2
    with pytest.raises(ValueError, match="add a label for seed"):
        grid.params(hidden=2)
    with pytest.raises(ValueError, match=r"labels must be values on the axes .*, got {'hidden': 4"):
        grid.params(hidden=4, seed=0)
    with pytest.raises(ValueError, match=r"labels must be values on the axes .*, got {'width': 4"):
        grid.params(width=4)


def test_groups_of_widths_are_complete_and_add_few_parameters():
    widths = [5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300]
    groups = _plan.group_widths([(784, w, 10) for w in widths])
    assert sorted(sizes[1] for group in groups for sizes in group) == widths
    for group in groups:
        padded = len(group) * _plan.num_params(_plan.padded_sizes(group))
        assert padded <= _plan.MAX_PADDING_RATIO * sum(map(_plan.num_params, group))


def test_split_evenly_preserves_the_order():
    chunks = list(_plan.split_evenly(range(25), 10))
    assert [len(c) for c in chunks] == [9, 9, 7]
    assert [i for c in chunks for i in c] == list(range(25))


@pytest.mark.parametrize(
    ("hidden", "batch_size", "shared_batches", "limit"),
    [
        (30, 10, True, _plan.CPU_CACHE_BYTES // (4 * 23860)),
        (300, 10, True, _plan.CPU_CACHE_BYTES // (4 * _plan.num_params((784, 300, 10)))),
        # 40 units, four numbers of four bytes for each, and the same for the rows of w as for b.
        (30, 50_000, True, 2**30 // (4 * 23860 + 50_000 * 80 * 16)),
        (30, 10, False, 1),
    ],
)
def test_caches_and_memory_limit_the_networks_of_a_program(
    monkeypatch, hidden, batch_size, shared_batches, limit
):
    monkeypatch.setattr(_plan, "_memory_bytes", lambda: _plan.COPIES * 2**30)
    images = np.zeros((50_000, 784), np.uint8)
    data = nnjax.Dataset.from_arrays((images, np.arange(50_000) % 10))
    chunks = plan(data, {"hidden": hidden}, batch_size=batch_size, seeds=200, shared_batches=shared_batches)[
        -1
    ]
    largest = max(len(chunk.networks) for chunk in chunks)
    assert limit / 2 < largest <= limit
    assert sum(len(chunk.networks) for chunk in chunks) == 200
