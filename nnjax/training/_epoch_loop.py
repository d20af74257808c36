"""Shared by `fit` and `sweep`: the loop over epochs, evaluation, and the fingerprint of a run."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from nnjax.data import Dataset, Split
from nnjax.nn.metrics import is_correct
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Optimizer, num_train_steps
from nnjax.runtime.checks import check_positive_int, stable_repr
from nnjax.runtime.multihost import any_process
from nnjax.runtime.sharding import is_key, map_examples, place_like, to_numpy
from nnjax.storage import RunCheckpointer, digest
from nnjax.training.history import COLUMNS, History
from nnjax.training.step import TrainState

# Settings of jax that change the results of a program.
PRECISION_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision")


def run_epochs(
    state: TrainState,
    history: History,
    advance: Callable[[TrainState], tuple[TrainState, Any]],
    evaluate: Callable[[Any, Any], tuple[Any, Any, Any]],
    compile_epoch: Callable[[TrainState], Any],
    after_epoch: Callable[[TrainState, History], bool | None],
    checkpointer: RunCheckpointer | None = None,
) -> tuple[TrainState, History]:
    """Trains epoch by epoch; returns the last state and the history up to it.

    Works for one network and for a population. For a population, `advance` and `evaluate` return one value
    per network, and the arrays of the history have a network axis after the epoch axis.

    Args:
      state: the initial state. `advance` donates it, and every later state.
      history: the result of `empty_history` for all epochs; its arrays are filled.
      advance: a function state -> (state after one epoch, mean cost of the epoch).
      evaluate: a function (parameters, cost) -> (correct validation predictions, correct test
        predictions, whether everything is finite).
      compile_epoch: called before the first epoch, so that the epoch's time excludes compilation.
      after_epoch: called after each epoch and after restoring a checkpoint; training stops if it
        returns True.
      checkpointer: saves the run, and restores it if there is a checkpoint.
    """
    epochs, so_far = len(history), history.first(0)
    is_population = np.ndim(history.diverged_at) > 0
    restored = checkpointer and checkpointer.restore_latest(lambda done: (state, history.first(done)), epochs)
    if restored:
        saved_state, so_far = restored
        state, so_far = place_like(saved_state, state), replace(so_far, diverged_at=so_far.diverged_at[()])
        for name in COLUMNS:
            getattr(history, name)[: len(so_far)] = getattr(so_far, name)
        if any_process(bool(after_epoch(state, so_far))):
            return state, so_far
    if len(so_far) < epochs:
        compile_epoch(state)
    for e in range(len(so_far), epochs):
        start = time.perf_counter()
        state, cost = jax.block_until_ready(advance(state))
        history.seconds[e] = time.perf_counter() - start
        *counts, finite = map(to_numpy, evaluate(state.eval_params, cost))
        history.train_cost[e], history.validation_correct[e], history.test_correct[e] = (
            to_numpy(cost),
            *counts,
        )
        diverged_at = np.where((so_far.diverged_at < 0) & ~finite, e, so_far.diverged_at)[()]
        so_far = replace(history.first(e + 1), diverged_at=diverged_at)
        # A single network that has diverged is not saved, so that it resumes from the last finite state.
        save = checkpointer.save if checkpointer and (is_population or diverged_at < 0) else _no_save
        save(e + 1, (state, so_far), last=e + 1 == epochs)
        try:
            stop = any_process(bool(after_epoch(state, so_far)))
        except BaseException:
            if jax.process_count() == 1:  # other processes would not take part
                save(e + 1, (state, so_far), last=True)
            raise
        if stop:
            save(e + 1, (state, so_far), last=True)
            break
    return state, so_far


def _no_save(epoch: int, tree: Any, last: bool) -> None:
    pass


@partial(jax.jit, static_argnames="mesh")
def evaluate_epoch(
    params: Any,
    cost: Array,
    objective: Objective,
    validation: Split,
    test: Split,
    mesh: Mesh | None = None,
) -> tuple[Array, Array, Array]:
    """The correct predictions on validation and test, and whether parameters and cost are all finite."""

    def count(split):
        if not len(split.targets):
            return jnp.int32(0)
        correct = map_examples(lambda x, target: is_correct(params, x, target, objective), mesh, *split)
        return jnp.sum(correct, dtype=jnp.int32)

    leaves = [x for x in jax.tree.leaves((cost, params)) if jnp.issubdtype(x.dtype, jnp.inexact)]
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))
    return count(validation), count(test), finite


def run_fingerprint(key: Array, data: Dataset, batch_size: int, **settings: Any) -> dict[str, str]:
    """The settings that a checkpoint records, as text.

    A run can resume from a checkpoint only with equal settings.
    """
    fingerprint = {"key": stable_repr(to_numpy(key).tolist()), "batch_size": str(batch_size)}
    fingerprint |= {name: str(getattr(jax.config, name)) for name in PRECISION_SETTINGS}
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        has_floats = any(jnp.issubdtype(array.dtype, jnp.floating) for array in split)
        fingerprint[f"{name} float data" if has_floats else f"{name} data"] = digest(split)
    return fingerprint | {name: stable_repr(value) for name, value in settings.items()}


def optimizer_fingerprint(optimizer: Optimizer) -> dict[str, str]:
    """The settings of an optimizer, as text; `num_steps` only if the schedule depends on it."""
    settings = {
        "optimizer": optimizer.factory,
        "schedule": optimizer.schedule,
        "ema_decay": optimizer.ema_decay,
    }
    settings |= {"num_steps": optimizer.num_steps, **dict(optimizer.static_args), **optimizer.hyperparams}
    return {name: stable_repr(value) for name, value in settings.items()}


def check_arguments(key: Any, data: Any, epochs: Any, batch_size: Any) -> tuple[int, int, int]:
    """The number of epochs, the batch size and the number of training steps.

    Raises:
      ValueError: a wrong key, data, epochs or batch_size.
    """
    if not is_key(key) or key.ndim:
        raise ValueError(f"key must be a jax.random.key, such as jax.random.key(0), got {key!r}")
    if not isinstance(data, Dataset):
        raise ValueError(
            f"data must be a Dataset, got {type(data).__name__}: use nnjax.load or Dataset.from_arrays"
        )
    n = len(data.train.targets)
    epochs, batch_size = check_positive_int("epochs", epochs), check_positive_int("batch_size", batch_size)
    if batch_size > n:
        raise ValueError(f"batch_size must be at most {n}, the number of training examples, got {batch_size}")
    return epochs, batch_size, num_train_steps(epochs, n, batch_size)
