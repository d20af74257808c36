"""Check the installed packages for known vulnerabilities with pip-audit, and report what was not checked.

The exit code is 1 if a vulnerability is known. It is 0 if the database of vulnerabilities cannot be reached.
pip-audit alone reports "no known vulnerabilities" even if the package index knows none of the packages.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

TIMEOUT_S = 30.0
IGNORED = ("pip", "setuptools")  # installed by the virtual environment, not required by nnjax
COMMAND = ("-m", "pip_audit", "--format=json", "--progress-spinner=off", "--timeout=5", "--skip-editable")


def audit(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> int:
    """Runs pip-audit, prints the known vulnerabilities and returns the exit code."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        packages = json.loads(process.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"audit: NOT CHECKED: pip-audit did not finish within {timeout_s:g} s")
        return 0
    except (ValueError, LookupError):
        messages = process.stderr.strip().splitlines() or ["pip-audit printed no message"]
        print(f"audit: NOT CHECKED: the vulnerability database cannot be reached ({messages[-1][:200]})")
        return 0
    packages = [package for package in packages if package["name"] not in IGNORED]
    unknown = [package["name"] for package in packages if "vulns" not in package]
    vulnerabilities = [(package, vuln) for package in packages for vuln in package.get("vulns", ())]
    for package, vuln in vulnerabilities:
        fixed = ", ".join(vuln["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {vuln['id']} (fixed in: {fixed})")
    num_checked = len(packages) - len(unknown)
    print(f"audit: {num_checked} packages checked, {len(vulnerabilities)} known vulnerabilities")
    if unknown:
        print(f"audit: NOT CHECKED, because the package index does not know them: {', '.join(unknown)}")
    return 1 if vulnerabilities else 0


if __name__ == "__main__":
    sys.exit(audit([sys.executable, *COMMAND]))
