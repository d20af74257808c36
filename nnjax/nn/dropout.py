"""Dropout: in training, randomly chosen units output 0, so that no unit can rely on one other unit.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, *Dropout: a simple way to prevent neural
networks from overfitting* (2014). The remaining units are scaled up, so evaluation needs no scaling.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.nn.dense import Dense
from nnjax.runtime.checks import check_range


def dropout(key: Array, x: Float[Array, " n"], rate: float | Array) -> Float[Array, " n"]:
    """Sets each number of x to 0 with probability `rate` and divides the others by 1 − rate.

    So the expected value of the result is x.
    """
    keep = 1 - jnp.asarray(rate, x.dtype)
    # If rate is 1, all of x is dropped, but a division by 0 would still make the gradient NaN.
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / jnp.where(keep > 0, keep, 1), 0)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["rate", "input_rate"],
    meta_fields=["activation", "output"],
)
@dataclass(frozen=True)
class DenseWithDropout(Dense):
    """`Dense` that drops inputs and hidden units if it gets a key.

    The rates are leaves of the pytree: changing them does not recompile, and a sweep can train with
    several values in one program.

    Attributes:
      activation, output: as in `Dense`.
      rate: the probability of dropping a hidden unit.
      input_rate: the probability of dropping an input.

    Raises:
      ValueError: a rate outside [0, 1].
    """

    rate: float = 0.5
    input_rate: float = 0.2

    def __post_init__(self):
        check_range("rate", self.rate, 0, 1)
        check_range("input_rate", self.input_rate, 0, 1)

    def inference(self) -> Dense:
        """The forward without dropout."""
        return Dense(self.activation, self.output)

    def __call__(self, params, x, key=None):
        if key is None:
            return super().__call__(params, x)
        rates = self.input_rate, *[self.rate] * (len(params) - 1)
        activations = *[self.activation] * (len(params) - 1), self.output
        keys, x = jax.random.split(key, len(params)), jnp.ravel(x)
        for (w, b), layer_key, rate, f in zip(params, keys, rates, activations, strict=True):
            x = f(w @ dropout(layer_key, x, rate) + b)
        return x
