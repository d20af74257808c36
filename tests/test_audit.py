"""What `make audit` says and returns, with pip-audit's answers played."""

import json
import runpy
import sys
from pathlib import Path

import pytest

audit = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "audit.py"))["audit"]

SOUND = {"name": "sound", "version": "1", "vulns": []}
ILL = {"name": "ill", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}
BROUGHT = ILL | {"name": "pip"}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([SOUND, SOUND], 0, "2 packages checked, 0 known vulnerabilities\n"),
        ([SOUND, ILL], 1, "ill 2: CVE-1 (mended in: 3)"),
        ([UNKNOWN, UNKNOWN], 0, "0 packages checked"),
        ([SOUND, UNKNOWN], 0, "NOT CHECKED, as the index does not know them: unknown"),
        ([SOUND, BROUGHT], 0, "1 packages checked, 0 known"),
    ],
)
def test_what_was_found_and_what_was_not_checked_is_told(packages, code, words, capsys):
    told = f"print({json.dumps({'dependencies': packages})!r}); raise SystemExit({code})"
    assert audit([sys.executable, "-c", told]) == code
    assert words in capsys.readouterr().out


def test_out_of_reach_is_said_and_fails_nothing(capsys):
    assert audit([sys.executable, "-c", "raise OSError('no route')"]) == 0
    assert "NOT CHECKED" in (told := capsys.readouterr().out)
    assert "no route" in told
    assert audit([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.2) == 0
    assert "NOT CHECKED" in capsys.readouterr().out
