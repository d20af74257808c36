"""A small convolutional network for one image.

A convolution applies one dense layer to every patch of the image, so a pattern learned at one position
is recognized at every position. Max pooling keeps the largest value of each 2x2 block, so a small shift
of a stroke changes the output little (LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied
to document recognition*, 1998).
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

from nnjax.nn.dense import Activation, InitialWeights, Layer, Params, feedforward, he, identity, init, relu
from nnjax.nn.dropout import dropout
from nnjax.runtime.checks import check_range


class ConvParams(NamedTuple):
    """The parameters of a convolutional network.

    Attributes:
      convolutions: one layer per convolution: `w` is (channels_out, kernel_size² · channels_in), with the
        weights of an output channel in the order of `im2col`.
      dense: the dense layers, which take the flattened output of the last pooling.
    """

    convolutions: tuple[Layer, ...]
    dense: Params


def split_layers(params: ConvParams | Params) -> ConvParams:
    """The convolutions of a network (none for a dense one) and its dense layers."""
    return params if isinstance(params, ConvParams) else ConvParams((), params)


def all_layers(params: ConvParams | Params) -> tuple[Layer, ...]:
    """All layers of a network, convolutions first."""
    convolutions, dense = split_layers(params)
    return *convolutions, *dense


def layer_sizes(params: ConvParams | Params, pixels: int) -> tuple[int, ...]:
    """The number of inputs, then for each layer its neurons or, for a convolution, its channels."""
    return pixels, *(layer.b.shape[0] for layer in all_layers(params))


def im2col(x: Float[Array, "height width channels"], kernel_size: int) -> Float[Array, "h w patch"]:
    """Every kernel_size x kernel_size patch of an image, flattened; h = height - kernel_size + 1.

    Concatenates shifted copies of the image. On a CPU inside `lax.scan`, a matrix product with them is
    many times faster than XLA's convolution.

    >>> im2col(jnp.arange(6.0).reshape(2, 3, 1), 2)[0].tolist()
    [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0]]
    """
    height, width, _ = x.shape
    shifted = [
        x[row : row + height - kernel_size + 1, column : column + width - kernel_size + 1]
        for row in range(kernel_size)
        for column in range(kernel_size)
    ]
    return jnp.concatenate(shifted, axis=-1)


def conv2d(
    layer: Layer, x: Float[Array, "height width channels"], kernel_size: int
) -> Float[Array, "h w n_out"]:
    """A convolution without padding: the layer applied to every patch of the image."""
    if jax.default_backend() == "cpu":
        return jax.vmap(jax.vmap(lambda patch: layer.w @ patch + layer.b))(im2col(x, kernel_size))
    return conv2d_xla(layer, x, kernel_size)


def conv2d_xla(
    layer: Layer, x: Float[Array, "height width channels"], kernel_size: int
) -> Float[Array, "h w n_out"]:
    """`conv2d` computed by XLA's convolution, which is faster on accelerators."""
    w = layer.w.reshape(-1, kernel_size, kernel_size, x.shape[-1])
    names = ("NHWC", "OHWI", "NHWC")
    z = jax.lax.conv_general_dilated(x[None], w, (1, 1), "VALID", dimension_numbers=names)[0]
    return z + layer.b[None, None]


def max_pool(x: Float[Array, "height width channels"]) -> Float[Array, "h w channels"]:
    """The maximum of each 2x2 block in each channel; the last row or column of an odd number is dropped."""
    height, width, channels = x.shape
    x = x[: height // 2 * 2, : width // 2 * 2]
    return x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["dropout"],
    meta_fields=["image_shape", "kernel_size", "activation", "output"],
)
@dataclass(frozen=True)
class ConvNet:
    """The forward function of a convolutional network: convolutions with max pooling, then dense layers.

    Attributes:
      image_shape: (height, width) or (height, width, channels).
      kernel_size: height and width of every convolution's kernel.
      activation: the activation of the hidden layers.
      output: the activation of the last layer.
      dropout: the probability of dropping an input of the dense layers in training; None for no dropout.

    Raises:
      ValueError: a dropout rate outside [0, 1].
    """

    image_shape: tuple[int, ...]
    kernel_size: int = 5
    activation: Activation = relu
    output: Activation = identity
    dropout: float | None = None

    def __post_init__(self):
        check_range("dropout", self.dropout, 0, 1)

    def inference(self) -> "ConvNet":
        """The network without dropout."""
        return replace(self, dropout=None)

    def __call__(self, params: ConvParams, x: Float[Array, "..."], key: Array | None = None) -> Array:
        """The output for one image."""
        features = self.features(params.convolutions, x)
        if key is not None and self.dropout is not None:
            features = dropout(key, features, self.dropout)
        return feedforward(params.dense, features, self.activation, self.output)

    def features(self, convolutions: Sequence[Layer], x: Float[Array, "..."]) -> Float[Array, " n"]:
        """The flattened output of the last pooling for one image.

        Raises:
          ValueError: an image of another size.
        """
        if x.size != math.prod(self.image_shape):
            raise ValueError(
                f"x must have {math.prod(self.image_shape)} numbers, one for each value of an image of shape "
                f"{self.image_shape}, got {x.size}"
            )
        x = x.reshape(*self.image_shape[:2], -1)
        for layer in convolutions:
            x = max_pool(self.activation(conv2d(layer, x, self.kernel_size)))
        return x.ravel()

    def widths(self, channels: Sequence[int]) -> list[tuple[int, int]]:
        """The input and output channels of each convolution."""
        return list(pairwise(((*self.image_shape, 1)[2], *channels)))

    def shapes(self, channels: Sequence[int]) -> list[tuple[int, ...]]:
        """Height and width of the image and of the output of each pooling."""
        shapes = [tuple(self.image_shape[:2])]
        for _ in channels:
            shapes.append(tuple((n - self.kernel_size + 1) // 2 for n in shapes[-1]))
        return shapes

    def num_features(self, channels: Sequence[int]) -> int:
        """The number of features that convolutions with these channels pass to the dense layers.

        Raises:
          ValueError: no channels, or an image that is too small.

        >>> ConvNet((28, 28)).num_features((16, 32))
        512
        """
        if not channels:
            raise ValueError("channels must contain at least one number, got ()")
        shape = self.shapes(channels)[-1]
        if len(self.image_shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(
                "image_shape must be (height, width) or (height, width, channels), and large enough for a "
                f"convolution and a pooling for each of channels, got image_shape {self.image_shape}, "
                f"channels {tuple(channels)} and kernel_size {self.kernel_size}: use fewer convolutions"
            )
        return math.prod(shape) * channels[-1]

    def init(
        self,
        key: Array,
        channels: Sequence[int] = (16, 32),
        dense: Sequence[int] = (128, 10),
        initial_weights: InitialWeights = he,
    ) -> ConvParams:
        """Random parameters.

        Args:
          key: a `jax.random.key`.
          channels: output channels of each convolution.
          dense: neurons of each dense layer, the output layer last.
          initial_weights: as for `nnjax.init`.

        Raises:
          ValueError: as for `num_features`.

        >>> net = ConvNet((28, 28))
        >>> params = net.init(jax.random.key(0), (4, 8), (10,))
        >>> [layer.w.shape for layer in (*params.convolutions, *params.dense)]
        [(4, 25), (8, 100), (10, 128)]
        """
        num_features = self.num_features(channels)
        dense_key, *keys = jax.random.split(key, len(channels) + 1)
        convolutions = tuple(
            initial_weights(key, self.kernel_size**2 * n_in, n_out)
            for key, (n_in, n_out) in zip(keys, self.widths(channels), strict=True)
        )
        return ConvParams(convolutions, init(dense_key, (num_features, *dense), initial_weights))
