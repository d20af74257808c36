"""Max pooling with a derivative that is fast on a CPU."""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def max_pool(x: Float[Array, "height width channels"], size: tuple[int, int]) -> Float[Array, "h w channels"]:
    """The maximum of each block of `size` in each channel; incomplete blocks at the end are dropped.

    `size` is (height, width). If several values of a block equal its maximum, they share its derivative.
    """
    height, width = size
    h, w = x.shape[0] // height, x.shape[1] // width
    return _max_of_blocks(x[: h * height, : w * width], size)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _max_of_blocks(x: Array, size: tuple[int, int]) -> Array:
    height, width = size
    rows = reduce(jnp.maximum, [x[i::height] for i in range(height)])
    return reduce(jnp.maximum, [rows[:, j::width] for j in range(width)])


@_max_of_blocks.defjvp
def _max_of_blocks_jvp(size, primals, tangents):
    # Compares x with the maximum, repeated to the size of x. XLA compiles this to faster code than the
    # derivative of a maximum over axes.
    (x,), (dx,), (height, width) = primals, tangents, size
    maximum = _max_of_blocks(x, size)
    is_maximum = [x[i::height, j::width] == maximum for i in range(height) for j in range(width)]
    share = 1 / reduce(jnp.add, [hit.astype(x.dtype) for hit in is_maximum])

    def enlarge(blocks):
        return jnp.repeat(jnp.repeat(blocks, height, axis=0), width, axis=1)

    terms = jnp.where(x == enlarge(maximum), enlarge(share) * dx, 0)
    h, w, channels = maximum.shape
    return maximum, terms.reshape(h, height, w, width, channels).sum(axis=(1, 3))
