"""The peers do the work that they are timed for: each is checked against the reference."""

import jax
import numpy as np
import pytest

import nnjax
import reference
from benchmarks import peers


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (60, 784)) * (rng.random((60, 784)) < 0.2)).astype(np.uint8)
    labels = rng.integers(0, 10, 60)
    return nnjax.Dataset.from_arrays((images, labels), test=(images, labels), num_classes=10)


@pytest.mark.parametrize("peer", [peers.NumpyBatches, peers.NumpySingle, peers.JittedStep])
def test_mini_batch_peers_are_plain_sgd(peer, data):
    made = peer(0, data)
    expected = reference.as_numpy(made.params)
    rng = np.random.default_rng(0)
    for i, o in ((784, 30), (30, 10)):
        rng.normal(size=(o, i)), rng.normal(size=o)
    order = rng.permutation(60)
    for i in range(0, 60, peers.M):
        rows = order[i : i + peers.M]
        expected = reference.descend(expected, made.x[rows].astype(float), made.y[rows], peers.ETA)
    with jax.numpy_rank_promotion("allow"):
        assert made() > 0
    assert reference.distance(made.params, expected) < 1e-3


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
