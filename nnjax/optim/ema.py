"""Weight averaging: evaluation uses an exponential moving average (EMA) of the parameters.

Steps of stochastic gradient descent fluctuate around a minimum, and their mean is closer to it
(Polyak and Juditsky, *Acceleration of stochastic approximation by averaging*, 1992).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int
from optax.contrib import ScheduleFreeState, schedule_free_eval_params

from nnjax.optim.extra_args import accept_extra_args
from nnjax.runtime.checks import check_range


class EMAState(NamedTuple):
    """The state of the inner optimizer, the averaged parameters, and the number of steps."""

    inner: optax.OptState
    mean: Any
    count: Int[Array, ""]


def with_ema(
    inner: optax.GradientTransformation, decay: float | Array = 0.999
) -> optax.GradientTransformationExtraArgs:
    """Adds an exponential moving average of the parameters to an optimizer: m → d m + (1 − d) w.

    The steps are those of `inner`. In step t the decay is d = min(decay, (1 + t) / (10 + t)), so that the
    mean forgets the initial parameters quickly.

    Args:
      inner: any optax transformation.
      decay: from 0 to 1.

    Raises:
      ValueError: a decay outside [0, 1].

    >>> with_ema(optax.sgd(0.1), decay=0.9).init(jnp.zeros(2)).mean.tolist()
    [0.0, 0.0]
    """
    check_range("ema_decay", decay, 0, 1)
    inner = accept_extra_args(inner)

    def init(params):
        return EMAState(inner.init(params), params, jnp.int32(0))

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError("params must be passed to update, because the EMA averages them, got None")
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        count = state.count + 1
        keep = jnp.minimum(decay, (1 + count) / (10 + count))
        mean = optax.incremental_update(optax.apply_updates(params, updates), state.mean, 1 - keep)
        mean = jax.tree.map(lambda new, old: new.astype(old.dtype), mean, state.mean)
        return updates, EMAState(inner_state, mean, count)

    return optax.GradientTransformationExtraArgs(init, update)


def eval_params(params: Any, opt_state: optax.OptState) -> Any:
    """The parameters to evaluate: an average if the optimizer computes one, else `params`.

    The average is the mean of an `EMAState`, or that of a schedule-free optimizer, whose gradients are
    taken at other parameters (Defazio and others, *The road less scheduled*, 2024), anywhere in `opt_state`.
    """
    averages = EMAState | ScheduleFreeState
    parts = jax.tree.leaves(opt_state, is_leaf=lambda part: isinstance(part, averages))
    average = next((part for part in parts if isinstance(part, averages)), None)
    if isinstance(average, EMAState):
        return average.mean
    # Compiled, because processes cannot compute with arrays of several processes one operation at a time.
    return params if average is None else jax.jit(schedule_free_eval_params)(average, params)
