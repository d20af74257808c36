"""A convolution for CPUs that is fast inside `lax.scan`, together with all its derivatives.

XLA computes a convolution on a CPU by a fast routine if its axes are in the order (batch, rows, columns,
channels). It converts other orders to this one only outside of loops. JAX's derivatives of
`lax.conv_general_dilated` use other orders, so they are 20 to 30 times slower inside a loop. So this module
defines a convolution whose derivatives transpose their arguments.

The convolution z = x * w of images x with a kernel w is bilinear. With the form T(x, w, g) = Σ g · (x * w),
the three operations of this module are its derivatives by g, x and w:

    convolve(x, w) = ∂T/∂g,        input_gradient(g, w) = ∂T/∂x,        kernel_gradient(x, g) = ∂T/∂w.

So each of them is bilinear too, and its derivatives are the other two. Derivatives of every order and mode
follow from that.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Pair = tuple[int, int]

# With at most FEW_CHANNELS channels, up to MAX_TOGETHER neighboring positions are computed together.
MAX_TOGETHER, FEW_CHANNELS = 4, 4


def convolve(
    x: Float[Array, "n height width c_in"], w: Float[Array, "rows columns c_in c_out"], stride: Pair = (1, 1)
) -> Float[Array, "n h w c_out"]:
    """The convolution of n images with a kernel, at the positions where the kernel fits into the image.

    Args:
      x: images.
      w: the kernel.
      stride: the distance between neighboring positions, down and to the right.
    """
    return _convolve.bind(x, w, image=x.shape[1:3], kernel=w.shape[:2], stride=stride)


def patches(x: Float[Array, "n height width c"], kernel: Pair, stride: Pair) -> Float[Array, "n h w patch"]:
    """The part of an image under a kernel at each of its positions, flattened to (row, column, channel)."""
    (h, w), (down, right) = _positions((x.shape[1], x.shape[2]), kernel, stride), stride
    shifted = [
        x[:, row : row + (h - 1) * down + 1 : down, column : column + (w - 1) * right + 1 : right]
        for row in range(kernel[0])
        for column in range(kernel[1])
    ]
    return jnp.concatenate(shifted, axis=-1)


def _positions(image: Pair, kernel: Pair, stride: Pair) -> list[int]:
    """The number of positions of the kernel, down and to the right."""
    return [(n - k) // step + 1 for n, k, step in zip(image, kernel, stride, strict=True)]


def _xla(x: Array, w: Array, **settings: Any) -> Array:
    """XLA's convolution, in the order of axes that is fast."""
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, padding="VALID", dimension_numbers=names, **settings)


def _compute(x: Array, w: Array, image: Pair, kernel: Pair, stride: Pair) -> Array:
    h, width = _positions(image, kernel, stride)
    together = math.gcd(width, MAX_TOGETHER) if x.shape[-1] <= FEW_CHANNELS and stride == (1, 1) else 1
    if together == 1:
        return _xla(x, w, window_strides=stride)
    # With few channels, XLA spends most of the time copying patches. So one wider kernel computes several
    # neighboring positions, as additional channels; for each position, the kernel is padded with zeros.
    kernels = [jnp.pad(w, ((0, 0), (i, together - 1 - i), (0, 0), (0, 0))) for i in range(together)]
    z = _xla(x, jnp.concatenate(kernels, -1), window_strides=(1, together))
    return z.reshape(x.shape[0], h, width, w.shape[-1])


def _compute_input_gradient(g: Array, w: Array, image: Pair, kernel: Pair, stride: Pair) -> Array:
    x = jax.ShapeDtypeStruct((len(g), *image, w.shape[2]), g.dtype)
    of_patches = g @ w.reshape(-1, w.shape[-1]).T
    (gradient,) = jax.linear_transpose(partial(patches, kernel=kernel, stride=stride), x)(of_patches)
    return gradient


def _compute_kernel_gradient(x: Array, g: Array, image: Pair, kernel: Pair, stride: Pair) -> Array:
    # A convolution in which examples and input channels change places, and g is the kernel.
    x, g = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
    gradient = _xla(x, g, window_strides=(1, 1), rhs_dilation=stride)
    return gradient.transpose(1, 2, 0, 3)[: kernel[0], : kernel[1]]


def _primitive(name: str, compute: Callable) -> Primitive:
    """A primitive operation of JAX that computes `compute(a, b, **settings)`."""
    primitive = Primitive(name)
    # Compiled once for all eager calls with equal shapes.
    primitive.def_impl(jax.jit(compute, static_argnames=("image", "kernel", "stride")))
    primitive.def_abstract_eval(
        lambda a, b, **settings: _abstract(jax.eval_shape(partial(compute, **settings), a, b))
    )
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=False))
    batching.primitive_batchers[primitive] = partial(_batch, primitive)
    return primitive


def _abstract(x: jax.ShapeDtypeStruct) -> ShapedArray:
    return ShapedArray(x.shape, x.dtype)


def _batch(primitive: Primitive, arguments: Any, axes: Any, **settings: Any) -> tuple[Array, int]:
    """If only the images are batched, one operation with more examples; otherwise, a loop over the batch."""
    a, b = (x if axis is None else jnp.moveaxis(x, axis, 0) for x, axis in zip(arguments, axes, strict=True))
    of_images = primitive is not _kernel_gradient
    if axes[1] is None and of_images:
        out = primitive.bind(a.reshape(-1, *a.shape[2:]), b, **settings)
        return out.reshape(*a.shape[:2], *out.shape[1:]), 0

    def one(mapped):
        mapped = iter(mapped)
        pair = (x if axis is None else next(mapped) for x, axis in zip((a, b), axes, strict=True))
        return primitive.bind(*pair, **settings)

    return jax.lax.map(one, [x for x, axis in zip((a, b), axes, strict=True) if axis is not None]), 0


_convolve = _primitive("convolve", _compute)
_input_gradient = _primitive("convolve_input_gradient", _compute_input_gradient)
_kernel_gradient = _primitive("convolve_kernel_gradient", _compute_kernel_gradient)

# For each operation, the derivatives of g · operation(a, b) by a and by b.
ad.defbilinear(
    _convolve,
    lambda g, x, w, **settings: _input_gradient.bind(g, w, **settings),
    lambda g, x, w, **settings: _kernel_gradient.bind(x, g, **settings),
)
ad.defbilinear(
    _input_gradient,
    lambda x, g, w, **settings: _convolve.bind(x, w, **settings),
    lambda x, g, w, **settings: _kernel_gradient.bind(x, g, **settings),
)
ad.defbilinear(
    _kernel_gradient,
    lambda w, x, g, **settings: _input_gradient.bind(g, w, **settings),
    lambda w, x, g, **settings: _convolve.bind(x, w, **settings),
)
