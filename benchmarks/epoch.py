"""Seconds an epoch of `fit`, beside peers measured in the same run.

    python -m benchmarks.epoch                      # about 6 minutes on 2 quiet cores
    python -m benchmarks.epoch --rounds 3 --output /tmp/epoch.json

Libraries take part where they are installed, C where there is a compiler. Every peer does the same
work, one shuffled epoch of plain SGD on 50,000 images: before a time counts, the test images that
networks of several seeds read after three epochs are held against those of `fit`.
"""

from importlib.metadata import version
from typing import Any

import nnjax
from benchmarks import libraries, peers
from benchmarks.turns import Flags, compare, equal_work, main

PEERS: dict[str, type[peers.Peer]] = {
    "nnjax `fit`": peers.Fit,
    "JAX, one jitted call a step": peers.JittedStep,
    "NumPy by mini-batches": peers.NumpyBatches,
    "NumPy by mini-batches, float32": peers.NumpySingle,
    "the book's loop": peers.BookLoop,
    "Equinox": libraries.Equinox,
    "Flax NNX": libraries.Flax,
    "PyTorch, compiled": libraries.CompiledTorch,
    "PyTorch, eager": libraries.Torch,
    "C, one thread": libraries.Reference,
}


def run(flags: Flags) -> dict[str, Any]:
    """See that the peers' work is equal, then time their epochs in turn."""
    data = nnjax.load(flags.dataset)
    chosen = {name: make for name, make in PEERS.items() if make.can_run()}
    right = equal_work({name: lambda seed, make=make: make(seed, data) for name, make in chosen.items()})
    record = compare({name: make(0, data) for name, make in chosen.items()}, flags.rounds, data.name)
    versions = {make.package: version(make.package) for make in chosen.values() if make.package}
    return record | {"libraries": versions, "right_after_three_epochs": right}


if __name__ == "__main__":
    main(run, "epoch", __doc__)
