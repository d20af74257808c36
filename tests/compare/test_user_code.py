"""Objects in a user's Python file."""

import sys
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import nnjax
from nnjax.compare._user_code import (
    code_identity,
    describe_error,
    is_reference,
    load_object,
    problem_identity,
)
from small_comparison import SMALL, cost


def write(path, text):
    path.write_text(text)
    return path


def test_a_reference_names_a_file_and_an_object(tmp_path):
    path = write(tmp_path / "mine.py", "import optax\ndef slow(rate): return optax.sgd(rate)\n")
    assert load_object(f"{path}:slow").__name__ == "slow"
    assert is_reference(f"{path}:slow")
    assert not is_reference("adamw")


def test_a_file_can_import_its_neighbours(tmp_path):
    write(tmp_path / "neighbour_of_mine.py", "RATE = 0.5\n")
    path = write(tmp_path / "mine.py", "from neighbour_of_mine import RATE\n")
    assert load_object(f"{path}:RATE") == 0.5


def test_a_changed_file_is_executed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = write(tmp_path / "mine.py", "RATE = 1\n")
    assert load_object(f"{path}:RATE") == 1
    write(path, "RATE = 2\n")
    assert load_object(f"{path}:RATE") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def slow(:\n", "mine.py, line 1: "),
        ("x = 1\n\nimport not_installed_anywhere\n", "cannot be executed: ModuleNotFoundError: No module"),
        ("raise RuntimeError('no GPU')\n", "cannot be executed: RuntimeError: no GPU"),
        ("import sys\nsys.exit(0)\n", "cannot be executed: SystemExit: 0"),
        ("import optax\ndef fast(): ...\n", "must define slow, got fast"),
        ("", "must define slow, got no functions"),
        (
            "raise ValueError('no rate\\nSee the guide.')",
            r"ValueError: no rate \(mine.py, line 1\)$",
        ),
        ("x = '\0'", "^mine.py: .*null bytes"),
        ("import wrong_neighbour", "^wrong_neighbour.py, line 2: "),
        ("import sys\nsys.path.clear()\n1 / 0", r"ZeroDivisionError: .* \(mine.py, line 3\)$"),
    ],
)
def test_wrong_files_are_one_clear_line(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(sys, "path", [*sys.path])
    write(tmp_path / "wrong_neighbour.py", "x = 1\ny = (\n")
    path = write(tmp_path / "mine.py", content)
    with pytest.raises(ValueError, match=message) as caught:
        load_object(f"{path}:slow")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("mine.py", "must have the form FILE.py:NAME, got 'mine.py'"),
        ("mine.py:", "must have the form FILE.py:NAME"),
        ("mine.py:a-b", "must have the form FILE.py:NAME"),
        ("nowhere/mine.py:slow", "there is no file nowhere/mine.py"),
    ],
)
def test_wrong_references(reference, message):
    with pytest.raises(ValueError, match=message):
        load_object(reference)


def test_a_file_with_a_relative_path_has_an_identity_in_another_directory(tmp_path, monkeypatch):
    write(tmp_path / "mine.py", "def slow(learning_rate): ...\n")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    slow = load_object("mine.py:slow")
    monkeypatch.chdir(tmp_path / "other")
    assert code_identity(slow) is not None


def test_an_error_in_a_file_beside_the_package_has_its_line():
    def error_in(file):
        with pytest.raises(RuntimeError) as caught:
            exec(compile("\nraise RuntimeError('boom')", file, "exec"))
        return describe_error(caught.value)

    package = Path(nnjax.__file__).parent
    assert error_in(str(package / "sweep.py")) != error_in(f"{package}_mine.py")
    assert error_in(f"{package}_mine.py") == "RuntimeError: boom (nnjax_mine.py, line 2)"


def test_the_identity_of_code_changes_with_its_file(tmp_path):
    path = write(tmp_path / "mine.py", "def slow(learning_rate): return 1\n")
    first = code_identity(load_object(f"{path}:slow"))
    assert first == code_identity(load_object(f"{path}:slow"))
    write(path, "def slow(learning_rate): return 2\n")
    assert code_identity(load_object(f"{path}:slow")) != first
    assert code_identity(partial(optax.adam, b1=0.5)) != code_identity(partial(optax.adam, b1=0.9))


def scaled(factor):
    def sgd(learning_rate):
        return optax.sgd(factor * learning_rate)

    return sgd


def with_default(factor):
    def sgd(learning_rate, factor=factor):
        return optax.sgd(factor * learning_rate)

    return sgd


def wrapped(factor):
    @wraps(optax.sgd)
    def sgd(learning_rate):
        return optax.sgd(factor * learning_rate)

    return sgd


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, learning_rate):
        return optax.sgd(self.factor * learning_rate)

    def method(self, learning_rate):
        return self(learning_rate)


def with_array(factor):
    return partial(optax.sgd, momentum=np.array([factor]))


def recursive(factor):
    def sgd(learning_rate):
        return sgd(factor) if learning_rate is None else optax.sgd(factor * learning_rate)

    return sgd


MAKERS = [
    scaled, with_default, wrapped, Scaled, lambda factor: Scaled(factor).method, with_array, recursive,
    lambda factor: jax.jit(scaled(factor)), lambda factor: lambda learning_rate: optax.sgd(factor),
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_the_identity_of_code_contains_the_values_that_it_holds(make):
    """Otherwise the stored results of one optimizer would be those of another one."""
    assert code_identity(make(0.1)) == code_identity(make(0.1))
    assert code_identity(make(0.1)) is not None
    assert code_identity(make(0.1)) != code_identity(make(0.2))


def test_two_functions_without_a_name_have_different_identities():
    pair = [lambda learning_rate: optax.sgd(learning_rate), lambda learning_rate: optax.adam(learning_rate)]
    assert code_identity(pair[0]) != code_identity(pair[1])


def test_values_that_cannot_be_identified_have_no_identity():
    assert code_identity(scaled(object())) is None


def test_code_without_a_file_has_no_identity():
    namespace = {}
    exec("def interactive(learning_rate): return 1", namespace)
    assert code_identity(namespace["interactive"]) is None


def test_a_user_s_problem_is_identified_by_all_that_determines_its_results():
    changes = ({}, {"learning_rate_scale": 2.0}, {"floor": cost})
    identities = [problem_identity(problem) for problem in (SMALL, *(replace(SMALL, **c) for c in changes))]
    assert None not in identities
    assert identities[0] == identities[1]
    assert len({str(identity) for identity in identities}) == 3
    shipped = nnjax.problems["bigram"]
    assert problem_identity(shipped) == shipped.identity()
