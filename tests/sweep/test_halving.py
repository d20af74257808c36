"""Successive halving: which networks stop, and that the others train as without it."""

import jax
import numpy as np
import optax
import pytest

import nnjax
from nnjax.sweep import _halving

KEY = jax.random.key(0)
HALVING = nnjax.Halving(every_epochs=2, keep=0.5)


def sweep(digits, **changes):
    arguments = {"learning_rate": (0.01, 0.1, 0.5, 1.0), "seeds": 2, "hidden": 6, "epochs": 5}
    return nnjax.sweep(KEY, digits, **arguments | changes)


def assert_same_rows(grid, expected, rtol=1e-5):
    """The trained epochs of `grid` are those of `expected`, and the other epochs are missing."""
    stopped = grid.data.stopped_at
    trained = (grid.data.epoch <= stopped) | (stopped < 0)
    for name in ("train_cost", "validation_cost", "test_cost"):
        np.testing.assert_allclose(grid.data[name].where(trained), expected.data[name].where(trained), rtol)
        assert not grid.data[name].where(~trained).notnull().any()
    assert (grid.data.test_correct.where(~trained, -1) == -1).all()


@pytest.fixture(scope="module")
def whole(digits):
    return sweep(digits)


def test_networks_that_are_behind_stop_and_the_others_train_as_without_halving(digits, whole):
    grid = sweep(digits, halving=HALVING)
    assert_same_rows(grid, whole)
    # 8 networks for two epochs, 4 for two more, and 2 for the last one.
    stopped = grid.data.stopped_at.values.ravel()
    assert sorted(stopped) == [-1, -1, 1, 1, 1, 1, 3, 3]
    for epoch in (1, 3):
        alive = (stopped < 0) | (stopped >= epoch)
        correct = whole.validation_correct.isel(epoch=epoch).values.ravel()
        assert correct[alive & (stopped != epoch)].min() >= correct[stopped == epoch].max()


def test_the_parameters_are_those_of_the_last_trained_epoch(digits, whole):
    grid = sweep(digits, halving=HALVING)
    for i in np.ndindex(*grid.data.stopped_at.shape):
        labels = {
            name: grid.data[name].values[j] for name, j in zip(("learning_rate", "seed"), i, strict=True)
        }
        stopped = int(grid.data.stopped_at.sel(labels))
        correct = nnjax.count_correct(grid.params(**labels), *digits.test)
        assert correct == grid.test_correct.sel(labels).values[stopped]


@pytest.mark.parametrize("changes", [
    {"shared_batches": False}, {"optimizer": optax.adam, "learning_rate": (0.001, 0.01)},
    {"max_networks_per_program": 3},
    {"hidden": (5, 6), "seeds": 1}, {"hidden": (5, 100), "seeds": 1}, {"batch_size": (10, 20), "seeds": 1},
    {"max_networks_per_program": 3, "threads": 1}, {"mesh": jax.make_mesh((2,), ("data",))},
])  # fmt: skip
def test_every_kind_of_chunk_can_be_halved(digits, changes):
    grid = sweep(digits, halving=HALVING, **changes)
    assert_same_rows(grid, sweep(digits, **changes), rtol=1e-3)


def test_the_seconds_of_a_network_are_its_share_of_each_program(digits):
    grid = sweep(digits, learning_rate=1.0, seeds=3, threads=2, epochs=4, halving=nnjax.Halving(1, 0.9))
    assert (grid.data.stopped_at == -1).all()  # 90 % of 3 networks, rounded up
    progress = []
    sweep(digits, learning_rate=1.0, seeds=3, threads=2, epochs=4, halving=nnjax.Halving(1, 0.9),
          callback=progress.append)  # fmt: skip
    seconds = [each.history.seconds[0] for each in progress]
    np.testing.assert_allclose(seconds, seconds[0])


def test_a_stopped_sweep_resumes_with_the_same_bits(digits, tmp_path):
    expected = sweep(digits, halving=HALVING)

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.done == 3:
            raise Stop

    with pytest.raises(Stop):
        sweep(digits, halving=HALVING, checkpoint=tmp_path, callback=stop)
    calls = []
    grid = sweep(digits, halving=HALVING, checkpoint=tmp_path, callback=lambda p: calls.append(p.done))
    assert calls[0] == 2  # restored, and not trained again
    np.testing.assert_array_equal(grid.data.train_cost, expected.data.train_cost)
    with pytest.raises(ValueError, match="halving"):
        sweep(digits, checkpoint=tmp_path)


def test_the_progress_grows_to_one_and_shows_all_rows(digits):
    seen = []
    sweep(digits, halving=HALVING, callback=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert [len(progress.history) for progress in seen] == [1, 2, 3, 4, 5]
    assert [len(progress.settings) for progress in seen] == [8, 8, 4, 4, 2]
    assert seen[-1].networks == 6  # stopped before


def test_a_diverged_network_stops_first(digits):
    grid = sweep(digits, learning_rate=(0.5, 1e9), optimizer=nnjax.momentum, seeds=1, halving=HALVING)
    assert grid.data.stopped_at.values.ravel().tolist() == [-1, 1]


def test_without_counts_the_cost_decides():
    data = nnjax.Dataset.from_arrays(
        (np.ones((20, 2), np.float32), np.ones((20, 1), np.float32)),
        (np.ones((5, 2), np.float32), np.ones((5, 1), np.float32)),
    )
    objective = nnjax.Objective(nnjax.Dense(output=nnjax.identity), code=None)
    grid = nnjax.sweep(KEY, data, hidden=2, objective=objective, learning_rate=(1e-6, 0.1), epochs=2,
                       halving=nnjax.Halving(1))  # fmt: skip
    assert grid.data.stopped_at.values.ravel().tolist() == [0, -1]


@pytest.mark.parametrize(("changes", "message"), [
    ({"halving": 2}, "halving must be a nnjax.Halving, got 2"),
    ({"epochs": None, "steps": 10}, "steps must be None if halving is passed: pass epochs"),
    ({"evaluate_every": 3}, "every_epochs of halving must be a multiple of evaluate_every, got 2 and 3"),
])  # fmt: skip
def test_wrong_arguments_raise_an_error_before_training(digits, changes, message):
    with pytest.raises(ValueError, match=message):
        sweep(digits, **{"halving": HALVING} | changes)


def test_validation_examples_are_needed(digits):
    data = nnjax.Dataset.from_arrays(digits.train, test=digits.test)
    with pytest.raises(ValueError, match="halving requires a validation split"):
        sweep(data, halving=HALVING)


@pytest.mark.parametrize("keep", [0, 1, 1.5, -1])
def test_the_fraction_is_between_0_and_1(keep):
    with pytest.raises(ValueError, match=f"keep must be greater than 0 and less than 1, got {keep}"):
        nnjax.Halving(2, keep)


def test_stages_keep_at_least_one_network():
    assert _halving.Halving(1, 0.1).stages(4, 30) == [(0, 1, 30), (1, 2, 3), (2, 3, 1), (3, 4, 1)]
