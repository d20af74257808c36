"""A training for `test_resume.py` to kill.

`python tests/resume_worker.py KIND DIRECTORY` saves the training in DIRECTORY, prints `ready` when it begins,
and writes its results to DIRECTORY/result.npz.
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


def fit(kind, checkpoint, report):
    params = nnjax.init(jax.random.key(0), (64, 30, 10))
    run = nnjax.fit(
        jax.random.key(1), params, DIGITS, optimizer=getattr(optax, kind), learning_rate=RATES[kind],
        epochs=EPOCHS, checkpoint=checkpoint, callback=lambda run: report(len(run.history)),
    )  # fmt: skip
    # Without the key, which NumPy cannot save, and which training does not change.
    return run.state._replace(key=None), run.history


def sweep(checkpoint, report):
    grid = nnjax.sweep(
        jax.random.key(2), DIGITS, hidden=(5, 6), learning_rate=(0.3, 3.0), seeds=2,
        max_networks_per_program=4, epochs=EPOCHS // 4, checkpoint=checkpoint,
        callback=lambda progress: report(progress.networks + progress.done),
    )  # fmt: skip
    params = [
        grid.params(hidden=h, learning_rate=r, seed=s) for h in (5, 6) for r in (0.3, 3.0) for s in (0, 1)
    ]
    return params, [grid.train_cost.values, grid.test_correct.values, grid.diverged_at.values]


def results(kind, checkpoint, report=lambda epochs: None):
    """All results of a training as arrays, except for the seconds."""
    state, history = sweep(checkpoint, report) if kind == "sweep" else fit(kind, checkpoint, report)
    if kind != "sweep":
        history = [history.train_cost, history.validation_correct, history.test_correct, history.diverged_at]
    return [np.asarray(leaf) for leaf in jax.tree.leaves((state, history))]


if __name__ == "__main__":
    kind, directory = sys.argv[1], Path(sys.argv[2])
    policy = nnjax.CheckpointPolicy(directory / "checkpoints", every_seconds=3600, every=1)
    print("ready", flush=True)
    np.savez(directory / "result.npz", *results(kind, policy, lambda epochs: print(epochs, flush=True)))
