"""What `nnjax train` costs from shell to prompt: seconds and memory, and what the import adds.

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
from pathlib import Path
from typing import Any

import tyro

from experiments.evidence import commit
from nnjax.runs import environment, write_record

TRAIN = """
import json, resource, sys, time
from nnjax.cli import main
code = main(["train", "--dataset", "mnist"])
print(json.dumps([code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000]))
"""
IMPORT = """
import time
began = time.perf_counter()
import jax, optax
ready = time.perf_counter()
import nnjax
print(time.perf_counter() - ready)
"""


@dataclass(frozen=True)
class Flags:
    """The flags of this benchmark."""

    rounds: int = 5
    """Counted runs, after one that warms the caches."""
    output: Path = Path(__file__).parent / "results" / "start.json"
    """Where the record goes."""


def run(flags: Flags) -> dict[str, Any]:
    """Time whole processes; the compilation cache is a new one, warmed by the first."""
    with tempfile.TemporaryDirectory() as folder:
        trained = [_process(TRAIN, folder) for _ in range(flags.rounds + 1)]
    imported = [float(_process(IMPORT)[1]) for _ in range(flags.rounds + 1)]
    results = [json.loads(last) for _, last in trained]
    if any(code for code, _ in results):
        raise RuntimeError("nnjax train failed")
    return {
        "rounds": flags.rounds,
        "commit": commit(),
        **environment(),
        "cold_train_seconds": trained[0][0],
        "train_seconds": statistics.median(seconds for seconds, _ in trained[1:]),
        "peak_megabytes": max(megabytes for _, megabytes in results),
        "import_seconds": statistics.median(imported[1:]),
    }


def _process(code: str, cache: str | None = None) -> tuple[float, str]:
    """Seconds of a Python process, and the last line that it prints."""
    more = {"XDG_CACHE_HOME": cache} if cache else {}
    began = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | more, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - began, out.stdout.splitlines()[-1]


def main() -> None:
    """Run, print, write the record."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    print({k: v for k, v in record.items() if isinstance(v, float)})
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    write_record(flags.output, record)


if __name__ == "__main__":
    main()
