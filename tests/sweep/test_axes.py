"""Axes of a sweep (settings in `zip`, optimizers and batch sizes), and grid files."""

from dataclasses import dataclass

import jax
import numpy as np
import optax
import pytest

import nnjax
from nnjax.nn import Transformer
from nnjax.sweep import _grid_file
from reference import distance

KEY = jax.random.key(6)
SIZES = (64, 5, 10)


def sweep(data, **settings):
    return nnjax.sweep(KEY, data, **{"hidden": 5, "epochs": 1, "batch_size": 200} | settings)


@pytest.mark.slow
def test_settings_in_zip_vary_together_in_one_program(digits, compilations):
    """Random search: every point has its own rate, decay, schedule and seed."""
    rates, decays, seeds = [0.003, 0.01, 0.03], [0.8, 0.9, 0.95], [7, 0, 7]
    schedules = ["constant", "linear", "cosine"]
    grid = sweep(
        digits,
        optimizer=optax.adam,
        zip={"learning_rate": rates, "b1": decays, "schedule": schedules, "seed": seeds},
    )
    assert sum("train_epoch" in name for name in compilations) == 1
    assert grid.test_correct.dims == ("point", "epoch")
    assert grid.data.learning_rate.values.tolist() == rates
    assert grid.data.seed.dims == grid.data.schedule.dims == ("point",)
    for point in (0, 2):
        init_key, fit_key = grid.rng_keys(seeds[point])
        run = nnjax.fit(
            fit_key, nnjax.init(init_key, SIZES), digits, optimizer=optax.adam, epochs=1, batch_size=200,
            learning_rate=rates[point], b1=decays[point], schedule=schedules[point],
        )  # fmt: skip
        assert distance(grid.params(point=point), run.params) < 1e-5
    assert grid.to_dataframe().set_index("point").b1.tolist() == decays


@pytest.mark.slow
def test_points_are_combined_with_other_axes_and_seeds(digits):
    progress = []
    grid = sweep(
        digits, seeds=2, hidden=(4, 5), zip={"learning_rate": (0.5, 1.0), "batch_size": (200, 301)},
        callback=progress.append,
    )  # fmt: skip
    assert grid.test_correct.dims == ("hidden", "point", "seed", "epoch")
    assert grid.test_correct.shape == (2, 2, 2, 1)
    init_key, fit_key = grid.rng_keys(1)
    params = nnjax.init(init_key, (64, 4, 10))
    run = nnjax.fit(fit_key, params, digits, epochs=1, batch_size=301, learning_rate=1.0)
    assert distance(grid.params(hidden=4, point=1, seed=1), run.params) < 1e-5
    labels = [labels for p in progress for labels in p.settings]
    assert {"hidden": 4, "point": 1, "learning_rate": 1.0, "batch_size": 301, "seed": 1} in labels
    assert len(labels) == 8


@pytest.mark.slow
def test_optimizers_and_batch_sizes_are_axes(digits):
    grid = sweep(digits, optimizer=(optax.sgd, optax.adam), batch_size=(200, 400), learning_rate=0.01)
    assert grid.test_correct.dims == ("optimizer", "batch_size", "seed", "epoch")
    assert grid.data.optimizer.values.tolist() == ["sgd", "adam"]
    init_key, fit_key = grid.rng_keys(0)
    run = nnjax.fit(
        fit_key, nnjax.init(init_key, SIZES), digits, optimizer=optax.adam, epochs=1, batch_size=400,
        learning_rate=0.01,
    )  # fmt: skip
    assert distance(grid.params(optimizer="adam", batch_size=400, seed=0), run.params) < 1e-5
    ready = sweep(digits, optimizer={"slow": optax.sgd(0.01), "fast": optax.sgd(1.0)})
    assert ready.data.optimizer.values.tolist() == ["slow", "fast"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zip": [1]}, "zip must be a mapping from names to sequences"),
        ({"zip": {"learning_rate": 0.1}}, "learning_rate must be a sequence in zip, got 0.1"),
        ({"zip": {"learning_rate": []}}, "learning_rate must have at least one value, got none"),
        (
            {"zip": {"learning_rate": [0.1, 0.2], "seed": [1]}},
            r"the sequences in zip must have equal lengths, got {'learning_rate': 2, 'seed': 1}",
        ),
        (
            {"zip": {"learning_rate": [0.1], "seed": [-1]}},
            "seed must be a sequence of non-negative integers in zip",
        ),
        ({"zip": {"learning_rat": [0.1]}}, "hyper-parameter must be one of .* did you mean 'learning_rate'"),
        ({"zip": {"point": [0.1]}}, "must not be called point"),
        (
            {"zip": {"learning_rate": [0.1]}, "learning_rate": [1, 2]},
            "learning_rate must be an axis or",
        ),
        ({"zip": {"learning_rate": [0.1], "seed": [0]}, "seeds": 2}, "seeds must be 1 if zip contains seed"),
        ({"zip": {"learning_rate": [0.1], "seed": [2**33]}}, "seed must be a sequence of non-negative"),
        ({"learning_rate": 1.0, "batch_size": (5, 2000)}, "batch_size must be at most 1204"),
        ({"learning_rate": 1.0, "optimizer": (optax.sgd, "adam")}, "optimizer must be an optax factory"),
    ],
)
def test_wrong_axes_raise(digits, settings, message):
    with pytest.raises(ValueError, match=message):
        sweep(digits, **settings)


def assert_equal_trees(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_a_saved_grid_has_labels_results_watched_values_and_parameters(digits, tmp_path):
    grid = sweep(
        digits, hidden=[4, (5, 4)], zip={"learning_rate": (0.5, 1.0), "schedule": ("constant", "cosine")},
        seeds=2, metrics={"largest": lambda output, target: output.max()},
        watch={"norms": nnjax.watch.gradient_norms},
    )  # fmt: skip
    grid.save(tmp_path / "grid.safetensors")
    loaded = nnjax.load_grid(tmp_path / "grid.safetensors")
    assert loaded.data.identical(grid.data)
    assert loaded.watched["norms"].identical(grid.watched["norms"])
    assert repr(loaded) == repr(grid)
    labels = {"hidden": "5x4", "point": 1, "seed": 1}
    assert_equal_trees(loaded.params(**labels), grid.params(**labels))
    for a, b in zip(loaded.rng_keys(3), grid.rng_keys(3), strict=True):
        assert (jax.random.key_data(a) == jax.random.key_data(b)).all()
    np.testing.assert_array_equal(loaded.test_accuracy, grid.test_accuracy)


def test_parameters_keep_their_structure_in_a_file():
    params = {
        "blocks": [Transformer(2).init(jax.random.key(0), 5, 4, 8, 2), None],
        "scale": np.float32(2.0) * np.ones(()),
        "pair": (np.arange(3), nnjax.Layer(np.ones((2, 1)), np.zeros(2, np.float16))),
    }
    tensors = []

    def add(array):
        tensors.append(np.asarray(array))
        return len(tensors) - 1

    described = _grid_file._describe_tree(params, add)
    assert_equal_trees(_grid_file._build_tree(described, tensors), params)


def test_files_that_are_not_grids_raise(digits, tmp_path):
    path = tmp_path / "grid.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no grid file"):
        nnjax.load_grid(path)
    path.write_bytes(b"no grid")
    with pytest.raises(ValueError, match="must be a grid file, got a file that cannot be read"):
        nnjax.load_grid(path)
    nnjax.save_model(path, nnjax.init(KEY, SIZES), nnjax.Objective(), digits)
    with pytest.raises(ValueError, match="must be a grid file, got another file: write it with"):
        nnjax.load_grid(path)


def test_a_changed_byte_of_a_grid_file_is_noticed(digits, tmp_path):
    path = tmp_path / "grid.safetensors"
    sweep(digits, learning_rate=1.0).save(path)
    content, random = path.read_bytes(), np.random.default_rng(0)
    for position in random.integers(0, len(content), 40):
        changed = bytearray(content)
        changed[position] ^= random.integers(1, 256)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"must be a grid file|must have format"):
            nnjax.load_grid(path)


def test_parameters_of_unknown_types_are_not_saved(digits, tmp_path):
    @jax.tree_util.register_dataclass
    @dataclass
    class Mine:
        w: jax.Array

    objective = nnjax.Objective(forward=lambda params, x, key: params.w @ x.ravel())
    grid = nnjax.sweep(
        KEY, digits, init=lambda key: Mine(jax.random.normal(key, (10, 64))), objective=objective,
        learning_rate=0.1, epochs=1, batch_size=400,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"got Mine: save grid\.data"):
        grid.save(tmp_path / "grid.safetensors")
    assert list(tmp_path.iterdir()) == []
