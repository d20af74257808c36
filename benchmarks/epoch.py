"""Seconds an epoch of `fit`, beside peers measured in the same run.

    python -m benchmarks.epoch                      # about 5 minutes on 2 quiet cores
    python -m benchmarks.epoch --rounds 3 --output /tmp/epoch.json

The peers take turns, an epoch each, so that a machine that drifts drifts for all; PyTorch takes
part where it is installed. Every peer does the same work (one shuffled epoch of plain SGD on
50,000 images), which the right answers after the last round show.
"""

import importlib.util
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import nnjax
from benchmarks import peers
from experiments.evidence import commit
from nnjax.runs import environment, write_record

PEERS: dict[str, type[peers.Peer]] = {
    "nnjax `fit`": peers.Fit,
    "JAX, one jitted call a step": peers.JittedStep,
    "NumPy by mini-batches": peers.NumpyBatches,
    "NumPy by mini-batches, float32": peers.NumpySingle,
    "the book's loop": peers.BookLoop,
    "PyTorch, compiled": peers.CompiledTorch,
    "PyTorch, eager": peers.Torch,
}


@dataclass(frozen=True)
class Flags:
    """The flags of this benchmark."""

    rounds: int = 7
    """Epochs counted for each peer, after one that is not."""
    dataset: str = "mnist"
    """A 28x28 data set."""
    output: Path = Path(__file__).parent / "results" / "epoch.json"
    """Where the record goes."""


def run(flags: Flags) -> dict[str, Any]:
    """Time every peer's epochs in turn."""
    data = nnjax.load(flags.dataset)
    with_torch = importlib.util.find_spec("torch") is not None
    chosen = {name: make for name, make in PEERS.items() if with_torch or "PyTorch" not in name}
    made = {name: make(0, data) for name, make in chosen.items()}

    first = {}
    for name, peer in made.items():
        began = time.perf_counter()
        peer()
        first[name] = time.perf_counter() - began
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(flags.rounds):
        for name, peer in made.items():
            seconds[name].append(peer())

    ours = seconds["nnjax `fit`"]
    return {
        "rounds": flags.rounds,
        "dataset": data.name,
        "commit": commit(),
        **environment(),
        "torch": _torch_version() if with_torch else None,
        "peers": [
            {
                "name": name,
                "median": statistics.median(taken),
                "seconds": taken,
                "ratio": statistics.median(a / b for a, b in zip(ours, taken, strict=True)),
                "first": first[name],
                "test_correct": made[name].correct(),
            }
            for name, taken in seconds.items()
        ],
    }


def _torch_version() -> str:
    import torch  # pyright: ignore[reportMissingImports]

    return torch.__version__


def main() -> None:
    """Run, print the table, write the record."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    print(f"{'':31} {'s/epoch':>8} {'fit/peer':>9} {'first':>7} {'right':>6}")
    for p in record["peers"]:
        print(f"{p['name']:31} {p['median']:8.3f} {p['ratio']:9.2f} {p['first']:7.1f} {p['test_correct']:6}")
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    write_record(flags.output, record)


if __name__ == "__main__":
    main()
