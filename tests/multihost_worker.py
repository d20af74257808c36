"""A process of `test_multihost.py`, which trains with others in double precision.

`python tests/multihost_worker.py PORT NUM_PROCESSES ID DIRECTORY EPOCHS [FAILING]` saves the training in
DIRECTORY, and process 0 writes the results to DIRECTORY/result.npz. Process FAILING raises an error after its
second epoch.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from nnjax.runtime.multihost import allgather_str, any_process, broadcast_from_primary, connect
from nnjax.runtime.sharding import to_numpy

KEY = jax.random.key


def train(directory, epochs, mesh=None, report=None):
    """About 100 steps per epoch; neither 3 processes nor 2 divide all mini-batches, of 12 and of 4."""
    digits = nnjax.load("digits")
    params = nnjax.init(KEY(0), (64, 30, 10))
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
    checkpoint = directory and nnjax.CheckpointPolicy(directory / "checkpoints", every_seconds=3600, every=1)
    settings = {"learning_rate": 0.5, "batch_size": 12, "epochs": epochs}
    return nnjax.fit(KEY(1), params, digits, mesh=mesh, checkpoint=checkpoint, callback=report, **settings)


def results(run):
    return [to_numpy(leaf) for leaf in (*jax.tree.leaves(run.params), run.history.test_correct)]


def check_communication():
    """Asserts that all processes get the same answers from the functions of `multihost`."""
    process, last = jax.process_index(), jax.process_count() - 1
    assert allgather_str("é" * process) == ["é" * i for i in range(last + 1)]
    assert any_process(process == last)
    assert not any_process(False)
    np.testing.assert_array_equal(broadcast_from_primary(np.array([process, 7])), [0, 7])
    assert broadcast_from_primary(np.array(process + 3, np.int32)) == 3


if __name__ == "__main__":
    port, num_processes, process_id, directory, epochs, *failing = sys.argv[1:]
    connect(f"127.0.0.1:{port}", int(num_processes), int(process_id), heartbeat_timeout_s=10)
    check_communication()
    jax.config.update("jax_enable_x64", True)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))

    def report(run):
        print(len(run.history), flush=True)
        if failing == [process_id] and len(run.history) == 2:
            raise RuntimeError("this process alone fails")

    run = train(Path(directory), int(epochs), mesh, report)
    if jax.process_index() == 0:
        np.savez(Path(directory) / "result.npz", *results(run))
