"""The structure of the package's source code: short modules, short functions, documented public names."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "nnjax").rglob("*.py"))}
ROOMS = [name for name in MODULES if name.count("/") <= 2 and name.endswith("/__init__.py")]

MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def parse(module):
    return ast.parse(MODULES[module].read_text())


def body_lines(function):
    """The number of lines of a function's body, without its docstring."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - statements[0].lineno + 1 if statements else 0


def exported(module):
    """The names in `__all__`."""
    for node in parse(module).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value)
    return []


def definition(module, name):
    """The module and the syntax tree that define a function or class; None for another value."""
    for node in ast.walk(parse(module)):
        if isinstance(node, FUNCTIONS | ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nnjax"):
            for alias in node.names:
                source = (node.module or "").replace(".", "/")
                source = next((s for s in (f"{source}.py", f"{source}/__init__.py") if s in MODULES), None)
                if (alias.asname or alias.name) == name and source not in (None, module):
                    return definition(source, alias.name)
    return None


def test_modules_are_short():
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: n for module, n in lengths.items() if n > MAX_MODULE_LINES} == {}


def test_functions_are_short():
    lengths = {
        f"{module}:{node.lineno} {node.name}": body_lines(node)
        for module in MODULES
        for node in ast.walk(parse(module))
        if isinstance(node, FUNCTIONS)
    }
    assert {function: n for function, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_and_classes_have_docstrings(room):
    definitions = [definition(room, name) for name in exported(room)]
    undocumented = [
        f"{module}:{node.lineno} {node.name}"
        for module, node in filter(None, definitions)
        if not ast.get_docstring(node)
    ]
    assert undocumented == []
