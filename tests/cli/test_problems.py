"""`nnjax problems`."""

import json

import pytest

import nnjax
from nnjax.cli.console import console
from nnjax.compare import problems


def test_problems_are_listed_with_what_a_comparison_needs_to_know(run, capsys, monkeypatch):
    monkeypatch.setattr(console, "_width", 200)
    assert run("problems") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in nnjax.problems:
        assert sum(f" {name} " in line for line in lines) == 1
    (on_mnist,) = [line.rpartition(": ")[2].split(", ") for line in lines if line.startswith("need MNIST")]
    assert on_mnist == [name for name, p in nnjax.problems.items() if problems.needs_mnist(p)]
    assert f"suite quick: {', '.join(problems.SUITES['quick'])}" in lines
    (quadratic,) = [line for line in lines if " quadratic " in line]
    for text in (
        "conditioning, noise",
        " 100 ",
        " 128 ",
        " 700 ",
        "training cost - minimum",
    ):
        assert text in quadratic


def test_json_has_a_row_for_every_problem(run, capsys):
    assert run("problems", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["problems"]
    assert [row["name"] for row in rows] == list(nnjax.problems)
    by_name = {row["name"]: row for row in rows}
    assert by_name["book_mlp"] == {
        "name": "book_mlp", "separates_by": "saturation, stuck outputs", "parameters": 23860,
        "batch_size": 32, "steps": 1520, "metric": "training cost", "needs_mnist": True,
        "suites": ["standard"],
    }  # fmt: skip
    assert by_name["teacher"]["metric"] == "test cost"
    assert by_name["modular_addition"]["metric"] == "steps to 95 % validation accuracy"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_one_sentence(run, capsys, flag):
    assert run("problems", flag) == 0
    assert "List the test problems on which optimizers are compared." in capsys.readouterr().out
