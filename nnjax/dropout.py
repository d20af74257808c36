"""Dropout: while training, units are left out at random, so that none can rely on another.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, *Dropout: a simple way to prevent neural
networks from overfitting* (2014). What is kept is enlarged, so that evaluation uses the network as it is.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.objective import Dense


def dropped(key: Array, x: Float[Array, " n"], rate: float | Array) -> Float[Array, " n"]:
    """x with each number zero with a chance of `rate`, else divided by 1 - rate: the same on average."""
    keep = 1 - jnp.asarray(rate, x.dtype)
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, 0)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["rate", "input_rate"],
    meta_fields=["activation", "output"],
)
@dataclass(frozen=True)
class Dropout(Dense):
    """`Dense`, that leaves out inputs and hidden units where it is given a key.

    The rates are leaves: another rate compiles nothing, and a sweep trains several side by side.

    Attributes:
      rate: the chance of a hidden unit to be left out.
      input_rate: that of a pixel.
    """

    rate: float = 0.5
    input_rate: float = 0.2

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
