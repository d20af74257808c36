"""The peers train by plain SGD: each is compared with the reference in float64 NumPy."""

from itertools import pairwise

import jax
import numpy as np
import pytest

import nnjax
import reference
from benchmarks import libraries, peers, population


def _is_plain_sgd(peer, data):
    """Whether an epoch of a peer of seed 0 results in the parameters of the reference."""
    expected = reference.as_numpy(peer.params)
    rng = np.random.default_rng(0)
    for n_in, n_out in pairwise(peers.SIZES):  # a peer draws its parameters before the order of the examples
        rng.normal(size=(n_out, n_in)), rng.normal(size=n_out)
    order = rng.permutation(len(data.train.targets))
    for i in range(0, len(order), peers.BATCH_SIZE):
        rows = order[i : i + peers.BATCH_SIZE]
        expected = reference.descend(expected, peer.x[rows].astype(float), peer.y[rows], peers.LEARNING_RATE)
    with jax.numpy_rank_promotion("allow"):
        assert peer() > 0
    peer.correct()
    return reference.distance(peer.params, expected) < 1e-3


@pytest.mark.parametrize("peer", [peers.NumpyBatches, peers.NumpyFloat32, peers.JittedStep])
def test_mini_batch_peers_are_plain_sgd(peer, sparse_images):
    assert _is_plain_sgd(peer(0, sparse_images), sparse_images)


@pytest.mark.parametrize("peer", [libraries.CReference, libraries.CNonzero])
def test_compiled_c_is_plain_sgd(peer, sparse_images):
    if not peer.is_available():
        pytest.skip("needs a C compiler")
    assert _is_plain_sgd(peer(0, sparse_images), sparse_images)
    # A library linked with -ffast-math would make this zero in the whole process.
    assert np.float32(1e-40) * np.float32(0.5) > 0


def test_the_books_loop_is_plain_sgd(sparse_images):
    peer = peers.BookLoop(0, sparse_images)
    params = reference.as_numpy(peer.params)
    peer.update(peer.pairs[:10])
    updated = [(w, b[:, 0]) for w, b in zip(peer.weights, peer.biases, strict=True)]
    expected = reference.descend(params, peer.x[:10].astype(float), peer.y[:10], peers.LEARNING_RATE)
    assert reference.distance(updated, expected) < 1e-6


def test_fit_trains_more_with_each_call(sparse_images):
    peer = peers.Fit(0, sparse_images)
    assert min(peer() for _ in range(30)) > 0
    assert peer.correct() > 40


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's
@pytest.mark.parametrize(
    ("name", "package"),
    [("Torch", "torch"), ("CompiledTorch", "torch"), ("Flax", "flax"), ("Equinox", "equinox")],
)
def test_libraries_are_plain_sgd(name, package, sparse_images):
    pytest.importorskip(package, reason=f"needs {package}, which only the benchmarks use")
    assert _is_plain_sgd(getattr(libraries, name)(0, sparse_images), sparse_images)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["ManyTorch", "ManyCompiledTorch"])
def test_each_of_many_networks_in_pytorch_is_plain_sgd(name, sparse_images):
    pytest.importorskip("torch", reason="needs torch, which only the benchmarks use")
    many = getattr(libraries, name)(3, sparse_images)
    single = libraries.Torch(0, sparse_images)
    assert many() > 0
    assert single() > 0
    many.correct(), single.correct()
    assert reference.distance(many.first.params, reference.as_numpy(single.params)) < 1e-3


@pytest.mark.parametrize("method", [population.Population, population.UnblockedPopulation])
def test_each_network_of_a_population_trains_as_fit_does(method, sparse_images):
    many = method(3, sparse_images)
    params = [jax.tree.map(lambda x, i=i: x[i].copy(), many.states.params) for i in range(3)]
    assert many() > 0
    for i, initial in enumerate(params):
        run = nnjax.fit(
            jax.random.key(1), initial, sparse_images, epochs=1, learning_rate=peers.LEARNING_RATE
        )
        network = jax.tree.map(lambda x, i=i: x[i], many.states.params)
        assert reference.distance(network, reference.as_numpy(run.params)) < 1e-4


@pytest.mark.parametrize("evaluates", [False, True])
def test_a_sweep_is_timed_and_counts_the_correct_predictions_of_its_networks(sparse_images, evaluates):
    many = population.Swept(3, sparse_images, evaluates, learning_rate=1.0)
    assert 0 < many() < 60
    grid = nnjax.sweep(jax.random.key(1), sparse_images, seeds=3, epochs=3, learning_rate=1.0)
    assert many.correct() == grid.test_correct.isel(epoch=-1).median()
