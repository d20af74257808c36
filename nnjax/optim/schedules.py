"""Learning-rate schedules: functions of the fraction of training done, from 0 to 1.

A schedule multiplies the learning rate. It does not depend on the number of steps, so training for longer
does not recompile. Only the learning rate has to be tuned.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

Schedule = Callable[[Float[Array, ""]], Float[Array, ""]]

WARMUP_FRACTION = 0.05


def constant(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """Returns 1: a constant learning rate."""
    return jnp.ones_like(fraction)


def linear(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """1 − t: falls from 1 to 0.

    >>> float(linear(jnp.array(0.25)))
    0.75
    """
    return jnp.maximum(1 - fraction, 0)


def cosine(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """½ (1 + cos πt): falls from 1 to 0 along half a cosine.

    Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm restarts* (2017).

    >>> round(float(cosine(jnp.array(0.5))), 6)
    0.5
    """
    return (1 + jnp.cos(jnp.pi * jnp.minimum(fraction, 1))) / 2


def _with_warmup(decay: Schedule) -> Schedule:
    def schedule(fraction):
        warm = fraction / WARMUP_FRACTION
        return jnp.where(warm < 1, warm, decay((fraction - WARMUP_FRACTION) / (1 - WARMUP_FRACTION)))

    return schedule


warmup_linear = _with_warmup(linear)
warmup_cosine = _with_warmup(cosine)

SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "warmup_linear": warmup_linear,
    "warmup_cosine": warmup_cosine,
}


class ScheduledState(NamedTuple):
    """The number of steps taken, and the state of the inner optimizer."""

    count: Int[Array, ""]
    inner: optax.OptState


def with_schedule(
    factory: Callable[[Any], optax.GradientTransformation],
    learning_rate: float | Array,
    schedule: Schedule,
    num_steps: float | Array,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer `factory(learning_rate · schedule(t / num_steps))`, built again in every step t.

    The factory gets a number, not an optax schedule, so factories that accept only numbers work too.

    Args:
      factory: a function from a learning rate to an optax transformation.
      learning_rate: the learning rate, which the schedule multiplies.
      schedule: a function from the fraction of training done, in [0, 1], to a factor.
      num_steps: the total number of training steps.

    >>> optimizer = with_schedule(optax.sgd, 1.0, linear, num_steps=2)
    >>> state, w = optimizer.init(jnp.zeros(1)), jnp.zeros(1)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(jnp.ones(1), state, w)
    ...     w = w + updates
    >>> w.tolist()
    [-1.5]
    """

    def init(params):
        return ScheduledState(jnp.int32(0), factory(learning_rate).init(params))

    def update(updates, state, params=None, **extra):
        fraction = state.count.astype(float) / num_steps
        optimizer = optax.with_extra_args_support(factory(learning_rate * schedule(fraction)))
        updates, inner = optimizer.update(updates, state.inner, params, **extra)
        return updates, ScheduledState(state.count + 1, inner)

    return optax.GradientTransformationExtraArgs(init, update)
