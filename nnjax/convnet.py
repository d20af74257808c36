"""A small convolutional network, for one image, as `network` has the dense one.

A convolution is one dense layer that looks at every patch of the image alike: what it learns in one
place it knows in all. Pooling keeps the largest of each 2x2, so that a stroke may lie a pixel aside
(LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, 1998).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.dropout import dropped
from nnjax.network import Activation, InitialWeights, Layer, Params, feedforward, he, identity, init, relu
from nnjax.numbers import check_range


class ConvParams(NamedTuple):
    """The parameters of a convolutional network.

    Attributes:
      convolutions: layers that look at patches: `w` is (channels out, side * side * channels in).
      dense: the layers behind them, which see all that the last pooling leaves.
    """

    convolutions: tuple[Layer, ...]
    dense: Params


def in_parts(params: ConvParams | Params) -> ConvParams:
    """The convolutions of a network, none of a dense one, and its dense layers."""
    return params if isinstance(params, ConvParams) else ConvParams((), params)


def layers_of(params: ConvParams | Params) -> tuple[Layer, ...]:
    """All layers of a network, convolutions first."""
    convolutions, dense = in_parts(params)
    return *convolutions, *dense


def layer_sizes(params: ConvParams | Params, pixels: int) -> tuple[int, ...]:
    """The inputs of a network, and the neurons of each layer; of a convolution its channels."""
    return pixels, *(layer.b.shape[0] for layer in layers_of(params))


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


def convolved(layer: Layer, x: Float[Array, "height width channels"], side: int) -> Float[Array, "h w n_out"]:
    """What a layer makes of every patch of side x side of an image."""
    if jax.default_backend() == "cpu":
        return jax.vmap(jax.vmap(lambda patch: layer.w @ patch + layer.b))(patches(x, side))
    return by_library(layer, x, side)


def by_library(
    layer: Layer, x: Float[Array, "height width channels"], side: int
) -> Float[Array, "h w n_out"]:
    """`convolved` by XLA's convolution, which suits accelerators."""
    w = layer.w.reshape(-1, side, side, x.shape[-1])
    names = ("NHWC", "OHWI", "NHWC")
    z = jax.lax.conv_general_dilated(x[None], w, (1, 1), "VALID", dimension_numbers=names)[0]
    return z + layer.b[None, None]


def pooled(x: Float[Array, "height width channels"]) -> Float[Array, "h w channels"]:
    """The largest number of each 2x2, channel by channel; an odd last row or column is left out."""
    height, width, channels = x.shape
    x = x[: height // 2 * 2, : width // 2 * 2]
    return x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["dropout"],
    meta_fields=["image_shape", "side", "activation", "output"],
)
@dataclass(frozen=True)
class ConvNet:
    """The forward of a convolutional network, as `Objective` takes it.

    Attributes:
      image_shape: height and width, or height, width and channels.
      side: of the patches that the convolutions look at.
      activation, output: of the hidden layers and of the last.
      dropout: the chance of what the dense layers see to be left out while training; None for none.
    """

    image_shape: tuple[int, ...]
    side: int = 5
    activation: Activation = relu
    output: Activation = identity
    dropout: float | None = None

    def __post_init__(self):
        check_range("dropout", self.dropout, 0, 1)

    @property
    def settled(self) -> "ConvNet":
        """What it is once training is over."""
        return replace(self, dropout=None)

    def __call__(self, params: ConvParams, x: Float[Array, " pixels"], key: Array | None = None) -> Array:
        """The output for one image, given flat."""
        seen = self.seen(params.convolutions, x)
        if key is not None and self.dropout is not None:
            seen = dropped(key, seen, self.dropout)
        return feedforward(params.dense, seen, self.activation, self.output)

    def seen(self, convolutions: Sequence[Layer], x: Float[Array, " pixels"]) -> Float[Array, " n"]:
        """What the convolutions make of an image, flat.

        Raises:
          ValueError: an image of another size.
        """
        if x.size != math.prod(self.image_shape):
            raise ValueError(f"an image of {x.size} numbers, but the network takes {self.image_shape}")
        x = x.reshape(*self.image_shape[:2], -1)
        for layer in convolutions:
            x = pooled(self.activation(convolved(layer, x, self.side)))
        return x.ravel()

    def widths(self, channels: Sequence[int]) -> list[tuple[int, int]]:
        """The channels that go into each convolution, and those that come out."""
        return list(pairwise(((*self.image_shape, 1)[2], *channels)))

    def shapes(self, channels: Sequence[int]) -> list[tuple[int, ...]]:
        """Height and width of the image, and of what each pooling leaves."""
        shapes = [tuple(self.image_shape[:2])]
        for _ in channels:
            shapes.append(tuple((n - self.side + 1) // 2 for n in shapes[-1]))
        return shapes

    def n_seen(self, channels: Sequence[int]) -> int:
        """How many numbers the dense layers see behind convolutions of so many channels.

        Raises:
          ValueError: no convolution, or images too small for so many.

        >>> ConvNet((28, 28)).n_seen((16, 32))
        512
        """
        shape = self.shapes(channels)[-1]
        if not channels or len(self.image_shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(
                f"images of {self.image_shape} do not suit {len(channels)} convolutions of {self.side} x "
                f"{self.side} patches, each halved: at least one is wanted, and no more than leave a pixel"
            )
        return math.prod(shape) * channels[-1]

    def init(
        self,
        key: Array,
        channels: Sequence[int] = (16, 32),
        dense: Sequence[int] = (128, 10),
        initial_weights: InitialWeights = he,
    ) -> ConvParams:
        """Random parameters: channels of each convolution, neurons of each dense layer.

        Raises:
          ValueError: as `n_seen` says.

        >>> net = ConvNet((28, 28))
        >>> params = net.init(jax.random.key(0), (4, 8), (10,))
        >>> [layer.w.shape for layer in (*params.convolutions, *params.dense)]
        [(4, 25), (8, 100), (10, 128)]
        """
        n_seen = self.n_seen(channels)
        dense_key, *keys = jax.random.split(key, len(channels) + 1)
        convolutions = tuple(
            initial_weights(key, self.side**2 * n_in, n_out)
            for key, (n_in, n_out) in zip(keys, self.widths(channels), strict=True)
        )
        return ConvParams(convolutions, init(dense_key, (n_seen, *dense), initial_weights))
