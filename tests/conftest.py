"""Strictness for all tests, and the data that they share."""

import logging
import os
from pathlib import Path

import jax
import pytest

import nnjax
from experiments import catalog
from experiments.evidence import Flags

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

ARCHIVES = "NNJAX_MNIST"


def pytest_collection_modifyitems(config, items):
    """Slow tests, those of the quick chapter among them, run only when asked for: `-m slow`."""
    for item in items:
        if "quick_record" in item.fixturenames:
            item.add_marker("slow")
    if config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="slow: run by `make check`")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Compiled programs of a module's tests do not pile up in memory."""
    yield
    jax.clear_caches()


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def digits():
    return nnjax.load("digits")


@pytest.fixture(scope="session")
def archives():
    """The folder of the four original MNIST files."""
    if ARCHIVES not in os.environ:
        pytest.skip(f"needs the original MNIST files: set {ARCHIVES} to their folder")
    return Path(os.environ[ARCHIVES])


@pytest.fixture(scope="session")
def mnist_dir(archives, tmp_path_factory):
    """A data folder in which MNIST was prepared from the original files."""
    data_dir = tmp_path_factory.mktemp("tfds")
    manual = data_dir / "downloads" / "manual"
    manual.parent.mkdir()
    manual.symlink_to(archives)
    nnjax.load("mnist", data_dir)
    return data_dir


@pytest.fixture(scope="session")
def mnist(mnist_dir):
    return nnjax.load("mnist", mnist_dir)


@pytest.fixture
def compilations(caplog):
    """The names of what XLA compiles from here on."""
    names = []

    class Compiled(logging.Handler):
        def emit(self, record):
            if record.msg.startswith("Finished XLA compilation of"):
                names.append(record.getMessage())

    handler = Compiled()
    logger = logging.getLogger("jax")
    with jax.log_compiles():
        logger.addHandler(handler)
        yield names
        logger.removeHandler(handler)


@pytest.fixture(scope="session")
def quick_flags(tmp_path_factory):
    """The flags of a quick run of experiments; what one test has made, no other makes again."""
    return Flags(quick=True, output=tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="session")
def quick_record(quick_flags):
    """The record of an experiment's quick run."""
    return lambda experiment: catalog.done(experiment, quick_flags) or experiment.make(quick_flags)
