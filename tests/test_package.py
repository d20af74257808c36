"""The package as others meet it: its import, its wheel, its memory."""

import ast
import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(*arguments, executable=sys.executable, **more):
    return subprocess.run(
        [executable, *map(str, arguments)], capture_output=True, text=True, check=True, **more
    ).stdout


def test_importing_nnjax_imports_nothing_heavy():
    heavy = ["tensorflow", "tensorflow_datasets", "sklearn", "matplotlib", "tyro", "rich", "requests", "orbax"]
    code = "import sys, nnjax; print(*set(sys.argv[1:]) & set(sys.modules))"
    assert python("-c", code, *heavy).split() == []


def test_nothing_is_unpickled_and_no_text_is_run():
    """Files hold data, no code: the modules use nothing that would run what is in one."""
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "allow_pickle"}
    banned |= {"eval", "exec", "read_pickle"}
    for path in (ROOT / "nnjax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            used = {getattr(node, field, None) for field in ("id", "attr", "arg", "module", "name")}
            parts = {part for name in used if isinstance(name, str) for part in name.split(".")}
            assert not parts & banned, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("np", "load"), ("numpy", "load")}, path


@pytest.mark.slow
def test_importing_nnjax_costs_what_jax_and_optax_cost():
    """A generous bound on a quotient that the README's figure is far below."""
    code = (
        "import time; a = time.perf_counter(); import jax, optax; b = time.perf_counter();"
        "import nnjax; print((time.perf_counter() - b))"
    )
    assert statistics.median(float(python("-c", code)) for _ in range(5)) < 0.3


@pytest.mark.slow
def test_training_on_mnist_stays_within_a_gigabyte(mnist_dir, tmp_path):
    # What getrusage tells begins with the memory of the process that started this one.
    code = (
        "import sys; from nnjax.cli import main; main(sys.argv[1:]);"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    arguments = ["train", "--dataset", "mnist", "--data-dir", mnist_dir, "--epochs", 2]
    out = python("-c", code, *arguments, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert int(out.split()[-1]) * 1024 < 1e9


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"nnjax/py.typed", "nnjax/data/checksums.tsv", "nnjax/__main__.py"} <= set(names)
    assert all(name.startswith(("nnjax/", "nnjax-")) for name in names)


@pytest.mark.slow
def test_the_wheel_alone_trains_on_the_digits(wheel, tmp_path):
    python("-m", "venv", tmp_path / "venv")
    inside = tmp_path / "venv" / "bin" / "python"
    python("-m", "pip", "install", "-q", wheel, executable=inside)
    out = python(
        "-m", "nnjax", "train", "--dataset", "digits", "--epochs", 5,
        executable=inside, cwd=tmp_path, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert "digits: training [64, 30, 10]" in out
