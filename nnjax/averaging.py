"""Weight averaging: training goes where it goes, and evaluation uses the mean of where it has been.

Steps of gradient descent wander about a minimum, and their mean lies nearer to it than any of them
(Polyak and Juditsky, *Acceleration of stochastic approximation by averaging*, 1992).
"""

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from nnjax.numbers import check_range
from nnjax.optimizers import Factory, with_keyword


class Averages(NamedTuple):
    """The state of an averaging optimizer: that of its steps, and the running mean of the parameters."""

    steps: optax.OptState
    mean: Any
    count: Int[Array, ""]


@dataclass(frozen=True)
class Averaged:
    """An optax factory whose steps are those of another, and whose mean is what is evaluated.

    `fit(..., optimizer=Averaged(optax.adam), learning_rate=0.001, decay=0.999)`: the mean forgets a step
    by the share 1 - decay each step, and at first faster, so that it does not remember how it began.

    >>> Averaged(optax.sgd)(learning_rate=0.1, decay=0.9).init(jnp.zeros(2)).mean.tolist()
    [0.0, 0.0]
    """

    factory: Factory

    @property
    def __signature__(self) -> inspect.Signature:
        decay = inspect.Parameter("decay", inspect.Parameter.KEYWORD_ONLY, default=0.999)
        return with_keyword(self.factory, decay)

    def __call__(
        self, *, decay: float | Array = 0.999, **hyperparameters: Any
    ) -> optax.GradientTransformationExtraArgs:
        check_range("decay", decay, 0, 1)
        steps = optax.with_extra_args_support(self.factory(**hyperparameters))

        def init(params):
            return Averages(steps.init(params), params, jnp.int32(0))

        def update(updates, state, params=None, **extra):
            if params is None:
                raise ValueError("the mean is of parameters: update wants them too")
            updates, own = steps.update(updates, state.steps, params, **extra)
            count = state.count + 1
            keep = jnp.minimum(decay, (1 + count) / (10 + count))
            mean = optax.incremental_update(optax.apply_updates(params, updates), state.mean, 1 - keep)
            mean = jax.tree.map(lambda new, old: new.astype(old.dtype), mean, state.mean)
            return updates, Averages(own, mean, count)

        return optax.GradientTransformationExtraArgs(init, update)


def evaluated(params: Any, opt_state: optax.OptState) -> Any:
    """The parameters to evaluate: the mean where the optimizer keeps one, else those of the last step.

    An optimizer that averages may be the last of a chain.
    """
    parts = jax.tree.leaves(opt_state, is_leaf=lambda part: isinstance(part, Averages))
    return next((part.mean for part in parts if isinstance(part, Averages)), params)
