"""Layer normalization, and dense networks with it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.nn.dense import Dense, Layer


def layer_norm(norm: Layer, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
    """Each row with mean 0 and variance 1, times a gain, plus a bias (Ba, Kiros, Hinton, 2016)."""
    normalized = jax.nn.standardize(x, axis=-1, epsilon=1e-5)
    return normalized * norm.w[None] + norm.b[None]


@dataclass(frozen=True)
class LayerNormMLP(Dense):
    """`Dense` whose hidden pre-activations have mean 0 and variance 1 for every example.

    Ba, Kiros, Hinton, *Layer normalization* (2016), without gains. The parameters are those of `init`; for
    residual connections the hidden layers must have the same width.

    Attributes:
      residual: whether each hidden layer but the first is added to its input (He, Zhang, Ren, Sun, *Deep
        residual learning for image recognition*, 2015).

    >>> from nnjax.nn import init
    >>> LayerNormMLP(residual=True)(init(jax.random.key(0), (4, 8, 8, 2)), jnp.ones(4)).shape
    (2,)
    """

    residual: bool = False

    def __call__(self, params, x, key=None):
        first, *hidden, last = params
        a = self.activation(jax.nn.standardize(first.w @ jnp.ravel(x) + first.b))
        for w, b in hidden:
            change = self.activation(jax.nn.standardize(w @ a + b))
            a = a + change if self.residual else change
        return self.output(last.w @ a + last.b)
