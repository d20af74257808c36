"""Optimizers whose steps have different costs, and whose parameters stop changing when a budget is spent."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from nnjax.optim.extra_args import accept_extra_args


class FrozenWhenSpentState(NamedTuple):
    """The state of the inner optimizer, and the cost of all steps so far."""

    inner: optax.OptState
    spent: Float[Array, ""]


def frozen_when_spent(
    inner: optax.GradientTransformation, cost_of_step: Callable[[Any], Any], budget: float | Array
) -> optax.GradientTransformationExtraArgs:
    """The optimizer `inner`, whose updates become 0 when its steps have cost `budget`.

    The first step that would exceed the budget is not taken. From this step on, the updates are 0 and the
    state of `inner` does not change.

    Args:
      inner: any optax transformation.
      cost_of_step: a function that gets the state of `inner` after a step, and returns the cost of this step.
      budget: the largest allowed sum of the costs.

    >>> optimizer = frozen_when_spent(optax.sgd(1.0), cost_of_step=lambda state: 2.0, budget=4.0)
    >>> w, state = jnp.array(8.0), optimizer.init(jnp.array(8.0))
    >>> for _ in range(3):
    ...     updates, state = optimizer.update(jnp.array(1.0), state, w)
    ...     w = w + updates
    >>> float(w)
    6.0
    """
    inner = accept_extra_args(inner)

    def init(params):
        return FrozenWhenSpentState(inner.init(params), jnp.zeros(()))

    def update(updates, state, params=None, **extra):
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        spent = state.spent + jnp.asarray(cost_of_step(inner_state), state.spent.dtype)
        is_affordable = spent <= budget
        updates = jax.tree.map(lambda u: jnp.where(is_affordable, u, jnp.zeros_like(u)), updates)
        inner_state = jax.tree.map(
            lambda new, old: jnp.where(is_affordable, new, old), inner_state, state.inner
        )
        return updates, FrozenWhenSpentState(inner_state, spent)

    return optax.GradientTransformationExtraArgs(init, update)
