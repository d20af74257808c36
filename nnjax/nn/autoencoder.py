"""Autoencoders: networks that compress an input into a short code, and reconstruct the input from it.

The target of an example is its input, so there is no output code: `Objective(forward, cost, code=None)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.nn.dense import Activation, InitialWeights, Params, feedforward, identity, init, lecun, tanh
from nnjax.nn.objective import sigmoid_cross_entropy


class AutoencoderParams(NamedTuple):
    """The dense layers from the input to the code, and those from the code to the reconstruction."""

    encoder: Params
    decoder: Params


@dataclass(frozen=True)
class Autoencoder:
    """The forward function of an autoencoder: the reconstruction of an input, in its shape.

    Hinton and Salakhutdinov, *Reducing the dimensionality of data with neural networks* (2006). The code is
    linear.

    Attributes:
      activation: the activation of the hidden layers.
      output: the activation of the reconstruction; `identity` for `sigmoid_cross_entropy`.
    """

    activation: Activation = tanh
    output: Activation = identity

    outputs_per_code: ClassVar[int] = 1  # of the encoder, for each number of the code

    def init(
        self,
        key: Array,
        n_in: int,
        hidden: Sequence[int],
        code_size: int,
        initial_weights: InitialWeights = lecun,
    ) -> AutoencoderParams:
        """Random parameters.

        Args:
          key: a `jax.random.key`.
          n_in: the size of an input.
          hidden: neurons of the layers between input and code; the decoder has the same in reverse.
          code_size: the size of the code.
          initial_weights: as for `nnjax.init`.
        """
        sizes, (encoder_key, decoder_key) = (n_in, *hidden), jax.random.split(key)
        return AutoencoderParams(
            init(encoder_key, (*sizes, self.outputs_per_code * code_size), initial_weights),
            init(decoder_key, (code_size, *sizes[::-1]), initial_weights),
        )

    def __call__(self, params: AutoencoderParams, x: Float[Array, "..."], key: Any = None) -> Array:
        """The reconstruction of one input."""
        code = feedforward(params.encoder, x, self.activation, identity)
        return feedforward(params.decoder, code, self.activation, self.output).reshape(x.shape)


@dataclass(frozen=True)
class VariationalAutoencoder(Autoencoder):
    """The forward function of a variational autoencoder, for inputs from 0 to 1.

    The encoder computes mean and log-variance of a Gaussian distribution of codes. In training the code is
    drawn from it; in evaluation it is the mean (Kingma and Welling, *Auto-encoding variational Bayes*, 2014).
    The output of one example is a vector: the logits of the reconstruction, then mean and log-variance.

    >>> forward = VariationalAutoencoder()
    >>> params = forward.init(jax.random.key(0), 16, (8,), code_size=3)
    >>> forward(params, jnp.ones((4, 4))).shape
    (22,)
    """

    outputs_per_code: ClassVar[int] = 2  # mean and log-variance

    def __call__(
        self, params: AutoencoderParams, x: Float[Array, "..."], key: Array | None = None
    ) -> Float[Array, " n"]:
        """Logits, mean and log-variance for one input."""
        parts = feedforward(params.encoder, x, self.activation, identity)
        mean, log_variance = jnp.split(parts, 2)
        code = mean
        if key is not None:
            code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape, mean.dtype)
        return jnp.concatenate([feedforward(params.decoder, code, self.activation, identity), parts])


def negative_elbo(output: Float[Array, " n"], x: Float[Array, "..."]) -> Float[Array, ""]:
    """The cost of a `VariationalAutoencoder`: reconstruction error plus KL divergence, in nats.

    The error is the cross-entropy of the reconstruction; the divergence from N(0, 1) is
    ½ Σ (μ² + σ² − ln σ² − 1).

    Args:
      output: of `VariationalAutoencoder`, (n_in + 2 code_size,).
      x: the input, from 0 to 1.
    """
    logits, parts = output[: x.size], output[x.size :]
    mean, log_variance = jnp.split(parts, 2)
    divergence = jnp.sum(mean**2 + jnp.exp(log_variance) - log_variance - 1) / 2
    return sigmoid_cross_entropy(logits, x.ravel()) + divergence
