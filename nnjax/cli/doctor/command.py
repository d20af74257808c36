"""The command `nnjax doctor`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from nnjax.cli._flags import DataDir
from nnjax.cli._runtime_flags import Switch
from nnjax.cli.console import console
from nnjax.cli.doctor.report import examine

EXIT_FINDINGS = 1
MAX_NAME_WIDTH = 24  # characters; longer names, such as XLA flags, are not aligned


@dataclass
class Doctor:
    """Check versions, settings, devices, data and speed; the exit code is 1 if there is a problem."""

    json: Switch = False
    """Print the report as JSON on standard output."""
    data_dir: DataDir = None
    """Directory of the data sets."""

    def run(self) -> int:
        """Prints the report and returns the exit code."""
        with Console(stderr=True).status("examining this machine: about 10 s"):
            report = examine(self.data_dir)
        if self.json:
            print(json.dumps(report, indent=1))
        else:
            console.print("\n".join(_lines(report)), markup=False, emoji=False)
        return EXIT_FINDINGS if report["findings"] else 0


def _lines(report: dict[str, Any]) -> Iterator[str]:
    """The lines of the report as text: each section's name, then its facts."""
    for section, facts in report.items():
        yield section if facts else f"{section}: none"
        if section == "findings":
            yield from (f"  - {finding}" for finding in facts)
            continue
        width = min(max(map(len, facts), default=0), MAX_NAME_WIDTH)
        yield from (f"  {name:{width}}  {_format(value)}" for name, value in facts.items())


def _format(value: Any) -> str:
    """A JSON value as text."""
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return _format([f"{name} {_format(item)}" for name, item in value.items()])
        case list():
            return ", ".join(map(str, value)) or "none"
        case None:
            return "none"
        case _:
            return str(value)
