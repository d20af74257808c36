"""Check the installed packages for known vulnerabilities, by pip-audit, and say what could not be checked.

Exit code 1 where a vulnerability is known, else 0: also where the data on them is out of reach. pip-audit
alone finds "no known vulnerabilities" where an index does not know a single package.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

SECONDS = 30.0
BROUGHT = ("pip", "setuptools")  # by the virtual environment: no package of ours needs them
COMMAND = ("-m", "pip_audit", "--format=json", "--progress-spinner=off", "--timeout=5", "--skip-editable")


def audit(command: Sequence[str], seconds: float = SECONDS) -> int:
    """Run pip-audit, tell what it found, and return the exit code."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        packages = json.loads(run.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"audit: NOT CHECKED: the data on vulnerabilities did not come within {seconds:g} s")
        return 0
    except (ValueError, LookupError):
        told = run.stderr.strip().splitlines() or ["pip-audit says nothing"]
        print(f"audit: NOT CHECKED: the data on vulnerabilities is out of reach ({told[-1][:200]})")
        return 0
    packages = [package for package in packages if package["name"] not in BROUGHT]
    unknown = [package["name"] for package in packages if "vulns" not in package]
    found = [(package, one) for package in packages for one in package.get("vulns", ())]
    for package, one in found:
        mended = ", ".join(one["fix_versions"]) or "none yet"
        print(f"audit: {package['name']} {package['version']}: {one['id']} (mended in: {mended})")
    print(f"audit: {len(packages) - len(unknown)} packages checked, {len(found)} known vulnerabilities")
    if unknown:
        print(f"audit: NOT CHECKED, as the index does not know them: {', '.join(unknown)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(audit([sys.executable, *COMMAND]))
