"""Finding the step in which a training diverged."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Num

from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Optimizer
from nnjax.training.epoch import scan_epoch, scan_steps
from nnjax.training.step import TrainState
from nnjax.watch import as_watch


class _Finite(NamedTuple):
    params: Any
    cost: Any


def find_divergence(
    state: TrainState,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    mesh: Mesh | None = None,
    num_steps: int | None = None,
    drop_remainder: bool = False,
) -> tuple[int, str] | None:
    """The first step after `state` with a value that is not finite, and the path of this value.

    `state` is not donated.

    Args:
      state, inputs, targets, objective, optimizer, batch_size, mesh, num_steps, drop_remainder: as for
        `train_epoch`.

    Returns:
      The step, counted from 0 at `state`, and the path of a leaf, such as `params[0].w`, or `cost`. None if
      all values are finite.
    """
    arguments = state, inputs, targets, objective, optimizer, batch_size, mesh, num_steps, drop_remainder
    finite = _finite_by_step(*arguments)
    bad = {jax.tree_util.keystr(path): ~np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(finite)}
    steps = {path: int(leaf.argmax()) for path, leaf in bad.items() if leaf.any()}
    if not steps:
        return None
    path = min(steps, key=lambda path: steps[path])
    return steps[path], path.removeprefix(".")


@partial(jax.jit, static_argnames=("batch_size", "mesh", "num_steps", "drop_remainder"))
def _finite_by_step(
    state, inputs, targets, objective, optimizer, batch_size, mesh, num_steps, drop_remainder
) -> _Finite:
    """Whether each leaf of the parameters, and the cost, is finite after each step."""

    def finite_params(params, grads, updates):
        with jax.numpy_dtype_promotion("standard"):
            params = optax.apply_updates(params, updates)
        return jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), params)

    scan = scan_epoch if num_steps is None else partial(scan_steps, num_steps=num_steps)
    watches = {"params": as_watch(finite_params)}
    state = state._replace(watched={"params": ()})
    arguments = state, inputs, targets, objective, optimizer, batch_size, mesh, watches
    _, costs, watched = scan(*arguments, drop_remainder=drop_remainder)
    return _Finite(watched["params"], jnp.isfinite(costs))
