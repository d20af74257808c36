"""Data of the size that the benchmarks train on, without a download."""

import numpy as np
import pytest

import nnjax


@pytest.fixture(scope="module")
def sparse_images():
    """80 images of 784 pixels, of which a fifth are not zero."""
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (80, 784)) * (rng.random((80, 784)) < 0.2)).astype(np.uint8)
    split = images, rng.integers(0, 10, 80)
    return nnjax.Dataset.from_arrays(split, split, split, num_classes=10)


@pytest.fixture
def images(monkeypatch):
    """200 images of 784 pixels that differ in where they are bright; `nnjax.load` returns them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 200)
    x = rng.integers(0, 60, (200, 784))
    x[np.arange(200)[:, None], 70 * labels[:, None] + np.arange(70)] += 150
    split = x.astype(np.uint8), labels
    data = nnjax.Dataset.from_arrays(split, split, split, num_classes=10)
    monkeypatch.setattr(nnjax, "load", lambda name: data)
    return data
