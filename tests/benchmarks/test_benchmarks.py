"""What benchmarks tell of growth, of the time to a result and of many networks is what they say it is."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from benchmarks import floors, growth, networks, time_to_accuracy, turns
from benchmarks.population import Evaluated, Population
from benchmarks.tables import growth_table, networks_table, time_table


@pytest.fixture
def images(monkeypatch):
    """What the benchmarks load: 200 images of 28x28, told apart by where they are bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 200)
    x = rng.integers(0, 60, (200, 784))
    x[np.arange(200)[:, None], 70 * labels[:, None] + np.arange(70)] += 150
    split = x.astype(np.uint8), labels
    data = nnjax.Dataset.from_arrays(split, split, split, num_classes=10)
    monkeypatch.setattr(nnjax, "load", lambda name: data)
    return data


def test_the_floor_counts_what_backpropagation_multiplies():
    """XLA's own count for one step without activations, of which nearly all is in matrix products."""
    sizes = (784, 300, 400, 200)
    params = nnjax.init(jax.random.key(0), sizes)
    x = np.ones((50, 784), np.float32)

    def cost(params):
        a = jax.vmap(lambda x: nnjax.feedforward(params, x, nnjax.identity, nnjax.identity))(x)
        return jnp.sum(a**2)

    counted = jax.jit(jax.grad(cost)).lower(params).compile().cost_analysis()["flops"]
    assert floors.flops(sizes, 50) == pytest.approx(counted, rel=0.02)


def test_peak_and_bandwidth_are_operations_and_bytes_a_second(monkeypatch):
    monkeypatch.setattr(floors, "_best", lambda f, *arguments: 2.0)
    assert floors.peak(10) == 10**3
    assert floors.bandwidth(4) == 4e6


@pytest.mark.slow
def test_one_network_grows_as_fit_trains_it(images):
    case = growth.Case("hidden units", 7, "fit", (7,), examples=100)
    one = growth.Epochs(case, images)
    assert one() > 0
    some = nnjax.Dataset.from_arrays(tuple(part[:100] for part in images.train))
    run = nnjax.fit(
        jax.random.key(1), nnjax.init(jax.random.key(0), case.sizes), some, epochs=1, learning_rate=3.0
    )
    for ours, theirs in zip(jax.tree.leaves(one.states.params), jax.tree.leaves(run.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_replaced_in_place_is_held_once():
    sizes = {"argument": 5, "output": 3, "temp": 2, "alias": 3}
    told = SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})
    one = object.__new__(growth.Epochs)
    one.program = SimpleNamespace(memory_analysis=lambda: told)
    assert one.bytes() == 7


@pytest.mark.slow
def test_growth_tells_seconds_floor_and_memory_of_each_case(images):
    cases = (
        *(growth.Case("examples", n, hidden=(5,), examples=n) for n in (100, 200)),
        *(growth.Case("networks", n, way, (5,), examples=100, networks=n)
          for way in ("sweep", "step by step") for n in (1, 3)),
    )  # fmt: skip
    record = growth.run(turns.Flags(rounds=2), cases)
    few, many, *_, three = record["cases"]
    assert many["floor"] == pytest.approx(2 * few["floor"])
    assert three["floor"] == pytest.approx(3 * few["floor"])
    assert all(len(case["seconds"]) == 2 and min(case["seconds"]) > 0 for case in record["cases"])
    # The images that are given and their shuffled copy.
    assert many["bytes"] - few["bytes"] == pytest.approx(2 * 100 * 784, rel=0.1)
    assert "| networks | 3 | step by step |" in growth_table(record)
    figure = growth.plot(record)
    assert [axis.get_xlabel() for axis in figure.axes[2:]] == ["examples", "networks"]


@pytest.mark.slow
def test_evaluation_counts_what_each_network_reads_rightly(images):
    data = nnjax.Dataset.from_arrays(
        images.train, validation=tuple(part[:120] for part in images.train), test=images.test
    )
    made = Evaluated(3, data)
    *counts, finite = made.epoch()
    for i, (validation, test) in enumerate(zip(*counts, strict=True)):
        params = jax.tree.map(lambda x, i=i: x[i], made.states.params)
        assert validation == nnjax.count_correct(params, *data.validation)
        assert test == nnjax.count_correct(params, *data.test)
    assert finite.all()


@pytest.mark.slow
def test_a_training_ends_when_it_has_come_to_the_share(digits):
    settings = time_to_accuracy.Settings(30, "relu", "nesterov", 0.02, 10, 1000, 4)
    run = time_to_accuracy.train(settings, digits, 0, 0.9, 60.0)
    *before, last = run["validation"]
    assert last >= 0.9
    assert all(share < 0.9 for share in before)
    assert time_to_accuracy.until(0.9, run) == run["seconds"][-1]
    assert time_to_accuracy.until(1.01, run) == np.inf
    assert run["compiling"] > 0
    hopeless = time_to_accuracy.train(settings, digits, 0, 1.01, 0.0)
    assert len(hopeless["seconds"]) == 1


def test_the_learning_rate_falls_in_a_straight_line_to_its_least():
    rate = time_to_accuracy._falling(0.4, 10)
    np.testing.assert_allclose(
        [rate(t) for t in (0, 5, 9.5, 10, 50)], [0.4, 0.2, 0.02, 0.02, 0.02], rtol=1e-6
    )


def test_settings_are_chosen_by_their_mean_and_refused_where_none_came(digits, monkeypatch):
    def pretended(settings, data, seed, share, longest):
        seconds = {"quick once": 0.1 if seed == 0 else np.inf, "steady": 0.2, "slow": 0.5}[settings]
        return {
            "seed": seed,
            "seconds": [seconds],
            "validation": [0.96],
            "test_correct": 300,
            "compiling": 1.0,
        }

    monkeypatch.setattr(time_to_accuracy, "train", pretended)
    tried = [(name, pretended(name, digits, 0, 0, 0)) for name in ("slow", "quick once", "steady")]
    assert time_to_accuracy.chosen(0.95, tried, 2, digits) == "steady"
    with pytest.raises(RuntimeError, match="of 2 settings none came to 95% with every seed"):
        time_to_accuracy.chosen(0.95, tried[:2], 1, digits)
    with pytest.raises(RuntimeError, match="of 3 settings none came to 97% with every seed"):
        time_to_accuracy.chosen(0.97, tried, 2, digits)


def test_the_time_table_owns_up_to_seeds_that_did_not_come():
    runs = [
        {"seed": seed, "seconds": [1.0, 2.0 + seed], "validation": [0.5, share], "test_correct": 9500,
         "compiling": 1.0} for seed, share in enumerate([0.96, 0.95, 0.94])
    ]  # fmt: skip
    settings = time_to_accuracy.Settings(30, "relu", "sgd", 0.1, 10, 1000, 4)._asdict()
    record = {"results": [{"share": 0.95, "settings": settings, "runs": runs}], "searched": [0, 0],
              "cores": 2, "processor": "x", "versions": {"jax": "0"}}  # fmt: skip
    assert "1 of 3 did not come to it; median 3.00 (2.00 to inf)" in time_table(record)
    record["results"][0]["runs"].pop()
    assert "2.50 ± 0.71 (2.00 to 3.00)" in time_table(record)


def test_traffic_is_three_passes_over_the_weights_and_less_by_blocks():
    weights = 4 * 32 * 30 * 784
    step_by_step = networks.traffic(32, 50_000, 1)
    assert 3 * weights * 5000 < step_by_step < 1.1 * 3 * weights * 5000
    assert networks.traffic(32, 50_000, 26) < step_by_step / 4


@pytest.mark.slow
def test_many_networks_are_timed_and_what_cannot_be_had_is_told(images, monkeypatch):
    class Large:
        def __init__(self, networks, data):
            if networks > 1:
                raise MemoryError("no room\nfor that")

        def __call__(self):
            return 0.5

    monkeypatch.setattr(networks, "ways", lambda: {"by blocks": Population, "large": Large})
    monkeypatch.setattr(networks.floors, "bandwidth", lambda: 1e10)
    record = networks.run(networks.Flags(most=3, rounds=1))
    assert [row["networks"] for row in record["rows"]] == [1, 3]
    assert record["rows"][1]["seconds"]["large"] == "MemoryError: no room"
    assert record["sweep_of_1000_networks_30_epochs"] is None
    first, second = (
        line for line in networks_table(record).splitlines() if line.startswith(("| 1 ", "| 3 "))
    )
    assert "| 2.0 |" in first
    assert "| – |" in second
    told = "JaxRuntimeError: RESOURCE_EXHAUSTED"
    assert "a sweep" not in networks_table(record | {"sweep_of_1000_networks_30_epochs": told})
    assert "took 9 s;" in networks_table(record | {"sweep_of_1000_networks_30_epochs": 9.2})
