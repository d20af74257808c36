"""The README: its code runs, its commands exist, and its tables are those of the committed records."""

import re
import shlex

import pytest

from docs import build_tables
from documents import DOCS, README, broken_links, commands, equal_up_to_rounding, run_python
from nnjax import cli
from nnjax.data import _sources

TEXT = README.read_text()


@pytest.mark.slow
def test_the_examples_run_in_order(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_sources, "is_reachable", lambda url: False)
    blocks, names = run_python(TEXT)
    code, printed = blocks[0]
    assert len(code.splitlines()) <= 15
    assert float(re.fullmatch(r"digits: (\d+\.\d) % test accuracy\n", printed)[1]) > 90
    assert len(names["run"].history) == 5
    assert names["run"].history.test_accuracy[-1] > 0.5


def test_the_tables_are_current():
    made = build_tables.replace_tables(TEXT, build_tables.DOCUMENTS[README])
    assert equal_up_to_rounding(TEXT, made)


def test_a_missing_marker_of_a_table_raises():
    with pytest.raises(ValueError, match="speed"):
        build_tables.replace_tables(TEXT.replace("<!-- speed -->", ""), build_tables.DOCUMENTS[README])


def test_its_links_exist():
    assert broken_links(README) == []


def test_it_is_short():
    assert len(TEXT.splitlines()) < 160


@pytest.mark.parametrize(
    "command", dict.fromkeys(line for path in (README, *sorted(DOCS.glob("*.md"))) for line in commands(path))
)
def test_the_command_line_accepts_the_documented_commands(command, run, monkeypatch):
    """Parses every command of README and docs, and runs none."""
    parsed = []
    for name in (
        "Train",
        "Sweep",
        "Evaluate",
        "Baselines",
        "Predict",
        "Draw",
        "Data",
        "Doctor",
        "Compare",
        "Export",
    ):
        monkeypatch.setattr(getattr(cli, name), "run", lambda self: parsed.append(self) or 0)
    assert run(*shlex.split(command)[1:]) == 0
    assert len(parsed) == 1
