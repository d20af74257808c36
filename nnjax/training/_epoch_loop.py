"""Shared by `fit` and `sweep`: the loop of training and evaluation, and the fingerprint of a run."""

import time
from collections.abc import Callable, Mapping
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
from nnjax.optim.optimizers import Optimizer
from nnjax.runtime.checks import check_positive_int, stable_repr
from nnjax.runtime.environment import precision_settings
from nnjax.runtime.multihost import any_process
from nnjax.runtime.sharding import is_key, map_examples, place_like, to_numpy
from nnjax.storage import RunCheckpointer, digest
from nnjax.training.budget import Budget
from nnjax.training.history import History
from nnjax.training.step import TrainState


def run_epochs(
    state: TrainState,
    history: History,
    budget: Budget,
    advance: Callable[[TrainState, int | None], tuple[TrainState, Any, dict[str, Any]]],
    evaluate: Callable[[Any], dict[str, Any]],
    compile_epoch: Callable[[TrainState, int | None], Any],
    after_epoch: Callable[[TrainState, History], bool | None],
    checkpointer: RunCheckpointer | None = None,
    past: History | None = None,
    end: int | None = None,
) -> tuple[TrainState, History]:
    """Trains one row of the history after another; returns the last state and the history up to it.

    A row is an epoch, or the steps between two evaluations if the length is counted in steps.

    Works for one network and for a population. For a population, `advance` and `evaluate` return one value
    per network, and the arrays of the history have a network axis after the first axis.

    Args:
      state: the initial state. `advance` donates it, and every later state.
      history: the result of `empty_history` for all rows; its arrays are filled.
      budget: the length of the training.
      advance: a function (state, number of steps or None for an epoch) -> (state, mean cost, watched values).
      evaluate: a function parameters -> values of columns of the history.
      compile_epoch: called before the first row, with the arguments of `advance`, so that the times of the
        rows exclude compilation.
      after_epoch: called after each row and after restoring a checkpoint; training stops if it
        returns True.
      checkpointer: saves the run, and restores it if there is a checkpoint.
      past: the history up to `state`; empty by default.
      end: the number of rows after which training ends; all by default.
    """
    ends, so_far = budget.row_ends, past or history.first(0)
    end = len(ends) if end is None else end
    history.set(slice(len(so_far)), so_far.columns())
    is_population = np.ndim(history.diverged_at) > 0
    of_each = jax.vmap if is_population else lambda f: f
    restored = checkpointer and checkpointer.restore_latest(
        lambda done: (_without_order(state), history.first(ends.index(done) + 1)), budget.total
    )
    if restored:
        saved, so_far = restored
        saved, so_far = (
            place_like(saved, _without_order(state)),
            replace(so_far, diverged_at=so_far.diverged_at[()]),
        )
        history.set(slice(len(so_far)), so_far.columns())
        if any_process(bool(after_epoch(saved, so_far))):
            return saved, so_far
        state = saved._replace(order=state.order)
    sizes = budget.program_steps
    for size in dict.fromkeys(sizes[len(so_far) : end]):
        compile_epoch(state, size)
    for row in range(len(so_far), end):
        done, is_last = ends[row], row + 1 == end
        start = time.perf_counter()
        state, cost, watched = jax.block_until_ready(advance(state, sizes[row]))
        seconds = time.perf_counter() - start
        saved = _without_order(state)
        evaluated = of_each(eval_params)(state.params, state.opt_state)
        values = evaluate(evaluated) if budget.is_evaluated(done) else {}
        values |= {"train_cost": cost, "seconds": seconds}
        history.set(row, jax.tree.map(to_numpy, values))
        history.set_watched(row, jax.tree.map(to_numpy, watched))
        finite = to_numpy(are_finite((cost, evaluated), is_population))
        diverged_at = np.where((so_far.diverged_at < 0) & ~finite, row, so_far.diverged_at)[()]
        so_far = replace(history.first(row + 1), diverged_at=diverged_at)
        # A single network that has diverged is not saved, so that it resumes from the last finite state.
        save = checkpointer.save if checkpointer and (is_population or diverged_at < 0) else _no_save
        save(done, (saved, so_far), last=is_last)
        try:
            stop = any_process(bool(after_epoch(saved, so_far)))
        except BaseException:
            if jax.process_count() == 1:  # other processes would not take part
                save(done, (saved, so_far), last=True)
            raise
        if stop:
            save(done, (saved, so_far), last=True)
            break
    return _without_order(state), so_far


def _without_order(state: TrainState) -> TrainState:
    """The state to save and to return: the order of the examples follows from the key and the step."""
    return state._replace(order=None)


def _no_save(done: int, tree: Any, last: bool) -> None:
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


def run_fingerprint(key: Array, data: Dataset, settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a checkpoint records, as text.

    A run can resume from a checkpoint only with equal settings.
    """
    fingerprint = {"key": stable_repr(to_numpy(key).tolist())}
    fingerprint |= precision_settings()
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        has_floats = any(jnp.issubdtype(array.dtype, jnp.floating) for array in split)
        fingerprint[f"{name} float data" if has_floats else f"{name} data"] = digest(split)
    # `optax.noisy_sgd` has a hyper-parameter `key`.
    return fingerprint | {
        f"hyper-parameter {name}" if name in fingerprint else name: stable_repr(value)
        for name, value in settings.items()
    }


def optimizer_fingerprint(optimizer: Optimizer) -> dict[str, str]:
    """The settings of an optimizer, as text; `num_steps` only if the schedule depends on it."""
    settings = {
        "optimizer": optimizer.factory,
        "schedule": optimizer.schedules[0],
        "ema_decay": optimizer.ema_decay,
    }
    settings |= {"num_steps": optimizer.num_steps, **dict(optimizer.static_args), **optimizer.hyperparams}
    return {name: stable_repr(value) for name, value in settings.items()}


def check_arguments(key: Any, data: Any) -> None:
    """Raises ValueError if `key` is not a single random key, or `data` not a `Dataset`."""
    if not is_key(key) or key.ndim:
        raise ValueError(f"key must be a jax.random.key, such as jax.random.key(0), got {key!r}")
    if not isinstance(data, Dataset):
        raise ValueError(
            f"data must be a Dataset, got {type(data).__name__}: use nnjax.load or Dataset.from_arrays"
        )


def check_batch_size(batch_size: Any, data: Dataset) -> int:
    """`batch_size` as an int; raises ValueError if it is not from 1 to the number of training examples."""
    n, batch_size = len(data.train.targets), check_positive_int("batch_size", batch_size)
    if batch_size > n:
        raise ValueError(f"batch_size must be at most {n}, the number of training examples, got {batch_size}")
    return batch_size
