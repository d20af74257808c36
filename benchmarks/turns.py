"""What benchmarks share: peers do equal work, take turns, and the first is held against each other."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from scipy import stats

from experiments.evidence import commit
from nnjax.runtime.environment import environment
from nnjax.storage import write_record

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Place:
    """The flags of every benchmark that trains."""

    dataset: str = "mnist"
    """A 28x28 data set."""
    output: Path | None = None
    """Where the record goes; by default where the committed one is."""


@dataclass(frozen=True)
class Flags(Place):
    """The flags of a benchmark of peers."""

    rounds: int = 7
    """Epochs counted for each peer, after one that is not."""


def circumstances() -> dict[str, Any]:
    """By which commit, and on what, a record is made."""
    return {"commit": commit(), **environment()}


def equal_work(make: Mapping[str, Callable[[int], Any]], seeds: int = 5, epochs: int = 3) -> dict[str, Any]:
    """The right test images of each peer's networks after some epochs, a network for each seed.

    Raises:
      RuntimeError: a peer's are not those of the first peer (Welch's test, one in a thousand).
    """

    def trained(peer):
        for _ in range(epochs):
            peer()
        return peer.correct()

    # One at a time, for each holds the images as floats.
    right = {name: [trained(of_seed(seed)) for seed in range(seeds)] for name, of_seed in make.items()}
    first, *others = right
    for name in others:
        _, chance = np.asarray(stats.ttest_ind(right[first], right[name], equal_var=False))
        if chance < 1e-3:
            told = f"{right[name]} right, not {right[first]}"
            raise RuntimeError(f"{name} does other work than {first}: {told}")
    return right


def compare(peers: Mapping[str, Any], rounds: int, dataset: str) -> dict[str, Any]:
    """Time an epoch of every peer in turn, `rounds` times, after one that may compile.

    A machine that drifts drifts for all: the ratio, the first peer's time in each other's, is
    taken round by round, and its median told.
    """
    for peer in peers.values():
        peer()
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            seconds[name].append(peer())

    ours = next(iter(seconds.values()))
    return {
        "rounds": rounds,
        "dataset": dataset,
        **circumstances(),
        "peers": [
            {
                "name": name,
                "median": statistics.median(taken),
                "seconds": taken,
                "ratio": statistics.median(a / b for a, b in zip(ours, taken, strict=True)),
                "test_correct": peers[name].correct(),
            }
            for name, taken in seconds.items()
        ],
    }


def main(run: Any, name: str, about: str | None) -> None:
    """The command line of a benchmark: run, print the table, write the record."""
    flags = tyro.cli(Flags, description=about)
    record = run(flags)
    print(f"{'':42} {'s/epoch':>8} {'ratio':>7} {'right':>6}")
    for p in record["peers"]:
        print(f"{p['name']:42} {p['median']:8.3f} {p['ratio']:7.2f} {p['test_correct']:6}")
    write(record, name, flags.output)


def write(record: dict[str, Any], name: str, output: Path | None) -> Path:
    """Write the record to `output`, or where the committed one is; returns its folder."""
    path = output or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, record)
    return path.parent
