"""Decoupled weight decay for optimizers that have none."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax

from nnjax.optim.extra_args import accept_extra_args

Factory = Callable[..., optax.GradientTransformation]


def accepts(factory: Factory, name: str) -> bool:
    """Whether `factory` has a parameter `name`. A parameter `**keywords` does not count.

    >>> accepts(optax.adamw, "weight_decay"), accepts(optax.adam, "weight_decay")
    (True, False)
    """
    return name in inspect.signature(factory).parameters


def accepts_any(factory: Factory) -> bool:
    """Whether `factory` has a parameter `**keywords`, and so accepts every name."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(factory).parameters.values())


@dataclass(frozen=True)
class WithDecoupledDecay:
    """A factory with the parameters of `factory` and with `weight_decay`; see `with_decoupled_decay`."""

    factory: Factory

    def __post_init__(self):
        # The signature belongs to the instance, because `inspect.signature` of the class must still work.
        own = inspect.signature(self.factory)
        decay = inspect.Parameter("weight_decay", inspect.Parameter.KEYWORD_ONLY)
        parameters = list(own.parameters.values())
        keywords = [p for p in parameters if p.kind is p.VAR_KEYWORD]
        parameters = [*(p for p in parameters if p not in keywords), decay, *keywords]
        object.__setattr__(self, "__signature__", own.replace(parameters=parameters))

    def __call__(self, *args: Any, weight_decay: Any, **hyperparameters: Any):
        """The optimizer of `factory`, with weight decay."""
        inner = self.factory(*args, **hyperparameters)
        bound = inspect.signature(self.factory).bind(*args, **hyperparameters)
        bound.apply_defaults()
        return decayed(inner, bound.arguments["learning_rate"], weight_decay)


def with_decoupled_decay(factory: Factory) -> WithDecoupledDecay:
    """Adds decoupled weight decay λ to a factory: the updates u become u − ηλw, with the learning rate η.

    `optax.adamw` adds the same term to `optax.adam`: Loshchilov and Hutter, *Decoupled weight decay
    regularization* (2019). Two wrappers of the same factory are equal, so they share one compiled program.

    Args:
      factory: an optax factory with a parameter `learning_rate`, which must be a number.

    Returns:
      A factory with the parameters of `factory` and the keyword `weight_decay`, λ.

    >>> optimizer = with_decoupled_decay(optax.sgd)(learning_rate=0.5, weight_decay=0.1)
    >>> updates, _ = optimizer.update(0.0, optimizer.init(2.0), 2.0)
    >>> round(updates, 6)
    -0.1
    """
    return WithDecoupledDecay(factory)


def decayed(
    inner: optax.GradientTransformation, learning_rate: Any, weight_decay: Any
) -> optax.GradientTransformationExtraArgs:
    """The optimizer `inner` with the updates u − ηλw, for a learning rate η and a weight decay λ."""
    inner = accept_extra_args(inner)

    def update(updates, state, params=None, **extra):
        updates, state = inner.update(updates, state, params, **extra)
        return jax.tree.map(lambda u, w: u - learning_rate * weight_decay * w, updates, params), state

    return optax.GradientTransformationExtraArgs(inner.init, update)
