"""What every experiment shares: its flags, its record, and where both record and figure go."""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnjax.runs import environment, write_record

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Flags:
    """The flags that every experiment takes."""

    dataset: str = "mnist"
    """mnist, fashion_mnist, kmnist, digits or auto."""
    seeds: int = 20
    """Networks trained for each setting."""
    epochs: int = 30
    """Epochs of each."""
    output: Path = RESULTS
    """The folder for record and figure; the default is the committed one."""


def new_record(flags: Flags, dataset: str) -> dict[str, Any]:
    """The part of a record that says how it was made: settings, commit, versions, machine."""
    settings = {k: v for k, v in asdict(flags).items() if k != "output"} | {"dataset": dataset}
    return {"settings": settings, "commit": commit(), **environment()}


def commit() -> str:
    """The commit of this clone, marked where files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


def write(name: str, folder: Path, record: dict[str, Any], figure: Any) -> None:
    """Write the record as JSON, and its figure as PNG and SVG, into `folder`."""
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = name  # the same record, the same file
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / f"{name}.json", record)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"{name}.{kind}", dpi=150, metadata={"Date": None} if kind == "svg" else None)


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """The record of an earlier run."""
    return json.loads((folder / f"{name}.json").read_text())
