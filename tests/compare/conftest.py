"""Data sets of the problems, and a small comparison."""

import pytest

from nnjax.compare import _image_problems as image_problems
from small_comparison import report_of, sgd, tuned


@pytest.fixture(scope="session")
def report():
    """The report of a comparison of SGD with AdamW on a small problem."""
    return report_of(tuned(sgd))


@pytest.fixture
def empty_caches():
    """The problems load MNIST again in this test, and again after it."""
    caches = [image_problems._mnist_or_error, image_problems.images, image_problems.images_and_others]
    caches.append(image_problems.small_images)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def with_mnist(empty_caches, mnist, monkeypatch):
    """The problems load MNIST from the archives."""
    monkeypatch.setattr(image_problems, "load", lambda name: mnist)
