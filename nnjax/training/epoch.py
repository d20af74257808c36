"""Several steps of stochastic gradient descent in one compiled program: an epoch, or a number of steps.

Random numbers: epoch e of a training with key k uses `fold_in(k, e)`, split in two. The first key draws
the permutation of the examples. The second key is folded with the number of the step in the epoch, and the
result is split into one key per example for `objective.forward`. So every epoch can be repeated without the
previous ones.

Several programs can train parts of one epoch. The first of them draws the permutation, which takes longer
than many steps, and `TrainState.order` passes it to the others.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num

from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Optimizer
from nnjax.runtime.sharding import replicate
from nnjax.training._observe import Watches, observe, with_buffers, without_buffers
from nnjax.training.budget import steps_per_epoch
from nnjax.training.step import EpochOrder, TrainState, no_order, train_step


@partial(
    jax.jit, static_argnames=("batch_size", "mesh", "num_steps", "drop_remainder"), donate_argnames="state"
)
def train_epoch(
    state: TrainState,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    mesh: Mesh | None = None,
    watches: Watches | None = None,
    num_steps: int | None = None,
    drop_remainder: bool = False,
) -> tuple[TrainState, Float[Array, ""], dict[str, Array]]:
    """Trains for one epoch, or for `num_steps` steps, in one compiled program.

    Shuffles the examples, splits them into mini-batches and takes one step for each. Every example is used
    exactly once in an epoch. If `batch_size` does not divide their number, the last mini-batch is smaller,
    and its cost is the mean over its examples; or it is dropped. `state` is donated.

    Args:
      state: the state at the start of an epoch; with `num_steps`, at any step.
      inputs, targets: the training examples.
      objective, optimizer, mesh: as for `train_step`.
      batch_size: examples in a mini-batch.
      watches: the watches that are computed in the steps, by name.
      num_steps: the number of steps, which may start and end within an epoch; None for one epoch.
      drop_remainder: whether a smaller last mini-batch of an epoch is dropped.

    Returns:
      The new state; the mean cost of the examples, each computed before the step that used it; and the
      values of each watch, with a leading axis of steps.
    """
    arguments = state, inputs, targets, objective, optimizer, batch_size, mesh, watches or {}
    sizes = batch_sizes(len(inputs), batch_size, drop_remainder)
    if num_steps is None:
        new_state, costs, watched = scan_epoch(*arguments, drop_remainder)
        return new_state, mean_over_examples(costs, sizes), watched
    new_state, costs, watched = scan_steps(*arguments, num_steps, drop_remainder)
    in_epoch = (state.step + jnp.arange(num_steps, dtype=jnp.int32)) % len(sizes)
    return new_state, mean_over_examples(costs, jnp.asarray(sizes)[in_epoch]), watched


def mean_over_examples(costs: Float[Array, " steps"], sizes: Int[Any, " steps"]) -> Float[Array, ""]:
    """The mean cost of all examples from the mean costs of mini-batches of `sizes` examples."""
    # Weighted by fractions, because the sum of finite costs can overflow.
    weights = jnp.asarray(sizes, costs.dtype)
    return jnp.sum(costs * (weights / weights.sum()))


def batch_sizes(n: int, batch_size: int, drop_remainder: bool = False) -> Int[np.ndarray, " steps"]:
    """The sizes of the mini-batches of an epoch of n examples.

    >>> batch_sizes(5, 2).tolist(), batch_sizes(5, 2, drop_remainder=True).tolist()
    ([2, 2, 1], [2, 2])
    """
    steps = steps_per_epoch(n, batch_size, drop_remainder)
    return np.diff(np.minimum(np.arange(steps + 1) * batch_size, n))


def epoch_order(key: Array, epoch: Any, n: int) -> tuple[Int[Array, " n"], Array]:
    """The order of the n examples in an epoch, and the key of its steps."""
    order_key, steps_key = epoch_keys(key, epoch)
    return jax.random.permutation(order_key, n), steps_key


def epoch_keys(key: Array, epoch: Any) -> Array:
    """Two keys: of the order of the examples in an epoch, and of its steps."""
    return jax.random.split(jax.random.fold_in(key, epoch))


def gather(arrays: Any, rows: Int[Array, " m"]) -> Any:
    """The rows with these indices of each array; `mode="clip"` avoids a check of the indices."""
    return jax.tree.map(
        lambda a: jnp.take(a.reshape(len(a), -1), rows, axis=0, mode="clip").reshape(-1, *a.shape[1:]), arrays
    )


def shuffle_epoch(
    state: TrainState, examples: Any, batch_size: int, drop_remainder: bool
) -> tuple[Any, Array]:
    """The examples in the order of the epoch that starts at `state`, and the key of its steps."""
    n = len(examples[0])
    epoch = state.step // steps_per_epoch(n, batch_size, drop_remainder)
    order, steps_key = epoch_order(state.key, epoch, n)
    return gather(examples, order), steps_key


def scan_epoch(
    state: TrainState,
    inputs: Array,
    targets: Array,
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    mesh: Mesh | None,
    watches: Watches,
    drop_remainder: bool = False,
) -> tuple[TrainState, Float[Array, " steps"], dict[str, Any]]:
    """Trains for one epoch; returns the new state, the cost of each step and the values of the watches."""
    # Gathering all bytes once is faster than gathering rows in each step.
    examples, steps_key = shuffle_epoch(state, (inputs, targets), batch_size, drop_remainder)
    examples = replicate(examples, mesh)
    n_full, n_rest = divmod(len(inputs), batch_size)
    n_rest = 0 if drop_remainder else n_rest
    num_steps = n_full + bool(n_rest)

    def body(carry, batch):
        params, opt_state, watched = carry
        i, examples = batch
        key = jax.random.fold_in(steps_key, i)
        inputs, targets = examples
        step = train_step(params, opt_state, inputs, targets, key, objective, optimizer, mesh)
        watched, values = observe(watches, watched, state.step, i, params, step.grads, step.updates)
        return (step.params, step.opt_state, watched), (step.cost, values)

    def in_batches(a):
        return a[: n_full * batch_size].reshape(n_full, batch_size, *a.shape[1:])

    batches = jnp.arange(n_full, dtype=jnp.int32), jax.tree.map(in_batches, examples)
    watched = with_buffers(watches, state.watched, state.params, num_steps)
    carry, results = jax.lax.scan(body, (state.params, state.opt_state, watched), batches)
    if n_rest:
        carry, last = body(carry, (n_full, jax.tree.map(lambda a: a[-n_rest:], examples)))
        results = jax.tree.map(lambda values, value: jnp.append(values, value[None], 0), results, last)
    return _end_of_scan(state, carry, results, num_steps)


def scan_steps(
    state: TrainState,
    inputs: Array,
    targets: Array,
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    mesh: Mesh | None,
    watches: Watches,
    num_steps: int,
    drop_remainder: bool = False,
) -> tuple[TrainState, Float[Array, " steps"], dict[str, Any]]:
    """Trains for `num_steps` steps from any step on; returns the same values as `scan_epoch`.

    The mini-batches and keys are those of the epochs to which the steps belong.
    """
    n = len(inputs)
    sizes = batch_sizes(n, batch_size, drop_remainder).tolist()

    def body(carry, j):
        (params, opt_state, watched), (order, steps_key) = carry
        epoch, i = jnp.divmod(state.step + j, len(sizes))
        rows, steps_key = jax.lax.cond(
            epoch == order.epoch, lambda: (order.rows, steps_key), lambda: epoch_order(state.key, epoch, n)
        )
        key = jax.random.fold_in(steps_key, i)

        def step_of(m):
            batch = jax.lax.dynamic_slice(rows, (i * batch_size,), (m,))
            x, y = replicate(gather((inputs, targets), batch), mesh)
            return train_step(params, opt_state, x, y, key, objective, optimizer, mesh)

        full, last = partial(step_of, sizes[0]), partial(step_of, sizes[-1])
        step = full() if sizes[0] == sizes[-1] else jax.lax.cond(i < len(sizes) - 1, full, last)
        watched, values = observe(watches, watched, state.step, j, params, step.grads, step.updates)
        carry = step.params, step.opt_state, watched
        return (carry, (EpochOrder(epoch, rows), steps_key)), (step.cost, values)

    order = no_order(n) if state.order is None else state.order
    _, steps_key = epoch_keys(state.key, state.step // len(sizes))
    watched = with_buffers(watches, state.watched, state.params, num_steps)
    carry = (state.params, state.opt_state, watched), (order, steps_key)
    (carry, (order, _)), results = jax.lax.scan(body, carry, jnp.arange(num_steps, dtype=jnp.int32))
    state = state if state.order is None else state._replace(order=order)
    return _end_of_scan(state, carry, results, num_steps)


def _end_of_scan(state: TrainState, carry: Any, results: Any, num_steps: int) -> tuple[TrainState, Any, Any]:
    """The new state, the costs and the values of the watches after `num_steps` steps from `state`."""
    params, opt_state, watched = carry
    costs, values = results
    states, values = without_buffers(watched, values)
    state = TrainState(params, opt_state, state.key, state.step + num_steps, states, state.order)
    return state, costs, values
