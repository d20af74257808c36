"""The convolution for CPUs and its derivatives against SciPy and XLA, and max pooling against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import signal

from nnjax import Layer
from nnjax.nn._convolution import convolve
from nnjax.nn._pooling import max_pool
from nnjax.nn.conv import conv2d, conv2d_xla

# Image, kernel, stride: one and several channels, and positions that the stride does not reach.
CASES = [
    ((9, 8, 1), (5, 5, 1, 3), (1, 1)),
    ((9, 7, 1), (3, 2, 1, 2), (1, 1)),
    ((9, 8, 6), (5, 3, 6, 2), (1, 1)),
    ((10, 9, 2), (3, 2, 2, 4), (2, 3)),
]


def draw(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


def by_xla(x, w, stride):
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, stride, "VALID", dimension_numbers=names)


@pytest.mark.parametrize(("image", "kernel", "stride"), CASES)
def test_a_convolution_is_scipys_correlation(x64, image, kernel, stride):
    x, w = draw((2, *image), kernel)
    z = jax.jit(convolve, static_argnums=2)(x, w, stride)
    for i in range(2):
        for out in range(kernel[-1]):
            channels = (signal.correlate2d(x[i, ..., c], w[..., c, out], "valid") for c in range(image[-1]))
            expected = sum(channels)[:: stride[0], :: stride[1]]
            np.testing.assert_allclose(z[i, ..., out], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("image", "kernel", "stride"), CASES)
def test_derivatives_of_both_modes_and_of_second_order_are_right(x64, image, kernel, stride):
    x, w = draw((2, *image), kernel)
    # Not linear in the convolution, so that second derivatives are not zero; the arguments of the sine are
    # small, so that finite differences are exact enough.
    check_grads(lambda x, w: jnp.sin(convolve(x, w / 10, stride)), (x, w), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 2)])
@pytest.mark.parametrize(("image", "kernel", "stride"), CASES)
def test_a_batch_of_images_or_kernels_gives_the_results_of_each(x64, image, kernel, stride, axes):
    x, w = draw((3, 2, *image), (3, *kernel))

    def value_and_gradients(x, w):
        return jax.value_and_grad(lambda x, w: jnp.sum(jnp.sin(convolve(x, w, stride))), (0, 1))(x, w)

    arguments = [
        a[0] if axis is None else np.moveaxis(a, 0, axis) for a, axis in zip((x, w), axes, strict=True)
    ]
    batched = jax.jit(jax.vmap(value_and_gradients, axes))(*arguments)
    for i in range(3):
        one = value_and_gradients(x[0] if axes[0] is None else x[i], w[0] if axes[1] is None else w[i])
        for a, b in zip(jax.tree.leaves(batched), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("stride", [1, (2, 3)])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_the_convolution_on_this_device_equals_that_for_accelerators(x64, stride, padding):
    w, b, x = draw((3, 5 * 4 * 2), (3,), (9, 8, 2))
    layer = Layer(w, b)
    z = conv2d(layer, x, (5, 4), stride, padding)
    np.testing.assert_allclose(z, conv2d_xla(layer, x, (5, 4), stride, padding), rtol=0, atol=1e-12)


def test_a_convolution_of_a_mini_batch_is_one_operation_with_one_gradient():
    """Its gradient by the kernel sums over the examples inside of the operation, not afterwards."""
    x, w = draw((4, 9, 8, 1), (5, 5, 1, 3))

    def cost(w):
        return jnp.mean(jax.vmap(lambda x: jnp.sum(convolve(x[None], w)))(x))

    shapes = [eqn.outvars[0].aval.shape for eqn in jax.make_jaxpr(jax.grad(cost))(w).eqns
              if "convolve" in eqn.primitive.name]  # fmt: skip
    assert shapes == [(4, 5, 4, 3), w.shape]


@pytest.mark.parametrize(("shape", "size"), [((4, 6, 3), (2, 2)), ((5, 7, 1), (2, 2)), ((7, 8, 2), (3, 1))])
def test_max_pool_is_the_maximum_of_each_block(shape, size):
    (x,) = draw(shape)
    h, w = shape[0] // size[0] * size[0], shape[1] // size[1] * size[1]
    blocks = [x[i : h : size[0], j : w : size[1]] for i in range(size[0]) for j in range(size[1])]
    np.testing.assert_array_equal(
        jax.jit(max_pool, static_argnums=1)(np.float32(x), size), np.max(blocks, axis=0).astype(np.float32)
    )


def test_the_derivatives_of_max_pool_are_right(x64):
    (x,) = draw((5, 7, 2))
    check_grads(lambda x: jnp.sin(max_pool(x, (2, 3))), (x,), order=2, modes=("fwd", "rev"))


def test_equal_maxima_share_the_derivative():
    x = jnp.array([[1.0, 3.0], [3.0, 2.0]])[..., None]
    gradient = jax.grad(lambda x: 5 * jnp.sum(max_pool(x, (2, 2))))(x)
    assert gradient[..., 0].tolist() == [[0, 2.5], [2.5, 0]]


def test_eager_calls_with_equal_shapes_are_compiled_once(compilations):
    x, w = draw((2, 9, 8, 1), (5, 5, 1, 3))
    first, second, kernel = jnp.asarray(x), jnp.asarray(x) + 1, jnp.asarray(w)
    convolve(first, kernel)
    assert compilations
    compilations.clear()
    convolve(second, kernel)
    assert compilations == []
