"""A sweep that trains parts of its networks in threads equals one that trains them together."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.nn.conv import all_layers
from nnjax.sweep import _sweep
from nnjax.sweep._threads import Parts
from reference import distance

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def small(digits):
    inputs, labels = digits.train
    return nnjax.Dataset.from_arrays((inputs[:600], labels[:600]), test=tuple(digits.test))


NET = nnjax.ConvNet((8, 8), kernel_size=3)
MODELS = {
    "dense": {"hidden": (7, 8), "learning_rate": 0.5},
    "large dense": {"hidden": 70, "learning_rate": 0.1, "optimizer": nnjax.momentum},
    "convolutional": {
        "init": lambda key: NET.init(key, (3,), (10,)),
        "objective": nnjax.Objective(NET, nnjax.softmax_cross_entropy),
        "learning_rate": 0.01,
        "optimizer": optax.adam,
    },
}


@pytest.mark.parametrize("length", [{"epochs": 2}, {"steps": 20, "evaluate_every": 10}])
@pytest.mark.parametrize("shared_batches", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_results_depend_on_the_number_of_threads_by_rounding_at_most(
    x64, small, monkeypatch, model, shared_batches, length
):
    def train(threads):
        return nnjax.sweep(
            KEY, small, seeds=5, batch_size=50, shared_batches=shared_batches, threads=threads,
            **MODELS[model], **length,
        )  # fmt: skip

    one, three = train(1), train(3)
    monkeypatch.setattr(_sweep, "_num_threads", lambda threads, mesh: 0)  # as on an accelerator
    together = train(None)
    for grid in (one, three):
        np.testing.assert_allclose(grid.train_cost, together.train_cost, rtol=0, atol=1e-10)
        np.testing.assert_allclose(grid.data.test_cost, together.data.test_cost, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(grid.test_correct, together.test_correct)
        labels = {"hidden": 7} if model == "dense" else {}
        for seed in range(5):
            params, expected = (g.params(seed=seed, **labels) for g in (grid, together))
            assert distance(all_layers(params), all_layers(expected)) < 1e-9
    if not shared_batches or model == "convolutional":
        assert one.data.drop_vars("seconds").identical(three.data.drop_vars("seconds"))


def test_programs_of_several_parts_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=60)  # a part that waits alone raises
    result = Parts(4, True, 2).map(lambda x: (meeting.wait(), x + 1)[1], (0,), 0, np.arange(4.0))
    assert result.tolist() == [1, 2, 3, 4]


def test_no_part_is_computed_any_more_when_a_failure_is_raised():
    """Otherwise it would hold its memory while the networks are trained in halves."""
    finished = []

    def program(x):
        if x == 1:
            raise MemoryError
        time.sleep(0.3)
        finished.append(x)
        return x

    with pytest.raises(MemoryError):
        Parts(2, True, 2).map(program, (0,), 0, np.arange(2))
    assert len(finished) == 1


@pytest.mark.parametrize(("count", "alone"), [(4, True), (2, False)])
def test_parts_are_joined_in_their_order_and_may_donate_shared_arrays(count, alone):
    donating = jax.jit(lambda shared, split: (shared + 1, split * 2), donate_argnums=0)
    shared, split = jnp.ones(3), jnp.arange(4.0)
    result = Parts(count, alone, 2).map(donating, (None, 0), (None, 0), shared, split)
    assert result[0].tolist() == [2, 2, 2]
    assert result[1].tolist() == [0, 2, 4, 6]
    assert shared.tolist() == [1, 1, 1]


def test_threads_must_be_positive_and_need_no_mesh(small):
    with pytest.raises(ValueError, match="threads must be"):
        nnjax.sweep(KEY, small, threads=0)
    mesh = jax.make_mesh((1,), ("data",))
    with pytest.raises(ValueError, match="threads must be None if mesh is passed, got 2"):
        nnjax.sweep(KEY, small, threads=2, mesh=mesh)


def test_a_stopped_sweep_in_threads_resumes_with_the_same_bits(small, tmp_path):
    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.done == 1:
            raise Stopped

    settings = {"hidden": 5, "seeds": 2, "epochs": 2, "batch_size": 50, "learning_rate": 1.0, "threads": 3}
    with pytest.raises(Stopped):
        nnjax.sweep(KEY, small, checkpoint=tmp_path, callback=stop, **settings)
    resumed = nnjax.sweep(KEY, small, checkpoint=tmp_path, **settings)
    uninterrupted = nnjax.sweep(KEY, small, **settings)
    assert resumed.data.drop_vars("seconds").identical(uninterrupted.data.drop_vars("seconds"))
    with pytest.raises(ValueError, match=r"threads was .?3.? and is .?2"):
        nnjax.sweep(KEY, small, checkpoint=tmp_path, **settings | {"threads": 2})
