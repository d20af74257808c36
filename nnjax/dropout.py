"""Dropout: while training, units are left out at random, so that none can rely on another.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, *Dropout: a simple way to prevent neural
networks from overfitting* (2014). What is kept is enlarged, so that evaluation uses the network as it is.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.numbers import check_range
from nnjax.objective import Dense


def dropped(key: Array, x: Float[Array, " n"], rate: float | Array) -> Float[Array, " n"]:
    """x with each number zero with a chance of `rate`, else divided by 1 - rate: the same on average."""
    keep = 1 - jnp.asarray(rate, x.dtype)
    # A divisor of 0 would make NaN of the gradient, though all of x is left out then.
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / jnp.where(keep > 0, keep, 1), 0)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["rate", "input_rate"],
    meta_fields=["activation", "output"],
)
@dataclass(frozen=True)
class Dropout(Dense):
    """`Dense`, that leaves out inputs and hidden units where it is given a key.

    The rates are leaves: another rate compiles nothing, and a sweep trains several side by side.

    Raises:
      ValueError: a rate that is no chance.

    Attributes:
      rate: the chance of a hidden unit to be left out.
      input_rate: that of a pixel.
    """

    rate: float = 0.5
    input_rate: float = 0.2

    def __post_init__(self):
        check_range("rate", self.rate, 0, 1)
        check_range("input_rate", self.input_rate, 0, 1)

    @property
    def settled(self) -> Dense:
        """What it is once training is over."""
        return Dense(self.activation, self.output)

    def __call__(self, params, x, key=None):
        if key is None:
            return super().__call__(params, x)
        rates = self.input_rate, *[self.rate] * (len(params) - 1)
        fs = *[self.activation] * (len(params) - 1), self.output
        keys = jax.random.split(key, len(params))
        for (w, b), own, rate, f in zip(params, keys, rates, fs, strict=True):
            x = f(w @ dropped(own, x, rate) + b)
        return x
