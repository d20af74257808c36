"""The examples: short, listed in the README, and they run."""

import os
import subprocess
import sys

import pytest

from documents import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MAX_LINES = 40


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_listed(example):
    text = example.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith('"""')
    assert f"examples/{example.name}" in (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example, tmp_path):
    environ = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    if example.stem == "loss_landscape":
        assert (tmp_path / "loss_landscape.png").stat().st_size > 10_000
    else:
        assert done.stdout.strip()
