"""On different machines, floats may differ in rounding, and digests of floats are not compared."""

import importlib
import json

import numpy as np
import pytest

from nnjax.runtime import environment as environment_function
from nnjax.runtime.fingerprint import MACHINE_DEPENDENT, describe_differences, differing, machine

ENVIRONMENT = importlib.import_module("nnjax.runtime.environment")


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("0.1", "0.10000000000000002"),
        ("1e-05", "9.999999999999999e-06"),
        ("np.float32(0.31622776)", "np.float32(0.3162278)"),
        ("[0.1, 3.0]", "[0.1, 2.9999999999999996]"),
        ("Partial(<function l2>, -0.1)", "Partial(<function l2>, -0.10000000000000002)"),
    ],
)
def test_floats_that_differ_in_rounding_are_equal_on_another_machine_only(text, other):
    for before, now in ((text, other), (other, text)):
        assert differing({"rate": before}, {"rate": now}) == ["rate"]
        assert differing({"rate": before}, {"rate": now}, same_machine=False) == []


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("0.1", "0.10001"),
        ("0.1", "-0.1"),
        ("[0, 4294967294]", "[0, 4294967295]"),  # a key
        ("10000000.0", "10000001.0"),  # a number of steps
        ("[0.1]", "[0.1, 0.1]"),
        ("<function sgd>", "<function adam>"),
        ("nan", "0.0"),
        ("1e400", "1e5"),
    ],
)
def test_everything_else_must_be_equal_on_every_machine(text, other):
    assert differing({"rate": text}, {"rate": other}, same_machine=False) == ["rate"]


@pytest.mark.parametrize("name", MACHINE_DEPENDENT)
def test_digests_of_floats_are_compared_on_the_same_machine_only(name):
    before, now = {name: "0" * 64}, {name: "1" * 64}
    assert differing(before, now) == [name]
    assert differing(before, now, same_machine=False) == []


def test_a_setting_that_only_one_run_has_differs():
    assert differing({"a": "1"}, {"b": "2"}, same_machine=False) == ["a", "b"]


def test_digests_are_not_shown():
    before, now = {"train data": "0" * 64, "epochs": 3}, {"train data": "1" * 64}
    assert describe_differences(["train data", "epochs"], before, now) == (
        "different train data; epochs was 3 and is not set"
    )
    assert describe_differences(["program"], before, now) == "the code of a function has changed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processor", "another processor"),
        ("vector_extensions", "X86_V2 X86_V3 X86_V4"),
        ("cores", 1000),
        ("version", "0.0.1"),
    ],
)
def test_another_processor_or_version_is_another_machine(monkeypatch, name, value):
    here = json.loads(json.dumps(machine()))  # as a settings file returns it
    assert differing(here, machine()) == []
    monkeypatch.setattr(ENVIRONMENT, name, lambda *package: value)
    elsewhere = differing(here, machine())
    assert elsewhere == [name] if name != "version" else set(elsewhere) >= {"jax", "jaxlib", "numpy"}


def test_the_vector_extensions_are_those_that_numpy_uses():
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    for extension in (*extensions["baseline"], *extensions["found"]):
        assert extension in environment_function()["vector_extensions"].split()
    for extension in extensions.get("not found", ()):  # a new processor has all
        assert extension not in environment_function()["vector_extensions"].split()
