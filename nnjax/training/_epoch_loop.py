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
from nnjax.nn.metrics import Metrics, evaluate_examples
from nnjax.nn.objective import Objective
from nnjax.optim.ema import eval_params
from nnjax.optim.optimizers import Optimizer, num_train_steps
from nnjax.runtime.checks import check_positive_int, stable_repr
from nnjax.runtime.multihost import any_process
from nnjax.runtime.sharding import is_key, map_examples, place_like, to_numpy
from nnjax.storage import RunCheckpointer, digest
from nnjax.training.history import History
from nnjax.training.step import TrainState

# Settings of jax that change the results of a program.
PRECISION_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision")


def run_epochs(
    state: TrainState,
    history: History,
    advance: Callable[[TrainState], tuple[TrainState, Any]],
    evaluate: Callable[[Any], dict[str, Any]],
    compile_epoch: Callable[[TrainState], Any],
    after_epoch: Callable[[TrainState, History], bool | None],
    checkpointer: RunCheckpointer | None = None,
    evaluate_every: int = 1,
) -> tuple[TrainState, History]:
    """Trains epoch by epoch; returns the last state and the history up to it.

    Works for one network and for a population. For a population, `advance` and `evaluate` return one value
    per network, and the arrays of the history have a network axis after the epoch axis.

    Args:
      state: the initial state. `advance` donates it, and every later state.
      history: the result of `empty_history` for all epochs; its arrays are filled.
      advance: a function state -> (state after one epoch, mean cost of the epoch).
      evaluate: a function parameters -> values of columns of the history.
      compile_epoch: called before the first epoch, so that the epoch's time excludes compilation.
      after_epoch: called after each epoch and after restoring a checkpoint; training stops if it
        returns True.
      checkpointer: saves the run, and restores it if there is a checkpoint.
      evaluate_every: the number of epochs between two evaluations; the last epoch is always evaluated.
    """
    epochs, so_far = len(history), history.first(0)
    is_population = np.ndim(history.diverged_at) > 0
    of_each = jax.vmap if is_population else lambda f: f
    restored = checkpointer and checkpointer.restore_latest(lambda done: (state, history.first(done)), epochs)
    if restored:
        saved_state, so_far = restored
        state, so_far = place_like(saved_state, state), replace(so_far, diverged_at=so_far.diverged_at[()])
        history.set(slice(len(so_far)), so_far.columns())
        if any_process(bool(after_epoch(state, so_far))):
            return state, so_far
    if len(so_far) < epochs:
        compile_epoch(state)
    for e in range(len(so_far), epochs):
        start = time.perf_counter()
        state, cost = jax.block_until_ready(advance(state))
        seconds = time.perf_counter() - start
        is_due = (e + 1) % evaluate_every == 0 or e + 1 == epochs
        evaluated = of_each(eval_params)(state.params, state.opt_state)
        values = evaluate(evaluated) if is_due else {}
        values |= {"train_cost": cost, "seconds": seconds}
        history.set(e, jax.tree.map(to_numpy, values))
        finite = to_numpy(are_finite((cost, evaluated), is_population))
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


@partial(jax.jit, static_argnames=("metrics", "mesh"))
def evaluate_epoch(
    params: Any,
    objective: Objective,
    validation: Split,
    test: Split,
    metrics: Metrics = (),
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Means of cost and metrics and counts of correct predictions on validation and test.

    Returns:
      Values by the names of the columns of `History`.
    """
    evaluate = partial(evaluate_examples, params, objective=objective.inference(), metrics=metrics)
    values: dict[str, Any] = {"metrics": {}}
    for name, split in (("validation", validation), ("test", test)):
        if not len(split.targets):
            continue
        results = map_examples(evaluate, mesh, *split)
        values[f"{name}_cost"] = jnp.mean(results["cost"])
        if "correct" in results:
            values[f"{name}_correct"] = jnp.sum(results["correct"], dtype=jnp.int32)
        values["metrics"] |= {f"{name}_{key}": jnp.mean(x) for key, x in results["metrics"].items()}
    return values


@partial(jax.jit, static_argnames="is_population")
def are_finite(tree: Any, is_population: bool) -> Array:
    """Whether all floats of a pytree are finite; for a population, for each network."""

    def is_finite(tree):
        leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))

    return (jax.vmap(is_finite) if is_population else is_finite)(tree)


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
