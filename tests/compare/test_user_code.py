"""Objects in a user's Python file."""

import sys
from functools import partial, wraps

import jax
import numpy as np
import optax
import pytest

from nnjax.compare._user_code import code_identity, is_reference, load_object


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
    ],
)
def test_wrong_files_are_one_clear_line(tmp_path, content, message):
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
