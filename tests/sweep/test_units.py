"""Sweeps on executors: the results of a sweep without one, lost workers, stored results."""

import multiprocessing
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import jax
import numpy as np
import optax
import pytest

import nnjax
from nnjax.runtime.executors import UnitsLost, Workers

KEY = jax.random.key(0)


def sweep(digits, **changes):
    arguments = {"hidden": (4, 6), "learning_rate": (0.3, 1.0), "seeds": 2, "epochs": 2, "threads": 1,
                 "max_networks_per_program": 3}  # fmt: skip
    return nnjax.sweep(KEY, digits, **arguments | changes)


def assert_same(grid, expected):
    for name in expected.data.variables:
        if name != "seconds":
            np.testing.assert_array_equal(grid.data[name], expected.data[name])
    jax.tree.map(np.testing.assert_array_equal, grid._params, expected._params)


@pytest.fixture(scope="module")
def expected(digits):
    return sweep(digits)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def processes():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        yield pool


def test_a_sweep_on_threads_has_the_same_bits(digits, threads, expected):
    seen = []
    assert_same(sweep(digits, executor=threads, callback=seen.append), expected)
    assert sorted(len(progress.settings) for progress in seen) == [2, 3, 3]
    assert seen[-1].fraction == pytest.approx(1.0)
    assert all(len(progress.history) == 2 for progress in seen)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {}, {"shared_batches": False}, {"optimizer": optax.adam, "learning_rate": 0.01},
    {"metrics": {"largest": "of_output"}}, {"epochs": None, "steps": 9},
])  # fmt: skip
def test_a_sweep_on_processes_has_the_same_bits(digits, processes, changes):
    if "metrics" in changes:
        changes = {"metrics": {"largest": largest}}
    assert_same(sweep(digits, executor=processes, **changes), sweep(digits, **changes))


def largest(output, target):
    """A metric that workers can import."""
    return output.max()


def test_stored_results_are_not_computed_again(digits, threads, expected, tmp_path):
    assert_same(sweep(digits, executor=threads, checkpoint=tmp_path), expected)
    (first, *_) = sorted((tmp_path / "units").iterdir())
    first.unlink()
    submitted = []

    class Counting:
        def submit(self, function, *arguments):
            submitted.append(arguments)
            return threads.submit(function, *arguments)

    assert_same(sweep(digits, executor=Counting(), checkpoint=tmp_path), expected)
    assert len(submitted) == 1
    with pytest.raises(ValueError, match="learning_rate"):
        sweep(digits, executor=threads, checkpoint=tmp_path, learning_rate=(0.3, 2.0))


def test_a_result_that_cannot_be_used_is_trained_again(digits, threads, tmp_path):
    settings = {"hidden": 4, "max_networks_per_program": 2, "executor": threads, "checkpoint": tmp_path}
    expected = sweep(digits, **settings)
    path = tmp_path / "units" / "0"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.warns(UserWarning, match=r"is damaged \(.*\): its networks are trained again"):
        assert_same(sweep(digits, **settings), expected)
    path.write_bytes((tmp_path / "units" / "1").read_bytes())
    with pytest.warns(UserWarning, match="was written by different code or on a different machine"):
        assert_same(sweep(digits, **settings), expected)
    with pytest.raises(ValueError, match="epochs or steps with executor"):
        sweep(digits, **settings, epochs=3)


@pytest.mark.parametrize(("changes", "message"), [
    ({"executor": 3}, "executor must have a method submit"),
    ({"mesh": jax.make_mesh((1,), ("data",))}, "mesh must be None if executor is passed"),
    ({"halving": nnjax.Halving(1)}, "halving must be None if executor is passed"),
    ({"unit_timeout_s": 0}, "unit_timeout_s must be a positive number, got 0"),
])  # fmt: skip
def test_wrong_arguments_raise_an_error_before_training(digits, threads, changes, message):
    with pytest.raises(ValueError, match=message):
        sweep(digits, **{"executor": threads} | changes)


def square(x, data):
    return x * x


def fail(x, data):
    raise KeyError(f"no {x}")


def test_units_are_returned_as_they_finish(threads):
    workers = Workers(threads)
    assert sorted(workers.map(square, [(i,) for i in range(5)])) == [(i, i * i) for i in range(5)]
    assert workers._num_running == 0


def test_an_exception_of_a_unit_is_raised(threads):
    with pytest.raises(KeyError, match="no 1"):
        list(Workers(threads).map(fail, [(1,)]))


class Unreliable:
    """An executor that loses the first submissions of each unit."""

    _max_workers = 1

    def __init__(self, losses, error):
        self.losses, self.error, self.submitted = losses, error, []

    def submit(self, function, *arguments):
        self.submitted.append(arguments)
        future = Future()
        if self.submitted.count(arguments) > self.losses:
            future.set_result(function(*arguments))
        elif self.error:
            future.set_exception(self.error)
        return future  # without an error, it never ends


class KilledWorker(Exception):
    """The name of Dask's error."""


@pytest.mark.parametrize("error", [KilledWorker(), OSError("connection reset"), None])
def test_a_lost_unit_is_submitted_again(error):
    executor = Unreliable(2, error)
    assert sorted(Workers(executor, 0.1).map(square, [(2,), (3,)])) == [(0, 4), (1, 9)]
    assert len(executor.submitted) == 6


def test_a_unit_that_is_lost_three_times_is_reported_after_the_others():
    class OnlyTheSecond(Unreliable):
        def submit(self, function, *arguments):
            self.losses = 0 if arguments[-2] == 3 else 5
            return super().submit(function, *arguments)

    results = Workers(OnlyTheSecond(5, OSError("gone")), 0.1).map(square, [(2,), (3,)])
    assert next(results) == (1, 9)
    with pytest.raises(UnitsLost, match=r"after 3 attempts, got none for 1 \(unit 0: OSError: gone\)"):
        next(results)


@pytest.mark.slow
def test_a_pool_whose_worker_was_killed_is_reported_and_the_stored_results_are_used(
    digits, tmp_path, expected
):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        seen = []

        def kill(progress):
            seen.append(progress)
            for process in pool._processes.values():
                os.kill(process.pid, signal.SIGKILL)

        with pytest.raises(UnitsLost, match="BrokenProcessPool"):
            sweep(digits, executor=pool, checkpoint=tmp_path, callback=kill)
    assert len(seen) == 1
    with ThreadPoolExecutor(1) as pool:
        assert_same(sweep(digits, executor=pool, checkpoint=tmp_path), expected)


def test_a_lambda_needs_an_executor_that_can_send_it(digits, processes):
    with pytest.raises(ValueError, match="functions must be defined in a module that the workers can import"):
        sweep(digits, executor=processes, optimizer=lambda learning_rate: optax.sgd(learning_rate))
