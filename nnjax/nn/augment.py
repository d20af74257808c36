"""Data augmentation: a new random affine and elastic distortion of every training image in each epoch.

The elastic distortion is that of Simard, Steinkraus, Platt, *Best practices for convolutional neural
networks applied to visual document analysis* (2003): every pixel is displaced by smoothed noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.nn.objective import combine, inference, partition
from nnjax.runtime.checks import check_range

# The fields of `Augment` that are numbers.
MAGNITUDES = ("translate", "rotate", "log_scale", "elastic_alpha", "elastic_sigma")


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Augment:
    """A forward function that distorts images in training and leaves them unchanged in evaluation.

    The magnitudes are leaves of the pytree: changing them does not recompile, and a sweep can train with
    several values in one program.

    Attributes:
      forward: the forward function that gets the distorted image.
      image_shape: height and width.
      translate: maximum shift, in pixels, along each axis.
      rotate: maximum rotation, in radians, in either direction.
      log_scale: maximum absolute logarithm of the scale factor; height and width are scaled
        independently.
      elastic_alpha: standard deviation, in pixels, of the elastic displacement.
      elastic_sigma: standard deviation, in pixels, of the Gaussian that smooths the displacement.

    Raises:
      ValueError: a negative magnitude.
    """

    forward: Callable[[Any, Array, Array | None], Array]
    image_shape: tuple[int, int]
    translate: float = 1.0
    rotate: float = 0.1
    log_scale: float = 0.08
    elastic_alpha: float = 0.6
    elastic_sigma: float = 4.0

    def __post_init__(self):
        for name in MAGNITUDES:
            check_range(name, getattr(self, name), 0)

    def tree_flatten(self):
        forward, static = partition([self.forward])
        return (*forward, *(getattr(self, name) for name in MAGNITUDES)), (*static, self.image_shape)

    @classmethod
    def tree_unflatten(cls, static, children):
        (forward,) = combine(children[:1], static[:1])
        return cls(forward, static[1], *children[1:])

    def inference(self) -> Any:
        """The forward without augmentation."""
        return inference(self.forward)

    def __call__(self, params: Any, x: Float[Array, "..."], key: Array | None = None) -> Array:
        """The output for one image, which is distorted if there is a key."""
        if key is None:
            return self.forward(params, x, None)
        key, distort_key = jax.random.split(key)
        return self.forward(params, self.distort(distort_key, x), key)

    def distort(self, key: Array, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """One image, randomly distorted.

        The value of each pixel is interpolated at the point of the original image that moves to it.
        """
        keys = jax.random.split(key, 4)
        shape = self.image_shape

        def magnitude(name):
            return jnp.asarray(getattr(self, name), x.dtype)

        angle = magnitude("rotate") * jax.random.uniform(keys[0], (), x.dtype, -1, 1)
        scale = jnp.exp(magnitude("log_scale") * jax.random.uniform(keys[1], (2, 1), x.dtype, -1, 1))
        shift = magnitude("translate") * jax.random.uniform(keys[2], (2, 1, 1), x.dtype, -1, 1)
        center = (jnp.array(shape, x.dtype) - 1).reshape(2, 1, 1) / 2
        grid = jnp.stack(jnp.meshgrid(*(jnp.arange(n, dtype=x.dtype) for n in shape), indexing="ij"))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        inverse = scale * jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
        elastic = self.elastic_displacement(keys[3], x.dtype)
        source = jnp.tensordot(inverse, grid - center, 1) + center + shift + elastic
        return interpolate(x.reshape(shape), source).reshape(x.shape)

    def elastic_displacement(self, key: Array, dtype: Any) -> Float[Array, "2 height width"]:
        """The displacement of each pixel: white noise, smoothed along both axes.

        The noise is uniform, because random bytes cost a fraction of normal numbers. Sums of many are normal.
        """
        rows, columns = (self._smoothing_matrix(n, dtype) for n in self.image_shape)
        random_bytes = jax.random.bits(key, (2, *self.image_shape), jnp.uint8).astype(dtype)
        noise = (random_bytes - 127.5) / math.sqrt((256**2 - 1) / 12)  # of mean 0 and variance 1
        return jnp.asarray(self.elastic_alpha, dtype) * jnp.einsum("rh,chw,sw->crs", rows, noise, columns)

    def _smoothing_matrix(self, n: int, dtype: Any) -> Float[Array, "n n"]:
        """Gaussian weights by distance, normalized so that smoothing preserves the variance of noise."""
        i, sigma = jnp.arange(n, dtype=dtype), jnp.maximum(jnp.asarray(self.elastic_sigma, dtype), 1e-3)
        weights = jnp.exp(-((i[:, None] - i[None]) ** 2) / (2 * sigma**2))
        return weights / jnp.linalg.norm(weights, axis=1, keepdims=True)


def interpolate(image: Float[Array, "height width"], points: Float[Array, "2 h w"]) -> Float[Array, "h w"]:
    """The image at these (row, column), interpolated linearly between pixels; zero outside of the image.

    As `jax.scipy.ndimage.map_coordinates`, but the four pixels around a point are gathered together.
    """
    height, width = image.shape
    padded = jnp.pad(image, 1)
    corners = jnp.stack([padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]], axis=-1)
    last = jnp.array([height, width], points.dtype).reshape(2, 1, 1)
    points = jnp.clip(points + 1, 0, last + 1)
    first = jnp.minimum(jnp.floor(points), last)
    (down, right), (row, column) = points - first, first.astype(jnp.int32)
    a, b, c, d = jnp.moveaxis(corners.reshape(-1, 4)[row * (width + 1) + column], -1, 0)
    return (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)
