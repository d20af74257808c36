"""Seconds per epoch of `fit` and of peers, measured in the same run.

    python -m benchmarks.epoch                      # about 6 minutes on 2 idle cores
    python -m benchmarks.epoch --rounds 3 --output /tmp/epoch.json

Libraries that are not installed are left out, and C without a compiler. Every peer does the same work: one
shuffled epoch of plain SGD on 50,000 images. Before anything is timed, the test accuracy of each peer after
three epochs is compared with that of `fit`, over several seeds.
"""

from importlib.metadata import version

import nnjax
from benchmarks import libraries, peers
from benchmarks.harness import Flags, Record, check_equivalent, main, time_peers

PEERS: dict[str, type[peers.Peer]] = {
    "nnjax `fit`": peers.Fit,
    "JAX, one jitted call per step": peers.JittedStep,
    "NumPy, mini-batches": peers.NumpyBatches,
    "NumPy, mini-batches, float32": peers.NumpyFloat32,
    "the book's loop": peers.BookLoop,
    "Equinox": libraries.Equinox,
    "Flax NNX": libraries.Flax,
    "PyTorch, compiled": libraries.CompiledTorch,
    "PyTorch, eager": libraries.Torch,
    "C, one thread": libraries.CReference,
    "C, one thread, without zero pixels": libraries.CNonzero,
}


def run(flags: Flags) -> Record:
    """Checks that the peers do equal work, then times their epochs."""
    data = nnjax.load(flags.dataset)
    available = {name: peer for name, peer in PEERS.items() if peer.is_available()}
    counts = check_equivalent(
        {name: lambda seed, peer=peer: peer(seed, data) for name, peer in available.items()}
    )
    record = time_peers({name: peer(0, data) for name, peer in available.items()}, flags.rounds, data)
    versions = {peer.package: version(peer.package) for peer in available.values() if peer.package}
    return record | {"libraries": versions, "test_correct_after_3_epochs": counts}


if __name__ == "__main__":
    main(run, "epoch", __doc__)
