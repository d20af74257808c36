"""The output and the exit code of `make audit`, with a script in place of pip-audit."""

import json
import runpy
import sys
from pathlib import Path

import pytest

audit = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "audit.py"))["audit"]

SAFE = {"name": "safe", "version": "1", "vulns": []}
VULNERABLE = {"name": "vulnerable", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}
VULNERABLE_PIP = VULNERABLE | {"name": "pip"}


@pytest.mark.parametrize(
    ("packages", "code", "message"),
    [
        ([SAFE, SAFE], 0, "2 packages checked, 0 known vulnerabilities\n"),
        ([SAFE, VULNERABLE], 1, "vulnerable 2: CVE-1 (fixed in: 3)"),
        ([UNKNOWN, UNKNOWN], 0, "0 packages checked"),
        ([SAFE, UNKNOWN], 0, "NOT CHECKED, because the package index does not know them: unknown"),
        ([SAFE, VULNERABLE_PIP], 0, "1 packages checked, 0 known"),
    ],
)
def test_known_vulnerabilities_and_unchecked_packages_are_printed(packages, code, message, capsys):
    output = json.dumps({"dependencies": packages})
    assert audit([sys.executable, "-c", f"print({output!r}); raise SystemExit({code})"]) == code
    assert message in capsys.readouterr().out


def test_an_unreachable_database_is_printed_and_is_no_error(capsys):
    assert audit([sys.executable, "-c", "raise OSError('no route')"]) == 0
    output = capsys.readouterr().out
    assert "NOT CHECKED" in output
    assert "no route" in output
    assert audit([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2) == 0
    assert "NOT CHECKED" in capsys.readouterr().out
