"""A small convolutional network for one image.

A convolution applies one dense layer to every patch of the image, so a pattern learned at one position
is recognized at every position. Max pooling keeps the largest value of each block, so a small shift of a
stroke changes the output little (LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to
document recognition*, 1998).

A size or a stride is one number for both directions, or a pair (height, width).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.nn._convolution import convolve
from nnjax.nn._pooling import max_pool
from nnjax.nn.dense import Activation, InitialWeights, Layer, Params, feedforward, he, identity, init, relu
from nnjax.nn.dropout import dropout
from nnjax.runtime.checks import check_positive_int, check_range, lookup

Size = int | tuple[int, int]

PADDINGS = ("VALID", "SAME")


class ConvParams(NamedTuple):
    """The parameters of a convolutional network.

    Attributes:
      convolutions: one layer per convolution: `w` is (channels_out, kernel height · kernel width ·
        channels_in), with the weights of an output channel in the order (row, column, channel).
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


def pair(size: Size) -> tuple[int, int]:
    """A size or a stride as (height, width).

    >>> pair(5), pair((3, 5))
    ((5, 5), (3, 5))
    """
    return (size, size) if isinstance(size, int) else size


def output_side(side: int, kernel: int, stride: int, padding: str) -> int:
    """The height or width of a convolution's output, for an image of the height or width `side`.

    >>> output_side(28, 5, 1, "VALID"), output_side(28, 5, 2, "SAME")
    (24, 14)
    """
    return -(-side // stride) if padding == "SAME" else (side - kernel) // stride + 1


def conv2d(
    layer: Layer,
    x: Float[Array, "height width channels"],
    kernel_size: Size,
    stride: Size = 1,
    padding: str = "VALID",
) -> Float[Array, "h w n_out"]:
    """A convolution: the layer applied to every patch of the image.

    Args:
      layer: `w` is (n_out, kernel height · kernel width · channels), in the order (row, column, channel).
      x: an image.
      kernel_size: the size of a patch.
      stride: the distance between the first pixels of neighboring patches.
      padding: "VALID" for no padding; "SAME" for zeros around the image, so that with stride 1 the output has
        the size of the image.
    """
    if jax.default_backend() != "cpu":
        return conv2d_xla(layer, x, kernel_size, stride, padding)
    kernel, stride = pair(kernel_size), pair(stride)
    if padding == "SAME":
        x = jnp.pad(x, (*jax.lax.padtype_to_pads(x.shape[:2], kernel, stride, padding), (0, 0)))
    w = layer.w.T.reshape(*kernel, x.shape[-1], -1)
    return convolve(x[None], w, stride)[0] + layer.b[None, None]


def conv2d_xla(
    layer: Layer,
    x: Float[Array, "height width channels"],
    kernel_size: Size,
    stride: Size = 1,
    padding: str = "VALID",
) -> Float[Array, "h w n_out"]:
    """`conv2d` computed by XLA's convolution, which is faster on accelerators."""
    w = layer.w.reshape(-1, *pair(kernel_size), x.shape[-1])
    names = ("NHWC", "OHWI", "NHWC")
    z = jax.lax.conv_general_dilated(x[None], w, pair(stride), padding, dimension_numbers=names)[0]
    return z + layer.b[None, None]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["dropout"],
    meta_fields=["image_shape", "kernel_size", "stride", "padding", "pool", "activation", "output"],
)
@dataclass(frozen=True)
class ConvNet:
    """The forward function of a convolutional network: convolutions with max pooling, then dense layers.

    Attributes:
      image_shape: (height, width) or (height, width, channels).
      kernel_size: the size of every convolution's kernel.
      stride: the distance between neighboring positions of the kernel.
      padding: "VALID" or "SAME", as for `conv2d`.
      pool: the size of the blocks of max pooling; 1 for no pooling.
      activation: the activation of the hidden layers.
      output: the activation of the last layer.
      dropout: the probability of dropping an input of the dense layers in training; None for no dropout.

    Raises:
      ValueError: a size that is not positive, an unknown padding, or a dropout rate outside [0, 1].
    """

    image_shape: tuple[int, ...]
    kernel_size: Size = 5
    stride: Size = 1
    padding: str = "VALID"
    pool: Size = 2
    activation: Activation = relu
    output: Activation = identity
    dropout: float | None = None

    def __post_init__(self):
        for name in ("kernel_size", "stride", "pool"):
            object.__setattr__(self, name, _checked_pair(name, getattr(self, name)))
        lookup("padding", self.padding, dict.fromkeys(PADDINGS))
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
            z = conv2d(layer, x, self.kernel_size, self.stride, self.padding)
            x = max_pool(self.activation(z), pair(self.pool))
        return x.ravel()

    def widths(self, channels: Sequence[int]) -> list[tuple[int, int]]:
        """The input and output channels of each convolution."""
        return list(pairwise(((*self.image_shape, 1)[2], *channels)))

    def shapes(self, channels: Sequence[int]) -> list[tuple[int, ...]]:
        """Height and width of the image and of the output of each pooling."""
        shapes = [tuple(self.image_shape[:2])]
        for _ in channels:
            axes = zip(shapes[-1], *map(pair, (self.kernel_size, self.stride, self.pool)), strict=False)
            shapes.append(tuple(output_side(n, k, step, self.padding) // pool for n, k, step, pool in axes))
        return shapes

    def num_features(self, channels: Sequence[int]) -> int:
        """The number of features that convolutions with these channels pass to the dense layers.

        Raises:
          ValueError: no channels, or an image that is too small.

        >>> ConvNet((28, 28)).num_features((16, 32))
        512
        >>> ConvNet((28, 28), kernel_size=3, stride=2, padding="SAME", pool=1).num_features((16, 32))
        1568
        """
        if not channels:
            raise ValueError("channels must contain at least one number, got ()")
        shape = self.shapes(channels)[-1]
        sizes = zip(self.image_shape, pair(self.kernel_size), pair(self.stride), strict=False)
        is_larger = any(max(kernel, stride) > side for side, kernel, stride in sizes)
        if len(self.image_shape) not in (2, 3) or min(shape) < 1 or is_larger:
            raise ValueError(
                "image_shape must be (height, width) or (height, width, channels), and large enough for a "
                f"convolution and a pooling for each of channels, got image_shape {self.image_shape}, "
                f"channels {tuple(channels)}, kernel_size {self.kernel_size}, stride {self.stride}, padding "
                f"{self.padding!r} and pool {self.pool}: use fewer convolutions or smaller sizes"
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
            initial_weights(key, math.prod(pair(self.kernel_size)) * n_in, n_out)
            for key, (n_in, n_out) in zip(keys, self.widths(channels), strict=True)
        )
        return ConvParams(convolutions, init(dense_key, (num_features, *dense), initial_weights))


def _checked_pair(name: str, size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"{name} must be a number or a pair (height, width), got {size!r}")
    height, width = (check_positive_int(name, side) for side in sides)
    return height, width
