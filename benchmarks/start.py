"""What `nnjax train` costs from shell to prompt: seconds, where they go, and memory.

python -m benchmarks.start                      # about 2 minutes on 2 quiet cores
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import tyro

from benchmarks.turns import circumstances, write

TRAIN = """
import json, resource, sys
from nnjax.cli import main
code = main(["train", "--dataset", "mnist", "--epochs", sys.argv[1]])
print(json.dumps([code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000]))
"""
# What `train --epochs 1` does, part by part, and the time after each.
PARTS = """
import json, sys, time
marks = [time.time()]
import jax, optax
marks.append(time.time())
from nnjax.cli import main
import nnjax
marks.append(time.time())
data = nnjax.load("mnist")
marks.append(time.time())
init_key, fit_key = jax.random.split(jax.random.key(0))
params = nnjax.init(init_key, (784, 30, 10))
run = nnjax.fit(fit_key, params, data, epochs=1, learning_rate=3.0, stop_on_nan=True, locate_nan=True)
marks.append(time.time())
nnjax.save(sys.argv[1], run.params, nnjax.Objective(), data)
marks.append(time.time())
print(json.dumps([marks, float(run.history.seconds.sum())]))
"""
AROUND = "compiled programs from the cache, evaluating"
NAMES = (
    *("starting Python", "importing jax and optax", "importing the rest", "loading MNIST"),
    *(AROUND, "keeping the model", "ending"),
)
CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@dataclass(frozen=True)
class Flags:
    """The flags of this benchmark."""

    rounds: int = 5
    """Counted runs, after one that warms the caches."""
    output: Path | None = None
    """Where the record goes; by default where the committed one is."""


def run(flags: Flags) -> dict[str, Any]:
    """Time whole processes; the compilation cache is a new one, warmed by the first."""
    with tempfile.TemporaryDirectory() as folder:
        home = {"XDG_CACHE_HOME": folder, "XDG_DATA_HOME": folder}
        trained = {
            epochs: [_process(TRAIN, str(epochs), **home) for _ in range(flags.rounds + 1)]
            for epochs in (30, 1)
        }
        cache = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/parts"} | CACHE
        parted = [_parts(f"{folder}/model.safetensors", cache) for _ in range(flags.rounds + 1)][1:]
    results = [json.loads(told) for told, *_ in (*trained[30], *trained[1])]
    if any(code for code, _ in results):
        raise RuntimeError("nnjax train failed")

    def median(epochs):
        return statistics.median(ended - began for _, began, ended in trained[epochs][1:])

    return {
        "rounds": flags.rounds,
        **circumstances(),
        "cold_train_seconds": trained[30][0][2] - trained[30][0][1],
        "train_seconds": median(30),
        "one_epoch_seconds": median(1),
        "parts": {name: statistics.median(one[name] for one in parted) for name in parted[0]},
        "peak_megabytes": max(megabytes for _, megabytes in results),
    }


def _parts(model: str, cache: dict[str, str]) -> dict[str, float]:
    """The seconds of each part of a training of one epoch, kept in a file."""
    told, began, ended = _process(PARTS, model, **cache)
    marks, training = json.loads(told)
    marks = [began, *marks, ended]
    parts = dict(zip(NAMES, (after - before for before, after in pairwise(marks)), strict=True))
    parts[AROUND] -= training
    return parts | {"training": training}


def _process(code: str, *arguments: str, **more: str) -> tuple[str, float, float]:
    """The last line that a Python process prints, and when it began and ended."""
    began = time.time()
    out = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=True,
    )
    return out.stdout.splitlines()[-1], began, time.time()


def main() -> None:
    """Run, print, write the record."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    print(json.dumps({k: v for k, v in record.items() if isinstance(v, float | dict)}, indent=1))
    write(record, "start", flags.output)


if __name__ == "__main__":
    main()
