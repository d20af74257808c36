"""Rooflines, and the benchmarks of how time and memory grow."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from benchmarks import devices, harness, peers, roofline, scaling
from benchmarks.scaling_tables import devices_table
from benchmarks.tables import scaling_table


def test_backprop_flops_equal_xlas_count():
    """XLA's count of one step without activations, nearly all of which are in matrix products."""
    sizes = (784, 300, 400, 200)
    params = jax.eval_shape(lambda key: nnjax.init(key, sizes), jax.random.key(0))

    def cost(params, x):
        a = jax.vmap(lambda x: nnjax.feedforward(params, x, nnjax.identity, nnjax.identity))(x)
        return jnp.sum(a**2)

    lowered = jax.jit(jax.grad(cost)).lower(params, jax.ShapeDtypeStruct((50, 784), jnp.float32))
    assert roofline.backprop_flops(sizes, 50) == pytest.approx(lowered.cost_analysis()["flops"], rel=0.02)


def test_peak_and_bandwidth_are_operations_and_bytes_per_second(monkeypatch):
    monkeypatch.setattr(roofline, "_min_seconds", lambda f, *arguments: 2.0)
    assert roofline.peak_flops(10) == 10**3
    assert roofline.bandwidth(4) == 4e6


@pytest.mark.slow
def test_the_compiled_epoch_of_one_network_is_that_of_fit(images):
    case = scaling.Case("hidden units", 7, "fit", (7,), examples=100)
    epoch = scaling.make_epoch(case, images)
    assert isinstance(epoch, scaling.CompiledEpoch)
    assert epoch() > 0
    subset = nnjax.Dataset.from_arrays(tuple(part[:100] for part in images.train))
    params = peers.draw_network(0, case.sizes)
    run = nnjax.fit(jax.random.key(1), params, subset, epochs=1, learning_rate=3.0)
    for ours, expected in zip(jax.tree.leaves(epoch.states.params), jax.tree.leaves(run.params), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_donated_memory_counts_once():
    sizes = {"argument": 5, "output": 3, "temp": 2, "alias": 3}
    analysis = SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})
    epoch = object.__new__(scaling.CompiledEpoch)
    epoch.program = SimpleNamespace(memory_analysis=lambda: analysis)
    assert epoch.memory_bytes() == 7


@pytest.mark.slow
def test_scaling_measures_seconds_roofline_and_memory_of_each_case(images, monkeypatch):
    monkeypatch.setattr(scaling.roofline, "peak_flops", lambda: 1e11)
    cases = (
        *(scaling.Case("examples", n, hidden=(5,), examples=n) for n in (100, 200)),
        *(
            scaling.Case("networks", n, method, (5,), examples=100, networks=n)
            for method in ("sweep", "one program")
            for n in (1, 3)
        ),
    )
    record = scaling.run(harness.Flags(rounds=2), cases)
    few, many, *_, three = record["cases"]
    assert many["roofline"] == pytest.approx(2 * few["roofline"])
    assert three["roofline"] == pytest.approx(3 * few["roofline"])
    assert all(len(case["seconds"]) == 2 and min(case["seconds"]) > 0 for case in record["cases"])
    # The images and their shuffled copy.
    assert many["memory_bytes"] - few["memory_bytes"] == pytest.approx(2 * 100 * 784, rel=0.1)
    assert "| networks | 3 | one program |" in scaling_table(record)
    figure = scaling.plot(record)
    assert [axis.get_xlabel() for axis in figure.axes[2:]] == ["examples", "networks"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sweep", "fit", "shuffle", "all-reduce"])
def test_every_task_of_the_device_benchmark_runs(task, images, monkeypatch):
    monkeypatch.setattr(devices, "BATCH_SIZE", 50)
    monkeypatch.setattr(devices, "FIT_EPOCHS", 2)
    assert 0 < devices.measure(task, "mnist") < 60


def test_the_model_of_several_devices_adds_shuffling_and_all_reduces():
    seconds = {("sweep", 1, 0): 2.0, ("fit", 1, 1): 5.0, ("fit", 4, 0): 3.0, ("shuffle", 1, 1): 1.0,
               ("all-reduce", 4, 0): 0.25}  # fmt: skip
    cases = [
        {"task": task, "devices": n, "threads": threads, "median": median}
        for (task, n, threads), median in seconds.items()
    ]
    record = {"cases": cases, "cores": 2, "steps": 4, "networks": 32, "batch_size": 50, "rounds": 1,
              "processor": "x", "versions": {"jax": "0"}}  # fmt: skip
    # (5 - 1 + 4 · 1) / 2 cores + 4 steps · 0.25
    assert "| 4 devices | 3.000 | 5.000 |" in devices_table(record)
