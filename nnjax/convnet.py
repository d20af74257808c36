"""A small convolutional network, for one image, as `network` has the dense one.

A convolution is one dense layer that looks at every patch of the image alike: what it learns in one
place it knows in all. Pooling keeps the largest of each 2x2, so that a stroke may lie a pixel aside
(LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, 1998).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.dropout import dropped
from nnjax.network import Activation, InitialWeights, Layer, Params, feedforward, identity, init, relu, scaled


class ConvParams(NamedTuple):
    """The parameters of a convolutional network.

    Attributes:
      convolutions: layers that look at patches: `w` is (channels out, side * side * channels in).
      dense: the layers behind them, which see all that the last pooling leaves.
    """

    convolutions: tuple[Layer, ...]
    dense: Params


def patches(x: Float[Array, "height width channels"], side: int) -> Float[Array, "h w numbers"]:
    """Every patch of side x side of an image, flattened; h = height - side + 1, and w likewise.

    Shifted copies side by side: on a processor many times faster inside a loop than XLA's convolution.

    >>> patches(jnp.arange(6.0).reshape(2, 3, 1), 2)[0].tolist()
    [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0]]
    """
    height, width, _ = x.shape
    shifted = [
        x[row : row + height - side + 1, column : column + width - side + 1]
        for row in range(side)
        for column in range(side)
    ]
    return jnp.concatenate(shifted, axis=-1)


def pooled(x: Float[Array, "height width channels"]) -> Float[Array, "h w channels"]:
    """The largest number of each 2x2, channel by channel; an odd last row or column is left out."""
    height, width, channels = x.shape
    x = x[: height // 2 * 2, : width // 2 * 2]
    return x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))


@dataclass(frozen=True)
class ConvNet:
    """The forward of a convolutional network, as `Objective` takes it.

    Attributes:
      image_shape: height and width, or height, width and channels.
      side: of the patches that the convolutions look at.
      activation, output: of the hidden layers and of the last.
      dropout: the chance of what the dense layers see to be left out while training.
    """

    image_shape: tuple[int, ...]
    side: int = 5
    activation: Activation = relu
    output: Activation = identity
    dropout: float = 0.0

    def __call__(self, params: ConvParams, x: Float[Array, " pixels"], key: Array | None = None) -> Array:
        """The output for one image, given flat."""
        seen = self.seen(params.convolutions, x)
        if key is not None and self.dropout:
            seen = dropped(key, seen, self.dropout)
        return feedforward(params.dense, seen, self.activation, self.output)

    def seen(self, convolutions: Sequence[Layer], x: Float[Array, " pixels"]) -> Float[Array, " n"]:
        """What the convolutions make of an image, flat."""
        x = x.reshape(*self.image_shape[:2], -1)
        for layer in convolutions:
            at_every_place = jax.vmap(jax.vmap(lambda patch, layer=layer: layer.w @ patch + layer.b))
            x = pooled(self.activation(at_every_place(patches(x, self.side))))
        return x.ravel()

    def init(
        self,
        key: Array,
        channels: Sequence[int] = (16, 32),
        dense: Sequence[int] = (128, 10),
        initial_weights: InitialWeights = scaled,
    ) -> ConvParams:
        """Random parameters: channels of each convolution, neurons of each dense layer.

        >>> net = ConvNet((28, 28))
        >>> params = net.init(jax.random.key(0), (4, 8), (10,))
        >>> [layer.w.shape for layer in (*params.convolutions, *params.dense)]
        [(4, 25), (8, 100), (10, 128)]
        """
        dense_key, *keys = jax.random.split(key, len(channels) + 1)
        widths = pairwise(((*self.image_shape, 1)[2], *channels))
        convolutions = tuple(
            initial_weights(key, self.side**2 * n_in, n_out)
            for key, (n_in, n_out) in zip(keys, widths, strict=True)
        )
        pixels = jax.ShapeDtypeStruct((math.prod(self.image_shape),), jnp.float32)
        n_seen = jax.eval_shape(self.seen, convolutions, pixels).size
        return ConvParams(convolutions, init(dense_key, (n_seen, *dense), initial_weights))
