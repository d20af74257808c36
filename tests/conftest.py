"""Strictness for all tests, and the data that they share."""

import itertools
import logging
import os
import shutil
from pathlib import Path

import jax
import pytest

import nnjax
from experiments import catalog
from experiments.experiment import Flags
from nnjax import cli
from nnjax.cli.doctor.xla_flags import probe_start
from nnjax.data._archives import FILES, read_idx
from nnjax.data._cache import write_cache
from nnjax.data._sources import cache_path
from nnjax.runtime import extras
from nnjax.sweep import _trainer
from nnjax.training import _fit
from nnjax.training._epoch_loop import run_epochs

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 8)  # virtual devices of one CPU, for tests of sharding

ARCHIVES = "NNJAX_MNIST"
MAX_CACHE_BYTES = 1_000_000_000
# Programs for the CPU compile three times as fast, and run slower. jax 0.12 no longer has the first flag.
FAST_COMPILATION = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def pytest_configure(config):
    """Makes compilation fast: the fast tests compile without expensive optimizations, `-m slow` with them.

    Compiled programs are cached on disk: other workers, subprocesses and later runs load them.
    """
    if not (config.option.markexpr or hasattr(config, "workerinput")):  # workers inherit the environment
        flags = f"{os.environ.get('XLA_FLAGS', '')} {FAST_COMPILATION}".strip()
        os.environ["XLA_FLAGS"] = probe_start(flags).accepted
    jax.config.update("jax_disable_most_optimizations", not config.option.markexpr)
    directory = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or config.cache.mkdir("xla"))
    size = sum(file.stat().st_size for file in directory.glob("*"))
    if size > MAX_CACHE_BYTES and not hasattr(config, "workerinput"):
        shutil.rmtree(directory)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(directory)


def pytest_collection_modifyitems(config, items):
    """Slow tests, including those of the quick chapter, run only with `-m slow`."""
    for item in items:
        if "quick_record" in item.fixturenames:
            item.add_marker("slow")
    if config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="slow: run by `make check`")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


_module_count = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _clear_programs():
    """Clears compiled programs after every tenth module, so that they do not fill the memory."""
    yield
    if next(_module_count) % 10 == 0:
        jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def _model_dir(tmp_path_factory):
    """Keeps `nnjax train` from saving models in the user's folder, in this process and in subprocesses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("share")))
        yield


@pytest.fixture
def mesh8():
    return jax.make_mesh((8,), ("data",))


@pytest.fixture
def advanced(monkeypatch):
    """A list with an item for each row of the history that `fit` and `sweep` train, without restored rows."""
    epochs = []

    def counting(state, history, budget, advance, *rest):
        def counting_advance(*arguments):
            epochs.append(None)
            return advance(*arguments)

        return run_epochs(state, history, budget, counting_advance, *rest)

    monkeypatch.setattr(_fit, "run_epochs", counting)
    monkeypatch.setattr(_trainer, "run_epochs", counting)
    return epochs


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the `nnjax` command in this process, in an empty directory; returns its exit code.

    The user's compilation cache and this process's settings do not change.
    """
    monkeypatch.setattr(cli, "_use_compilation_cache", lambda: None)
    monkeypatch.setattr(cli.warnings, "showwarning", cli.warnings.showwarning)
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        try:
            return cli.main([str(a) for a in arguments])
        except SystemExit as exit:
            return exit.code

    return command


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def digits():
    return nnjax.load("digits")


@pytest.fixture(scope="session")
def trained(digits):
    """The parameters of a network that was trained on the digits."""
    params = nnjax.init(jax.random.key(0), (64, 30, 10))
    return nnjax.fit(jax.random.key(1), params, digits, learning_rate=3.0, epochs=40).params


@pytest.fixture(scope="session")
def model(trained, digits, tmp_path_factory):
    """The trained network, saved with its calibration and loaded."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    calibration = nnjax.calibrate(trained, nnjax.Objective(), digits)
    nnjax.save_model(path, trained, nnjax.Objective(), digits, calibration=calibration)
    return nnjax.load_model(path)


@pytest.fixture(scope="session")
def archives():
    """The folder of the four original MNIST files."""
    if ARCHIVES not in os.environ:
        pytest.skip(f"needs the original MNIST files: set {ARCHIVES} to their folder")
    return Path(os.environ[ARCHIVES])


@pytest.fixture(scope="session")
def mnist_dir(archives, tmp_path_factory):
    """A data directory with the decoded cache of MNIST; tests/data tests how it is prepared."""
    data_dir = tmp_path_factory.mktemp("tfds")
    arrays = {
        f"{split}_{part}": read_idx((archives / file).read_bytes())
        for split, files in FILES.items()
        for part, file in zip(("images", "labels"), files, strict=True)
    }
    path = cache_path("mnist", data_dir)
    path.parent.mkdir(parents=True)
    write_cache(path, arrays)
    return data_dir


@pytest.fixture(scope="session")
def mnist(mnist_dir):
    return nnjax.load("mnist", mnist_dir)


@pytest.fixture
def compilations(caplog):
    """A list of the names of the programs that XLA compiles during the test."""
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
    """The flags of a quick run of experiments; all tests share its records."""
    return Flags(quick=True, output=tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="session")
def quick_record(quick_flags):
    """The record of an experiment's quick run."""

    def record(experiment):
        earlier = catalog.find_record(experiment, quick_flags)
        return earlier or experiment.run_and_record(quick_flags)

    return record


@pytest.fixture(scope="module")
def chromium():
    """A headless browser, for the tests of pages."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs a browser: chromium and chromedriver are not on PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def uninstall(monkeypatch):
    """Makes modules of extras look as if they were not installed."""

    def hide(name):
        find = extras.find_spec
        monkeypatch.setattr(extras, "find_spec", lambda module: None if module == name else find(module))

    return hide
