"""Checks of an optimizer on a problem, before training."""

from typing import Any

import jax
import jax.numpy as jnp

from nnjax.compare._problem import Problem
from nnjax.compare.search_spaces import Setting, Tunable, factory_for
from nnjax.data import Dataset
from nnjax.optim.optimizers import make_optimizer
from nnjax.training.step import train_step

MAX_STATE_BYTES = 2**28  # of one run; a unit has 16 runs


def check_state_and_updates(tunable: Tunable, problem: Problem, data: Dataset, setting: Setting) -> None:
    """Traces one step, and checks the shapes and dtypes of the updates and of the state.

    Raises:
      ValueError: the updates do not have the shapes and dtypes of the parameters, those of the state change,
        or the state is too large.
    """
    optimizer = make_optimizer(
        factory_for(tunable, problem.has_weight_decay), dict(setting.hyperparameters), setting.schedule, 100
    )
    inputs, targets = (jnp.asarray(part[: problem.batch_size]) for part in data.train)

    def step(key):
        params = problem.init(key)
        state = optimizer.init(params)
        return params, state, train_step(params, state, inputs, targets, key, problem.objective, optimizer)

    params, state, result = jax.eval_shape(step, jax.random.key(0))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if size > MAX_STATE_BYTES:
        raise ValueError(
            f"the state must have at most {MAX_STATE_BYTES / 2**20:.0f} MiB for one run, got "
            f"{size / 2**20:.0f} MiB"
        )
    _check_equal("updates must have the shapes and dtypes of the parameters", params, result.updates)
    _check_equal("the state must keep its shapes and dtypes", state, result.opt_state)


def _check_equal(rule: str, expected: Any, got: Any) -> None:
    """Raises ValueError with the first leaf whose shape or dtype differs."""
    if jax.tree.structure(expected) != jax.tree.structure(got):
        raise ValueError(f"{rule}, got another tree structure: {jax.tree.structure(got)}")
    leaves = zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(got), strict=True)
    for (path, leaf), other in leaves:
        if (leaf.shape, leaf.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f"{rule}, got {other.dtype}{list(other.shape)} instead of {leaf.dtype}{list(leaf.shape)}"
                f"{' at ' + jax.tree_util.keystr(path) if path else ''}"
            )
