"""The package as others use it: what its import costs, its public names, its wheel and its memory."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HEAVY_MODULES = (
    "tensorflow", "tensorflow_datasets", "sklearn", "matplotlib", "orbax", "xarray", "pandas",
    "requests", "scipy.ndimage", "scipy.special", "scipy.stats",
)  # fmt: skip
ROOMS = ("nn", "optim", "data", "training", "sweep", "compare", "storage", "runtime", "recognition")
PUBLIC_MODULES = (
    "book",
    "baselines",
    "compare.analysis",
    "compare.claims",
    "compare.plan",
    "compare.plots",
    "compare.problems",
    "compare.protocol",
    "compare.report",
    "compare.scores",
    "compare.search_spaces",
    "compare.statistics",
    "compare.verdicts",
)


def python(*arguments, executable=sys.executable, **kwargs):
    command = [executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, **kwargs).stdout


# --- imports ---


@pytest.mark.parametrize(
    ("modules", "other_heavy_modules"), [("nnjax", ("tyro", "rich")), ("nnjax.cli, nnjax.recognition", ())]
)
def test_an_import_imports_no_heavy_module(modules, other_heavy_modules):
    code = f"import sys, {modules}; print(*set(sys.argv[1:]) & set(sys.modules))"
    assert python("-c", code, *HEAVY_MODULES, *other_heavy_modules).split() == []


def test_no_module_unpickles_or_evaluates_code():
    """A file that nnjax opens contains data, and no code that would be executed."""
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "allow_pickle"}
    banned |= {"eval", "exec", "read_pickle"}
    for path in (ROOT / "nnjax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "copyreg":
                continue  # registers how a type is sent to workers, and reads nothing
            names = {getattr(node, field, None) for field in ("id", "attr", "arg", "module", "name")}
            parts = {part for name in names if isinstance(name, str) for part in name.split(".")}
            assert not parts & banned, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("np", "load"), ("numpy", "load")}, path


# --- public names ---


def source(module):
    """The source file of a room or module of nnjax; "" is nnjax itself."""
    path = ROOT.joinpath("nnjax", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(module):
    """The names in a module's `__all__` or, without it, the names that the module defines."""
    names = set()
    for node in ast.parse(source(module).read_text()).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        assigned = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        if "__all__" in assigned:
            return set(ast.literal_eval(node.value))
        names |= assigned | {getattr(node, "name", "_")}
    return {name for name in names if not name.startswith("_")}


PUBLIC_NAMES = {m: public_names(m) for m in ("", *ROOMS, *PUBLIC_MODULES) if source(m).exists()}
PUBLIC_NAMES[""] |= {"__version__"}


def is_public(module, name=None):
    """Whether users may import the module `nnjax.<module>`, or a name from it."""
    if name is None:
        return module in PUBLIC_NAMES
    return is_public(f"{module}.{name}".lstrip(".")) or name in PUBLIC_NAMES.get(module, ())


def imports_of_nnjax(tree):
    """The line, module and name of each import and each attribute of nnjax in a module's syntax tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "nnjax":
                    yield node.lineno, alias.name[6:], None
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nnjax":
            for alias in node.names:
                yield node.lineno, node.module[6:], alias.name
        elif (
            isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nnjax"
        ):
            yield node.lineno, "", node.attr


@pytest.mark.parametrize("folder", ["experiments", "benchmarks"])
def test_experiments_and_benchmarks_use_public_names_only(folder):
    private = [
        f"{path.relative_to(ROOT)}:{line}: nnjax{'.' * bool(module)}{module}{f'.{name}' if name else ''}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, module, name in imports_of_nnjax(ast.parse(path.read_text()))
        if not is_public(module, name)
    ]
    assert not private, "these names are not public:\n" + "\n".join(private)


@pytest.mark.parametrize(
    ("code", "public"),
    [
        ("import nnjax", True),
        ("from nnjax import fit, book", True),
        ("from nnjax import compare", True),
        ("from nnjax.training import fit", True),
        ("from nnjax.compare import claims", True),
        ("from nnjax.compare.claims import Claim", True),
        ("nnjax.fit", True),
        ("nnjax.training", True),
        ("import nnjax.training", True),
        ("from nnjax import _config", False),
        ("from nnjax import cli", False),
        ("from nnjax.training import step", False),
        ("from nnjax.training import _fit", False),
        ("from nnjax.training.step import init_state", False),
        ("from nnjax.training._fit import fit", False),
        ("import nnjax.training._fit", False),
        ("nnjax.cli", False),
    ],
)
def test_the_check_of_public_names(code, public):
    assert all(is_public(module, name) for _, module, name in imports_of_nnjax(ast.parse(code))) == public


# --- the wheel ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_contains_every_file_of_the_package_and_nothing_else(wheel):
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nnjax").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if not name.startswith("nnjax-")} == package
    assert package >= {
        "nnjax/py.typed",
        "nnjax/__main__.py",
        "nnjax/storage/model_file.py",
        "nnjax/data/checksums.tsv",
        "nnjax/compare/claims.css",
        "nnjax/compare/page.css",
        "nnjax/compare/page.html",
        "nnjax/compare/page.js",
        "nnjax/recognition/page/page.html",
        "nnjax/recognition/page/draw.js",
    }


@pytest.mark.slow
def test_the_wheel_alone_trains_and_saves_a_network(wheel, tmp_path):
    python("-m", "venv", tmp_path / "venv")
    executable = tmp_path / "venv" / "bin" / "python"
    python("-m", "pip", "install", "-q", wheel, executable=executable)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "share")}
    python(
        "-m", "nnjax", "train", "--dataset", "digits", "--epochs", 5,
        executable=executable, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert len(list((tmp_path / "share" / "nnjax" / "models").glob("digits-*.safetensors"))) == 1


# --- memory ---


@pytest.mark.slow
def test_training_on_mnist_uses_less_than_a_gigabyte(mnist_dir, tmp_path):
    # VmHWM is the peak of this process alone; getrusage would begin with the memory of its parent.
    code = (
        "import sys; from nnjax.cli import main; main(sys.argv[1:]);"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    arguments = ["train", "--dataset", "mnist", "--data-dir", mnist_dir, "--epochs", 2]
    output = python("-c", code, *arguments, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert int(output.split()[-1]) * 1024 < 1e9
