"""Every measurement for accelerators, as the parts of one record.

    python -m benchmarks.throughput                 # on a GPU, for docs/speed.md
    python -m benchmarks.throughput --parts ladder compare
    python -m benchmarks.throughput --quick --output /tmp/throughput.json

The parts:

- epochs: networks × epochs per second for 1 to 10,000 networks, with several methods and precisions.
- sweep: a sweep of 1,000 networks and 30 epochs as a whole.
- compare: `nnjax compare` for one optimizer on the quick suite, with an empty compilation cache.
- time_to_accuracy: trainings until 99 % validation accuracy and more, with the settings in
  benchmarks/results/time_to_accuracy.json.
- ladder: the best single network and the best ensemble in experiments/results/ladder.json.

The record is written after each row of a part. If a part fails, its error message is stored after its rows,
and the next part begins. Parts that are not run keep their previous results.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal, get_args

import numpy as np
import tyro

import nnjax
from benchmarks import gpu_epochs, gpu_training, harness, libraries
from benchmarks.harness import OutputFlags, Record, provenance, write_result
from nnjax.compare.problems import SUITES

Part = Literal["epochs", "sweep", "compare", "time_to_accuracy", "ladder"]
PARTS: tuple[Part, ...] = get_args(Part)
SWEEP_NETWORKS = 1000


@dataclass(frozen=True)
class Flags(OutputFlags):
    """The flags of this benchmark."""

    parts: tuple[Part, ...] = PARTS
    """The parts to run."""
    max_networks: int = 10_000
    """Largest number of networks in one program, and in the sweep."""
    rounds: int = 3
    """Number of measured epochs per method, after one that compiles, and of runs of `nnjax compare`."""
    seeds: int = 10
    """Number of trainings for each target accuracy."""
    problems: tuple[str, ...] = SUITES["quick"]
    """Names of problems of the quick suite, for `nnjax compare`."""
    quick: bool = False
    """Measure little, with small networks and the embedded digits, only to check that every part runs; needs
    `--output`."""


QUICK = {"max_networks": 3, "rounds": 1, "seeds": 2, "problems": ("quadratic",)}


def enlarged_digits() -> nnjax.Dataset:
    """The embedded digits with 28x28 instead of 8x8 pixels."""
    digits = nnjax.load("digits")
    train, validation, test = (
        (np.pad(np.kron(inputs, np.ones((1, 3, 3), np.uint8)), ((0, 0), (2, 2), (2, 2))), targets)
        for inputs, targets in (digits.train, digits.validation, digits.test)
    )
    return nnjax.Dataset.from_arrays(train, validation, test, name="digits, enlarged")


def make_parts(flags: Flags, data: nnjax.Dataset) -> dict[str, Iterator[Record]]:
    """The rows of each part by its name; a row is measured when it is drawn from the iterator."""
    return {
        "epochs": gpu_epochs.rows(data, flags.max_networks, flags.rounds),
        "sweep": gpu_training.sweep_rows(data, min(flags.max_networks, SWEEP_NETWORKS)),
        "compare": gpu_training.compare_rows(flags.problems, flags.rounds),
        "time_to_accuracy": gpu_training.time_to_accuracy_rows(data, flags.seeds),
        "ladder": gpu_training.ladder_rows(data, gpu_training.QUICK_CONFIG if flags.quick else {}),
    }


def run(flags: Flags) -> None:
    """Measures the parts, and writes the record after each row.

    Raises:
      ValueError: a quick run without `output`, which would replace the committed record.
    """
    if flags.quick and flags.output is None:
        raise ValueError("output must be a file if quick is set, got None")
    flags = replace(flags, **QUICK) if flags.quick else flags
    data = enlarged_digits() if flags.quick else nnjax.load(flags.dataset)
    path, parts = flags.output or harness.RESULTS / "throughput.json", make_parts(flags, data)
    record = json.loads(path.read_text()) if path.exists() else {}
    for name in flags.parts:
        part = record[name] = provenance() | {
            "dataset": data.name,
            "num_test": len(data.test.targets),
            "libraries": {"torch": version("torch")} if libraries.Torch.is_available() else {},
            "rows": [],
            "error": None,
        }
        try:
            for row in parts[name]:
                part["rows"].append(row)
                print(f"{name}: row {len(part['rows'])}", flush=True)
                write_result(record, "throughput", path)
        except Exception as error:
            part["error"] = f"{type(error).__name__}: {error}"
            print(f"{name}: {part['error']}", flush=True)
        write_result(record, "throughput", path)


def main() -> None:
    """Runs the benchmark and writes the record."""
    flags = tyro.cli(Flags, description=__doc__)
    # Otherwise jax reserves most of the device memory, and PyTorch and other processes cannot use it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    run(flags)


if __name__ == "__main__":
    main()
