"""A training for `test_resume.py` to kill: `python tests/killed.py KIND FOLDER` trains and is kept in FOLDER.

It says `ready` when training begins, and writes what came of it into FOLDER/result.npz.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import optax

import nnjax

EPOCHS = 400
DIGITS = nnjax.load("digits")
RATES = {"sgd": 3.0, "adam": 0.003}


def fit(kind, checkpoint, tell):
    params = nnjax.init(jax.random.key(0), (64, 30, 10))
    run = nnjax.fit(
        jax.random.key(1), params, DIGITS, optimizer=getattr(optax, kind), learning_rate=RATES[kind],
        epochs=EPOCHS, checkpoint=checkpoint, callback=lambda run: tell(len(run.history)),
    )  # fmt: skip
    # Not the key, which has no numbers for NumPy, and is the run's own anyway.
    return run.state._replace(key=None), run.history


def sweep(checkpoint, tell):
    grid = nnjax.sweep(
        jax.random.key(2), DIGITS, hidden=(5, 6), learning_rate=(0.3, 3.0), seeds=2, max_networks_per_program=4,
        epochs=EPOCHS // 4, checkpoint=checkpoint, callback=lambda at: tell(at.networks + at.epoch),
    )  # fmt: skip
    every = [
        grid.params(hidden=h, learning_rate=r, seed=s) for h in (5, 6) for r in (0.3, 3.0) for s in (0, 1)
    ]
    return every, [grid.train_cost.values, grid.test_correct.values, grid.diverged_at.values]


def trained(kind, checkpoint, tell=lambda done: None):
    """The bits of everything that came of a training, the seconds apart."""
    parts, history = sweep(checkpoint, tell) if kind == "sweep" else fit(kind, checkpoint, tell)
    if kind != "sweep":
        history = [history.train_cost, history.validation_correct, history.test_correct, history.diverged_at]
    return [np.asarray(leaf) for leaf in jax.tree.leaves((parts, history))]


if __name__ == "__main__":
    kind, folder = sys.argv[1], Path(sys.argv[2])
    every_epoch = nnjax.CheckpointPolicy(folder / "kept", every_seconds=3600, every_epochs=1)
    print("ready", flush=True)
    np.savez(folder / "result.npz", *trained(kind, every_epoch, lambda done: print(done, flush=True)))
