"""Stochastic gradient descent: the step over a mini-batch, and the epoch as one compiled program.

Keys: epoch e of a run with key k draws from `fold_in(k, e)`, split in two: the first orders the
examples, the second is folded with the step's number to make the key that `objective.forward`
sees, split once more for the examples. So any epoch of any run can be had again on its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Num

from nnjax.averaging import evaluated
from nnjax.objective import Objective, Whole, gauss_newton_product, mean_cost, whole
from nnjax.optimizers import Optimizer


class TrainState(NamedTuple):
    """All that training changes or needs to go on: what a checkpoint holds.

    `key` is the run's own and stays; `epoch` counts the finished ones.
    """

    params: Any
    opt_state: optax.OptState
    key: Array
    epoch: Int[Array, ""]

    @property
    def evaluated(self) -> Any:
        """The parameters to evaluate and to keep: a running mean where the optimizer has one."""
        return evaluated(self.params, self.opt_state)


def start(key: Array, params: Any, optimizer: Optimizer) -> TrainState:
    """The state before the first epoch, in buffers of its own: `epoch` may consume them."""

    def own(x):
        # A weakly typed number would come back from the first epoch strongly typed: compiled anew.
        return jnp.array(x, jnp.result_type(x))

    params = jax.tree.map(own, params)
    return jax.tree.map(own, TrainState(params, optimizer.init(params), key, jnp.int32(0)))


def step(
    params: Any,
    opt_state: optax.OptState,
    images: Num[Array, "m pixels"],
    labels: Num[Array, "m ..."],
    key: Array,
    objective: Objective,
    optimizer: Optimizer,
    spread: Whole = whole,
) -> tuple[Any, optax.OptState, Float[Array, ""]]:
    """One step of gradient descent on one mini-batch: w → w − (η/m) Σ ∂C_x/∂w for plain SGD.

    Args:
      images: (m, pixels), uint8 or float; the book's equations 20 and 21 average over m.
      labels: (m,) integers, or (m, n_out) targets.
      spread: how the mini-batch is worked out: as a whole, or by the devices of a mesh.

    Returns:
      The new parameters and optimizer state, and the mini-batch's cost before the step.
    """
    batch = objective, images, labels, key, spread

    # optax's line searches insist that value_fn takes what is passed beside it.
    def cost_of(params, curvature=None):
        return mean_cost(params, *batch)

    cost, grads = jax.value_and_grad(cost_of)(params)
    params, opt_state = optimizer.apply(
        grads, opt_state, params, value=cost, grad=grads, value_fn=cost_of,
        curvature=lambda v: gauss_newton_product(params, v, *batch),
    )  # fmt: skip
    return params, opt_state, cost


@partial(jax.jit, static_argnames=("batch_size", "spread"), donate_argnames="state")
def epoch(
    state: TrainState,
    images: Num[Array, "n pixels"],
    labels: Num[Array, "n ..."],
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    spread: Whole = whole,
) -> tuple[TrainState, Float[Array, ""]]:
    """Shuffle, cut into mini-batches, and take one step for each: one compiled program.

    Every example is used exactly once; where `batch_size` does not divide their number, the last
    mini-batch is smaller and averaged over its own size. `state` is donated: use what returns.

    Returns:
      The state after the epoch, and the mean cost over its examples, each as its step saw it.
    """
    arguments = images, labels, objective, optimizer, batch_size, spread
    state, costs = _watched(state, *arguments, lambda params, cost: cost)
    return state, mean_over_examples(costs, batch_size, len(images))


def mean_over_examples(costs: Float[Array, " steps"], batch_size: int, n: int) -> Float[Array, ""]:
    """The mean over n examples of the costs of mini-batches, of which the last may be smaller."""
    # By shares of the examples, for a sum of costs may overflow where none of them does.
    shares = np.diff(np.minimum(np.arange(len(costs) + 1) * batch_size, n)) / n
    return jnp.sum(costs * shares.astype(costs.dtype))


def shuffled(state: TrainState, images: Array, labels: Array) -> tuple[tuple[Array, Array], Array]:
    """The examples in the order of the epoch after `state`, and the key of its steps."""
    order_key, steps_key = jax.random.split(jax.random.fold_in(state.key, state.epoch))
    order = jax.random.permutation(order_key, len(images))

    # Once, as bytes, is cheaper than gathering rows step by step; and "clip" than masking what is not there.
    def ordered(a):
        return jnp.take(a, order, axis=0, mode="clip")

    return (ordered(images), ordered(labels)), steps_key


def _watched(
    state: TrainState,
    images: Array,
    labels: Array,
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    spread: Whole,
    watch: Callable[[Any, Array], Any],
) -> tuple[TrainState, Any]:
    """The state after an epoch, and what `watch` sees of parameters and cost at each step."""
    examples, steps_key = shuffled(state, images, labels)
    examples = spread.everywhere(examples)
    n_full, n_rest = divmod(len(images), batch_size)

    def descend(carry, batch):
        params, opt_state = carry
        i, (images, labels) = batch
        key = jax.random.fold_in(steps_key, i)
        params, opt_state, cost = step(params, opt_state, images, labels, key, objective, optimizer, spread)
        return (params, opt_state), watch(params, cost)

    def in_batches(a):
        return a[: n_full * batch_size].reshape(n_full, batch_size, *a.shape[1:])

    batches = jnp.arange(n_full), jax.tree.map(in_batches, examples)
    carry, seen = jax.lax.scan(descend, (state.params, state.opt_state), batches)
    if n_rest:
        rest = jax.tree.map(lambda a: a[-n_rest:], examples)
        carry, last = descend(carry, (n_full, rest))
        seen = jax.tree.map(lambda all, one: jnp.append(all, one), seen, last)
    params, opt_state = carry
    return TrainState(params, opt_state, state.key, state.epoch + 1), seen


def first_bad(
    state: TrainState,
    images: Num[Array, "n pixels"],
    labels: Num[Array, "n ..."],
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    spread: Whole = whole,
) -> tuple[int, str] | None:
    """Where the epoch after `state` diverges: the step, from 0, and what is first not finite there.

    That is the path of a leaf, such as `params[0].w`, or `cost`; None where all stays finite.
    `state` is not consumed.
    """
    finite = _finite(state, images, labels, objective, optimizer, batch_size, spread)
    bad = {jax.tree_util.keystr(path): ~np.asarray(each) for path, each in jax.tree.leaves_with_path(finite)}
    steps = {name: int(each.argmax()) for name, each in bad.items() if each.any()}
    if not steps:
        return None
    name = min(steps, key=lambda name: steps[name])
    return steps[name], name.removeprefix(".")


class _Finite(NamedTuple):
    params: Any
    cost: Any


@partial(jax.jit, static_argnames=("batch_size", "spread"))
def _finite(state, images, labels, objective, optimizer, batch_size, spread) -> _Finite:
    """Whether each leaf of the parameters, and the cost, is finite at each step of an epoch."""

    def watch(params, cost):
        return jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), _Finite(params, cost))

    return _watched(state, images, labels, objective, optimizer, batch_size, spread, watch)[1]
