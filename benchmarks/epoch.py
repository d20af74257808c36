"""Seconds an epoch of `fit`, beside peers measured in the same run.

    python -m benchmarks.epoch                      # about 5 minutes on 2 quiet cores
    python -m benchmarks.epoch --rounds 3 --output /tmp/epoch.json

PyTorch takes part where it is installed. Every peer does the same work (one shuffled epoch of
plain SGD on 50,000 images), which the right answers after the last round show.
"""

import importlib.util
from typing import Any

import nnjax
from benchmarks import peers
from benchmarks.turns import Flags, compare, main

PEERS: dict[str, type[peers.Peer]] = {
    "nnjax `fit`": peers.Fit,
    "JAX, one jitted call a step": peers.JittedStep,
    "NumPy by mini-batches": peers.NumpyBatches,
    "NumPy by mini-batches, float32": peers.NumpySingle,
    "the book's loop": peers.BookLoop,
    "PyTorch, compiled": peers.CompiledTorch,
    "PyTorch, eager": peers.Torch,
}


def run(flags: Flags) -> dict[str, Any]:
    """Time every peer's epochs in turn."""
    data = nnjax.load(flags.dataset)
    with_torch = importlib.util.find_spec("torch") is not None
    chosen = {name: make for name, make in PEERS.items() if with_torch or "PyTorch" not in name}
    record = compare({name: make(0, data) for name, make in chosen.items()}, flags.rounds, data.name)
    return record | {"torch": _torch_version() if with_torch else None}


def _torch_version() -> str:
    import torch  # pyright: ignore[reportMissingImports]

    return torch.__version__


if __name__ == "__main__":
    main(run, "epoch", __doc__)
