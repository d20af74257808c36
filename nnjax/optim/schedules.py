"""Learning-rate schedules: functions that multiply the learning rate.

The named schedules are functions of the fraction of training done, from 0 to 1. They do not depend on the
number of steps, so training for longer does not recompile. Every other schedule is a function of the step, as
in optax.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from nnjax.optim.extra_args import accept_extra_args

Schedule = Callable[[Any], Any]

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


def is_named(schedule: Schedule) -> bool:
    """Whether `schedule` is one of `SCHEDULES`. Then it is a function of the fraction of training done."""
    return schedule in SCHEDULES.values()


def of_step(schedule: Schedule, num_steps: float | Array | None) -> Schedule:
    """A schedule as a function of the step.

    Args:
      schedule: one of `SCHEDULES`, or a function of the step.
      num_steps: the total number of steps; only the named schedules need it.
    """
    if schedule is constant or not is_named(schedule):
        return schedule
    return lambda step: schedule(jnp.asarray(step, float) / jnp.asarray(num_steps, float))


def choose(schedules: Sequence[Schedule], index: int | Array | None) -> Schedule:
    """The schedule at `index`, which may be traced, so that one program can train with several schedules."""
    floats = [lambda step, f=schedule: jnp.asarray(f(step), float) for schedule in schedules]
    return floats[0] if len(floats) == 1 else lambda step: jax.lax.switch(index, floats, step)


class ScheduledState(NamedTuple):
    """The number of steps taken, and the state of the inner optimizer."""

    count: Int[Array, ""]
    inner: optax.OptState


def with_schedule(
    factory: Callable[[Any], optax.GradientTransformation],
    learning_rate: float | Array,
    schedule: Schedule,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer `factory(learning_rate · schedule(t))`, built again in every step t.

    The factory gets a number, not an optax schedule, so factories that accept only numbers work too.

    Args:
      factory: a function from a learning rate to an optax transformation.
      learning_rate: the learning rate, which the schedule multiplies.
      schedule: a function from the step, counted from 0, to a factor.

    >>> optimizer = with_schedule(optax.sgd, 1.0, optax.linear_schedule(1.0, 0.0, 2))
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
        optimizer = accept_extra_args(factory(learning_rate * schedule(state.count)))
        updates, inner = optimizer.update(updates, state.inner, params, **extra)
        return updates, ScheduledState(state.count + 1, inner)

    return optax.GradientTransformationExtraArgs(init, update)
