"""More data: each image shifted, turned, scaled and bent a little, another way each time it is seen.

What a digit is does not change when it moves a pixel aside, and a network that has seen it in a
hundred places knows. The bending is that of Simard, Steinkraus and Platt (*Best practices for
convolutional neural networks applied to visual document analysis*, 2003): every pixel is moved by
noise that is smooth across the image.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from nnjax.numbers import check_range
from nnjax.objective import joined, parted, settled


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Distorted:
    """A forward that sees every training image distorted, and every other image as it is.

    Its numbers are leaves: another shift compiles nothing, and a sweep trains several side by side.

    Attributes:
      forward: what sees the image then.
      image_shape: height and width.
      shift: pixels, at most, down and across.
      turn: radians, at most, either way.
      scale: the logarithm, at most, of how much larger or smaller, height and width each.
      bend: pixels, the standard deviation of what each pixel is moved by.
      smooth: pixels, across which neighbours move alike; 0 for each pixel by itself.
    """

    forward: Callable[[Any, Array, Array | None], Array]
    image_shape: tuple[int, int]
    shift: float = 1.0
    turn: float = 0.1
    scale: float = 0.08
    bend: float = 0.6
    smooth: float = 4.0

    def __post_init__(self):
        for name in ("shift", "turn", "scale", "bend", "smooth"):
            check_range(name, getattr(self, name), 0)

    def tree_flatten(self):
        _, image_shape, *numbers = (getattr(self, field.name) for field in fields(self))
        forward, static = parted([self.forward])
        return (*forward, *numbers), (*static, image_shape)

    @classmethod
    def tree_unflatten(cls, static, children):
        (forward,) = joined(children[:1], static[:1])
        return cls(forward, static[1], *children[1:])

    @property
    def settled(self) -> Any:
        """What it is once training is over."""
        return settled(self.forward)

    def __call__(self, params: Any, x: Float[Array, " pixels"], key: Array | None = None) -> Array:
        """The output for one image; distorted where there is a key, which is then split."""
        if key is None:
            return self.forward(params, x, None)
        key, own = jax.random.split(key)
        return self.forward(params, self.distort(own, x), key)

    def distort(self, key: Array, x: Float[Array, " pixels"]) -> Float[Array, " pixels"]:
        """One image as it is seen once: what lies at each pixel is fetched from where it was."""
        keys = jax.random.split(key, 4)
        shape = self.image_shape
        most = {name: jnp.asarray(getattr(self, name), x.dtype) for name in ("turn", "scale", "shift")}
        turn = most["turn"] * jax.random.uniform(keys[0], (), x.dtype, -1, 1)
        scale = jnp.exp(most["scale"] * jax.random.uniform(keys[1], (2, 1), x.dtype, -1, 1))
        shift = most["shift"] * jax.random.uniform(keys[2], (2, 1, 1), x.dtype, -1, 1)
        middle = (jnp.array(shape, x.dtype) - 1).reshape(2, 1, 1) / 2
        at = jnp.stack(jnp.meshgrid(*(jnp.arange(n, dtype=x.dtype) for n in shape), indexing="ij")) - middle
        cos, sin = jnp.cos(turn), jnp.sin(turn)
        back = scale * jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
        moved = jnp.tensordot(back, at, 1) + middle + shift + self.bent(keys[3], x.dtype)
        return map_coordinates(x.reshape(shape), list(moved), order=1).ravel()

    def bent(self, key: Array, dtype: Any) -> Float[Array, "2 height width"]:
        """Where each pixel is moved to: white noise, smoothed along both sides."""
        down, across = (self._smoothing(n, dtype) for n in self.image_shape)
        noise = jax.random.normal(key, (2, *self.image_shape), dtype)
        return jnp.asarray(self.bend, dtype) * jnp.einsum("rh,chw,sw->crs", down, noise, across)

    def _smoothing(self, n: int, dtype: Any) -> Float[Array, "n n"]:
        """Gaussian weights by distance, so that what is smoothed keeps its variance."""
        i, smooth = jnp.arange(n, dtype=dtype), jnp.maximum(jnp.asarray(self.smooth, dtype), 1e-3)
        weights = jnp.exp(-((i[:, None] - i[None]) ** 2) / (2 * smooth**2))
        return weights / jnp.linalg.norm(weights, axis=1, keepdims=True)
