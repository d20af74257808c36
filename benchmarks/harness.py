"""Shared by the benchmarks: flags, records, the check that programs do equal work, alternating rounds."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from scipy import stats
from tyro.conf import arg

import nnjax
from nnjax.runtime import environment, git_commit
from nnjax.storage import write_record

RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]

# The pause before each measurement, because some libraries keep their threads busy after their last task.
PAUSE_SECONDS = 1.0

# The first epoch of a peer that is faster does not count: its data are not in the caches, as in a training.
WARM_UP_SECONDS = 1.0

MIN_P_VALUE = 1e-3  # of the test that two programs reach the same accuracy


@dataclass(frozen=True)
class OutputFlags:
    """The flags of every benchmark."""

    dataset: str = "mnist"
    """Data set with images of 28x28 pixels."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """JSON file for the record (default: benchmarks/results/NAME.json)."""


@dataclass(frozen=True)
class Flags(OutputFlags):
    """The flags of a benchmark that measures in rounds."""

    rounds: int = 7
    """Number of measured rounds, after one warm-up round."""


def provenance() -> Record:
    """The commit, versions and machine of a record."""
    return {"commit": git_commit(RESULTS.parents[1]), **environment()}


def check_equivalent(
    peers: Mapping[str, Callable[[int], Any]], seeds: int = 5, epochs: int = 3
) -> dict[str, list[int]]:
    """The correct test predictions of every peer after a few epochs, one count per seed.

    Args:
      peers: by name, a function that makes a peer from a seed.
      seeds: networks per peer.
      epochs: epochs of each network.

    Raises:
      RuntimeError: the counts of a peer differ from those of the first peer (Welch's t-test, p < 0.001).
    """

    def count_correct(make, seed):
        peer = make(seed)
        for _ in range(epochs):
            peer()
        return peer.correct()

    # One peer at a time, because each holds the images as floats.
    counts = {name: [count_correct(make, seed) for seed in range(seeds)] for name, make in peers.items()}
    first, *others = counts
    for name in others:
        _, p_value = np.asarray(stats.ttest_ind(counts[first], counts[name], equal_var=False))
        if p_value < MIN_P_VALUE:
            raise RuntimeError(
                f"{name} must do the same work as {first}, got {counts[name]} correct test predictions "
                f"instead of {counts[first]}"
            )
    return counts


def time_peers(peers: Mapping[str, Any], rounds: int, data: nnjax.Dataset) -> Record:
    """The seconds of an epoch of every peer, measured in alternating rounds.

    Every peer runs once in each round, so a change in the machine's speed affects all of them. `ratio` is
    the first peer's time divided by this peer's: the median over the rounds.

    Args:
      peers: by name; each call trains one epoch and returns its seconds.
      rounds: measured rounds, after one in which the peers may compile.
      data: the data set that the peers train on.
    """
    for peer in peers.values():
        peer()
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            time.sleep(PAUSE_SECONDS)
            measured = peer()
            seconds[name].append(peer() if measured < WARM_UP_SECONDS else measured)

    first = next(iter(seconds.values()))
    return {
        "rounds": rounds,
        "dataset": data.name,
        "num_test": len(data.test.targets),
        **provenance(),
        "peers": [
            {
                "name": name,
                "median": statistics.median(times),
                "seconds": times,
                "ratio": statistics.median(a / b for a, b in zip(first, times, strict=True)),
                "test_correct": peers[name].correct(),
            }
            for name, times in seconds.items()
        ],
    }


def main(run: Callable[[Flags], Record], name: str, description: str | None) -> None:
    """The command line of a benchmark of peers: runs it, prints a table and writes the record."""
    flags = tyro.cli(Flags, description=description)
    record = run(flags)
    print(f"{'':42} {'s/epoch':>8} {'ratio':>7} {'correct':>8}")
    for peer in record["peers"]:
        print(f"{peer['name']:42} {peer['median']:8.3f} {peer['ratio']:7.2f} {peer['test_correct']:8}")
    write_result(record, name, flags.output)


def main_of_cases(run: Callable[[Flags], Record], name: str, description: str | None) -> None:
    """The command line of a benchmark of cases: runs it, prints its cases and writes the record."""
    flags = tyro.cli(Flags, description=description)
    record = run(flags)
    for case in record["cases"]:
        print(json.dumps(case))
    write_result(record, name, flags.output)


def run_python(code: str, *arguments: str, **environ: str) -> str:
    """The last line that a new Python process prints.

    Raises:
      RuntimeError: the process failed.
    """
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a benchmark's process failed: {done.stderr}")
    return done.stdout.splitlines()[-1]


def write_result(record: Record, name: str, output: Path | None) -> Path:
    """Writes a record to `output`, or to the committed results if it is None; returns the directory."""
    path = output or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, record)
    return path.parent
