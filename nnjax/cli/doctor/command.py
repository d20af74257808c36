"""`nnjax doctor`."""

from collections.abc import Iterator
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

from rich.console import Console

from nnjax.cli.console import console

FOUND = 1
UNITS = {"mb": "MB", "gb": "GB", "s": "s", "us": "µs"}


@dataclass
class Doctor:
    """Tell what nnjax runs on and what looks wrong (exit code 1), fit for pasting into a bug report."""

    json: bool = False
    """Print the same as JSON."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""

    def run(self) -> int:
        from nnjax.cli.doctor import examine

        with Console(stderr=True).status("looking around, for about five seconds"):
            facts = examine(self.data_dir)
        if self.json:
            print(dumps(facts, indent=1))
        else:
            console.print("\n".join(_lines(facts)), markup=False, emoji=False)
        return FOUND if facts["findings"] else 0


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    """The facts as text: a section's name, and its facts below it."""
    *sections, (_, findings) = facts.items()
    for section, told in sections:
        yield section if told else f"{section}: none"
        rows = [_in_words(name, value) for name, value in told.items()]
        width = min(max((len(name) for name, _ in rows), default=0), 24)
        yield from (f"  {name:{width}}  {value}" for name, value in rows)
    yield "what looks wrong"
    yield from (f"  - {finding}" for finding in findings or ["nothing"])


def _in_words(name: str, value: Any) -> tuple[str, str]:
    """A fact's name and value for people: the unit that ends its name goes to the value."""
    rest, _, unit = name.rpartition("_")
    if unit in UNITS:
        name, ending = rest, f" {UNITS[unit]}"
    else:
        ending = ""
    match value:
        case dict():
            told = ", ".join(" ".join(_in_words(*one)) for one in value.items())
        case list():
            told = ", ".join(map(str, value))
        case bool():
            told = "yes" if value else "no"
        case _:
            told = "" if value is None else str(value)
    return name, told + ending if told else "–"
