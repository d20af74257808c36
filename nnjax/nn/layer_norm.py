"""Dense networks with layer normalization, and residual ones."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from nnjax.nn.dense import Dense


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
