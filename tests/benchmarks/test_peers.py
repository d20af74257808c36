"""The peers do the work that they are timed for: each is checked against the reference."""

import json
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest

import nnjax
import reference
from benchmarks import libraries, peers, population, recipe
from benchmarks.tables import recipe_line
from benchmarks.turns import compare, equal_work


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (60, 784)) * (rng.random((60, 784)) < 0.2)).astype(np.uint8)
    labels = rng.integers(0, 10, 60)
    return nnjax.Dataset.from_arrays((images, labels), test=(images, labels), num_classes=10)


def _order():
    """The order in which a peer of seed 0 takes the 60 examples: after drawing its parameters."""
    rng = np.random.default_rng(0)
    for i, o in pairwise(peers.SIZES):
        rng.normal(size=(o, i)), rng.normal(size=o)
    return rng.permutation(60)


def _is_plain_sgd(made):
    """Whether an epoch of a peer of seed 0 leaves the parameters that the reference does."""
    expected = reference.as_numpy(made.params)
    order = _order()
    for i in range(0, 60, peers.M):
        rows = order[i : i + peers.M]
        expected = reference.descend(expected, made.x[rows].astype(float), made.y[rows], peers.ETA)
    with jax.numpy_rank_promotion("allow"):
        assert made() > 0
    made.correct()
    return reference.distance(made.params, expected) < 1e-3


@pytest.mark.parametrize("peer", [peers.NumpyBatches, peers.NumpySingle, peers.JittedStep])
def test_mini_batch_peers_are_plain_sgd(peer, data):
    assert _is_plain_sgd(peer(0, data))


def test_compiled_c_is_plain_sgd(data):
    if not libraries.Reference.can_run():
        pytest.skip("no C compiler is installed: the reference in C takes part where there is one")
    assert _is_plain_sgd(libraries.Reference(0, data))
    # A library linked with -ffast-math would have made this zero from here on, in the whole process.
    assert np.float32(1e-40) * np.float32(0.5) > 0


def test_the_books_loop_is_plain_sgd(data):
    made = peers.BookLoop(0, data)
    expected = reference.as_numpy(made.params)
    made.update(made.pairs[:10])
    ours = [(w, b[:, 0]) for w, b in zip(made.weights, made.biases, strict=True)]
    expected = reference.descend(expected, made.x[:10].astype(float), made.y[:10], peers.ETA)
    assert reference.distance(ours, expected) < 1e-6


def test_fit_takes_part_as_users_call_it(data):
    made = peers.Fit(0, data)
    seconds = [made() for _ in range(30)]
    assert min(seconds) > 0
    assert made.correct() > 30


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own
@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("Torch", "torch"),
        pytest.param("CompiledTorch", "torch", marks=pytest.mark.slow),
        ("Flax", "flax"),
        ("Equinox", "equinox"),
    ],
)
def test_libraries_are_plain_sgd(name, package, data):
    pytest.importorskip(package, reason=f"{package} is not installed: only the benchmarks use it")
    assert _is_plain_sgd(getattr(libraries, name)(0, data))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["ManyTorch", pytest.param("ManyCompiledTorch", marks=pytest.mark.slow)])
def test_many_networks_in_pytorch_are_plain_sgd_each(name, data):
    pytest.importorskip("torch", reason="torch is not installed: only the benchmarks use it")
    many = getattr(libraries, name)(3, data)
    first = libraries.Torch(0, data)
    assert many() > 0
    assert first() > 0
    many.correct(), first.correct()
    assert reference.distance(many.first.params, reference.as_numpy(first.params)) < 1e-3


def test_unequal_work_is_refused():
    class Peer:
        def __init__(self, seed, better):
            self.right, self.better = seed % 3, better

        def __call__(self):
            self.right += self.better

        def correct(self):
            return self.right

    def make(better):
        return lambda seed: Peer(seed, better)

    right = equal_work({"ours": make(100), "same": make(100)})
    assert right == {"ours": [300, 301, 302, 300, 301], "same": [300, 301, 302, 300, 301]}
    with pytest.raises(RuntimeError, match="lazy does other work than ours"):
        equal_work({"ours": make(100), "same": make(100), "lazy": make(90)})


@pytest.mark.slow
def test_a_recipe_is_timed_as_a_command(tmp_path):
    record = recipe.run(recipe.Flags(dataset="digits", recipe="book", seeds=2, epochs=1))
    first, second = record["trained"]
    assert [first["seed"], second["seed"]] == [0, 1]
    assert first["seconds"] > first["training_seconds"] > 0
    assert first["test_correct"] != second["test_correct"]
    told = recipe_line(record)
    assert told.startswith("`nnjax train --recipe book` reads ")
    assert f"to {max(first['test_correct'], second['test_correct'])}, 2 seeds)" in told


def test_the_committed_records_keep_what_the_project_promises():
    """Of the time of NumPy by mini-batches, one jitted call a step, eager PyTorch; of the command."""
    results = Path(peers.__file__).parent / "results"
    epoch, start, many = (
        json.loads((results / f"{name}.json").read_text()) for name in ("epoch", "start", "population")
    )
    ratio = {peer["name"]: peer["ratio"] for peer in epoch["peers"]}
    assert ratio["NumPy by mini-batches"] <= 0.25
    assert ratio["JAX, one jitted call a step"] <= 0.33
    assert ratio["PyTorch, eager"] <= 0.10
    assert start["train_seconds"] <= 12
    assert start["one_epoch_seconds"] <= 2.5
    assert sum(start["parts"].values()) == pytest.approx(start["one_epoch_seconds"], rel=0.25)
    assert start["parts"]["importing the rest"] <= 0.3
    assert start["peak_megabytes"] <= 1000
    trained = json.loads((results / "recipe.json").read_text())["trained"]
    assert len(trained) >= 5
    for one in trained:
        assert one["test_correct"] >= 9900
        assert one["seconds"] <= 180
    ratio = {peer["name"]: peer["ratio"] for peer in many["peers"]}
    assert many["peers"][0]["name"].startswith("32 networks")
    assert ratio["NumPy by mini-batches"] <= 0.11
    seconds = {peer["name"]: peer["median"] for peer in many["peers"]}
    assert seconds["32 networks, evaluated on 20,000 images"] <= 1.25 * many["peers"][0]["median"]
    right = [peer["test_correct"] for peer in epoch["peers"] + many["peers"]]
    assert min(right) >= 9300


def test_a_population_takes_part_as_sweep_trains_it(data):
    made = population.Population(3, data)
    seconds = [made() for _ in range(30)]
    assert min(seconds) > 0
    assert made.correct() > 30


def test_peers_take_turns_and_are_held_against_the_first():
    class Peer:
        def __init__(self, name, seconds):
            self.name, self.seconds = name, iter(seconds)

        def __call__(self):
            turns.append(self.name)
            return next(self.seconds)

        def correct(self):
            return 7

    turns = []
    peers = {"ours": Peer("ours", [9.0, 1.0, 2.0, 3.0]), "other": Peer("other", [9.0, 2.0, 8.0, 6.0])}
    record = compare(peers, 3, "mnist")
    assert turns == ["ours", "other"] * 4
    assert [p["median"] for p in record["peers"]] == [2.0, 6.0]
    assert [p["ratio"] for p in record["peers"]] == [1.0, 0.5]
