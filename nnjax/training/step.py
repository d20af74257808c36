"""Stochastic gradient descent: the step on a mini-batch, and the epoch as one compiled program.

Random numbers: epoch e of a training with key k uses `fold_in(k, e)`, split in two. The first key draws
the permutation of the examples. The second key is folded with the number of the step, and the result is
split into one key per example for `objective.forward`. So every epoch can be repeated without the epochs
before it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num

from nnjax.nn.curvature import gauss_newton_product
from nnjax.nn.objective import Objective, mean_cost
from nnjax.optim.ema import eval_params
from nnjax.optim.optimizers import Optimizer
from nnjax.runtime.sharding import replicate


class TrainState(NamedTuple):
    """Everything that training changes, and that resuming needs; a checkpoint contains it.

    Attributes:
      params: the parameters after the last step.
      opt_state: the optimizer's state.
      key: the key of the run, which does not change.
      epoch: the number of finished epochs.
    """

    params: Any
    opt_state: optax.OptState
    key: Array
    epoch: Int[Array, ""]

    @property
    def eval_params(self) -> Any:
        """The parameters to evaluate and to save, which may be an average: see `optim.ema.eval_params`."""
        return eval_params(self.params, self.opt_state)


def init_state(key: Array, params: Any, optimizer: Optimizer) -> TrainState:
    """The state before the first epoch, as copies that `train_epoch` may donate."""

    def copy(x):
        # The first epoch returns strongly typed leaves; a weakly typed one would cause a second compilation.
        return jnp.array(x, jnp.result_type(x))

    params = jax.tree.map(copy, params)
    return jax.tree.map(copy, TrainState(params, optimizer.init(params), key, jnp.int32(0)))


def train_step(
    params: Any,
    opt_state: optax.OptState,
    inputs: Num[Array, "m ..."],
    targets: Num[Array, "m ..."],
    key: Array,
    objective: Objective,
    optimizer: Optimizer,
    mesh: Mesh | None = None,
) -> tuple[Any, optax.OptState, Float[Array, ""]]:
    """One step of gradient descent on one mini-batch: w → w − (η/m) Σ ∂C_x/∂w for plain SGD.

    Args:
      params, opt_state: the parameters and the optimizer's state before the step.
      inputs: (m, ...), as in a `Dataset`; the book's equations 20 and 21 average over m.
      targets: (m,) integer labels, or (m, n_out) target vectors.
      key: the random key for `objective.forward`.
      objective: the objective.
      optimizer: the optimizer.
      mesh: devices that share the mini-batch, or None for one device.

    Returns:
      The new parameters and optimizer state, and the mini-batch's cost before the step.
    """
    batch = objective, inputs, targets, key, mesh

    # optax's line searches pass all extra arguments of `update`, such as `curvature`, to value_fn.
    def cost_of(params, curvature=None, obj_fn=None):
        return mean_cost(params, *batch)

    cost, grads = jax.value_and_grad(cost_of)(params)
    params, opt_state = optimizer.apply(
        grads, opt_state, params, value=cost, grad=grads, value_fn=cost_of, obj_fn=cost_of,
        curvature=lambda v: gauss_newton_product(params, v, *batch),
    )  # fmt: skip
    return params, opt_state, cost


@partial(jax.jit, static_argnames=("batch_size", "mesh"), donate_argnames="state")
def train_epoch(
    state: TrainState,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Float[Array, ""]]:
    """One epoch as one compiled program.

    Shuffles the examples, splits them into mini-batches and takes one step for each. Every example is used
    exactly once. If `batch_size` does not divide their number, the last mini-batch is smaller, and its cost
    is the mean over its examples. `state` is donated.

    Returns:
      The state after the epoch, and the mean cost of its examples, each computed before the step that
      used it.
    """
    arguments = inputs, targets, objective, optimizer, batch_size, mesh
    state, costs = _scan_epoch(state, *arguments, lambda params, cost: cost)
    return state, mean_over_examples(costs, batch_size, len(inputs))


def mean_over_examples(costs: Float[Array, " steps"], batch_size: int, n: int) -> Float[Array, ""]:
    """The mean cost of n examples from the mean costs of their mini-batches; the last may be smaller."""
    # Weighted by fractions of n, because the sum of finite costs can overflow.
    weights = np.diff(np.minimum(np.arange(len(costs) + 1) * batch_size, n)) / n
    return jnp.sum(costs * weights.astype(costs.dtype))


def shuffle_epoch(state: TrainState, inputs: Array, targets: Array) -> tuple[tuple[Array, Array], Array]:
    """The examples in the order of the epoch after `state`, and the key of its steps."""
    order_key, steps_key = jax.random.split(jax.random.fold_in(state.key, state.epoch))
    order = jax.random.permutation(order_key, len(inputs))

    # Gathering all bytes once is faster than gathering rows in each step; "clip" avoids a check of indices.
    def permute(a):
        return jnp.take(a.reshape(len(a), -1), order, axis=0, mode="clip").reshape(a.shape)

    return (permute(inputs), permute(targets)), steps_key


def _scan_epoch(
    state: TrainState,
    inputs: Array,
    targets: Array,
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    mesh: Mesh | None,
    observe: Callable[[Any, Array], Any],
) -> tuple[TrainState, Any]:
    """The state after an epoch, and `observe(params, cost)` of each step."""
    examples, steps_key = shuffle_epoch(state, inputs, targets)
    examples = replicate(examples, mesh)
    n_full, n_rest = divmod(len(inputs), batch_size)

    def body(carry, batch):
        params, opt_state = carry
        i, (inputs, targets) = batch
        key = jax.random.fold_in(steps_key, i)
        params, opt_state, cost = train_step(
            params, opt_state, inputs, targets, key, objective, optimizer, mesh
        )
        return (params, opt_state), observe(params, cost)

    def in_batches(a):
        return a[: n_full * batch_size].reshape(n_full, batch_size, *a.shape[1:])

    batches = jnp.arange(n_full), jax.tree.map(in_batches, examples)
    carry, observed = jax.lax.scan(body, (state.params, state.opt_state), batches)
    if n_rest:
        rest = jax.tree.map(lambda a: a[-n_rest:], examples)
        carry, last = body(carry, (n_full, rest))
        observed = jax.tree.map(lambda values, value: jnp.append(values, value), observed, last)
    params, opt_state = carry
    return TrainState(params, opt_state, state.key, state.epoch + 1), observed


def find_divergence(
    state: TrainState,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    mesh: Mesh | None = None,
) -> tuple[int, str] | None:
    """The first step (from 0) of the epoch after `state` with a value that is not finite, and its path.

    The path is that of a leaf, such as `params[0].w`, or `cost`. Returns None if all values are finite.
    `state` is not donated.
    """
    finite = _finite_by_step(state, inputs, targets, objective, optimizer, batch_size, mesh)
    bad = {jax.tree_util.keystr(path): ~np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(finite)}
    steps = {path: int(leaf.argmax()) for path, leaf in bad.items() if leaf.any()}
    if not steps:
        return None
    path = min(steps, key=lambda path: steps[path])
    return steps[path], path.removeprefix(".")


class _Finite(NamedTuple):
    params: Any
    cost: Any


@partial(jax.jit, static_argnames=("batch_size", "mesh"))
def _finite_by_step(state, inputs, targets, objective, optimizer, batch_size, mesh) -> _Finite:
    """Whether each leaf of the parameters, and the cost, is finite after each step of an epoch."""

    def observe(params, cost):
        return jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), _Finite(params, cost))

    return _scan_epoch(state, inputs, targets, objective, optimizer, batch_size, mesh, observe)[1]
