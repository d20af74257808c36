"""The test accuracy and the wall time of `nnjax train` with the named configurations for CPUs.

python -m benchmarks.config                    # about 12 minutes on 2 idle cores
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

import nnjax
from benchmarks.harness import OutputFlags, Record, provenance, write_result


@dataclass(frozen=True)
class Flags(OutputFlags):
    """The flags of this benchmark."""

    configs: tuple[str, ...] = ("fast-cpu", "best-cpu")
    """Configurations to train, as for `nnjax train --config`."""
    seeds: int = 10
    """Number of trainings of each, with the seeds 0, 1, ...; the first one also compiles."""
    epochs: int | None = None
    """Number of epochs of each training; by default that of the configuration."""


def run(flags: Flags) -> Record:
    """Trains in one process after another; they share a compilation cache that is empty at first."""
    num_test = len(nnjax.load(flags.dataset).test.targets)
    with tempfile.TemporaryDirectory() as directory:
        runs = {
            config: [_train(flags, config, seed, Path(directory)) for seed in range(flags.seeds)]
            for config in flags.configs
        }
    return {"dataset": flags.dataset, "num_test": num_test, **provenance(), "runs": runs}


def _train(flags: Flags, config: str, seed: int, directory: Path) -> Record:
    """The wall time of one command, the seconds of its epochs alone, and its final counts."""
    epochs = [] if flags.epochs is None else ["--epochs", str(flags.epochs)]
    options = ["--config", config, "--dataset", flags.dataset, "--seed", str(seed), *epochs]
    record = directory / "record.json"
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "nnjax", "train", *options, "--record", record],
        env=os.environ | {"XDG_CACHE_HOME": str(directory), "XDG_DATA_HOME": str(directory)},
        check=True,
    )
    seconds = time.perf_counter() - start
    history = json.loads(record.read_text())["history"]
    counts = {name: history[name][-1] for name in ("validation_correct", "test_correct")}
    return {"seed": seed, "seconds": seconds, "training_seconds": sum(history["seconds"]), **counts}


def main() -> None:
    """Runs the benchmark, prints each training and writes the record."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    for config, trainings in record["runs"].items():
        print(config, *trainings, sep="\n")
    write_result(record, "config", flags.output)


if __name__ == "__main__":
    main()
