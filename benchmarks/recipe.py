"""What `nnjax train --recipe best-cpu` reads, and what it takes from shell to prompt.

python -m benchmarks.recipe                      # about 8 minutes on 2 quiet cores
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.turns import Place, circumstances, write


@dataclass(frozen=True)
class Flags(Place):
    """The flags of this benchmark."""

    recipe: str = "best-cpu"
    """A recipe of `nnjax train`."""
    seeds: int = 5
    """Trainings, each from seeds of its own; the first also compiles."""
    epochs: int | None = None
    """Of each; by default what the recipe says."""


def run(flags: Flags) -> dict[str, Any]:
    """Train in processes of their own, one after another; the compilation cache is a new one."""
    with tempfile.TemporaryDirectory() as folder:
        trained = [_trained(flags, seed, Path(folder)) for seed in range(flags.seeds)]
    return {"recipe": flags.recipe, "dataset": flags.dataset, **circumstances(), "trained": trained}


def _trained(flags: Flags, seed: int, folder: Path) -> dict[str, Any]:
    """The seconds of a training, from shell to prompt and of its epochs alone, and what it reads."""
    epochs = [] if flags.epochs is None else ["--epochs", str(flags.epochs)]
    options = "--recipe", flags.recipe, "--dataset", flags.dataset, "--seed", str(seed), *epochs
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "nnjax", "train", *options, "--json", folder / "record.json"],
        env=os.environ | {"XDG_CACHE_HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        check=True,
    )
    seconds = time.perf_counter() - began
    history = json.loads((folder / "record.json").read_text())["history"]
    last = {name: history[name][-1] for name in ("validation_correct", "test_correct")}
    return {"seed": seed, "seconds": seconds, "training_seconds": sum(history["seconds"]), **last}


def main() -> None:
    """Run, print, write the record."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    for one in record["trained"]:
        print(one)
    write(record, "recipe", flags.output)


if __name__ == "__main__":
    main()
