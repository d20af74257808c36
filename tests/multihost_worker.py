"""A process for `test_processes.py`, that trains with others in double precision.

`python tests/joined.py PORT PROCESSES ID FOLDER EPOCHS [WRONG]` keeps the training in FOLDER; process 0
writes what came of it into FOLDER/result.npz. Process WRONG raises after its second epoch.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from nnjax.runtime.multihost import connect
from nnjax.runtime.sharding import to_numpy

KEY = jax.random.key


def trained(folder, epochs, mesh=None, tell=None):
    """100 steps an epoch; the mini-batches of 12 divide among 2 and 4 processes, the last of 4 too."""
    digits = nnjax.load("digits")
    params = nnjax.init(KEY(0), (64, 30, 10))
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
    checkpoint = folder and nnjax.CheckpointPolicy(folder / "kept", every_seconds=3600, every_epochs=1)
    settings = {"learning_rate": 0.5, "batch_size": 12, "epochs": epochs}
    return nnjax.fit(KEY(1), params, digits, mesh=mesh, checkpoint=checkpoint, callback=tell, **settings)


def numbers(run):
    return [to_numpy(leaf) for leaf in (*jax.tree.leaves(run.params), run.history.test_correct)]


if __name__ == "__main__":
    port, processes, identity, folder, epochs, *wrong = sys.argv[1:]
    connect(f"127.0.0.1:{port}", int(processes), int(identity), heartbeat=10)
    jax.config.update("jax_enable_x64", True)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))

    def tell(run):
        print(len(run.history), flush=True)
        if wrong == [identity] and len(run.history) == 2:
            raise RuntimeError("this process alone is wrong")

    run = trained(Path(folder), int(epochs), mesh, tell)
    if jax.process_index() == 0:
        np.savez(Path(folder) / "result.npz", *numbers(run))
