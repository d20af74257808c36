"""Convolution and pooling against SciPy, and the network built from them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import signal

import nnjax
from nnjax.nn.conv import ConvNet, conv2d, conv2d_xla, im2col, max_pool

KEY = jax.random.key(3)


def test_im2col_times_weights_is_scipys_correlation():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 8, 2)), rng.normal(size=(3, 5, 5, 2))
    z = im2col(jnp.float32(x), 5) @ jnp.float32(w.reshape(3, -1)).T
    assert z.shape == (5, 4, 3)
    for out in range(3):
        expected = sum(signal.correlate2d(x[..., c], w[out, ..., c], "valid") for c in range(2))
        np.testing.assert_allclose(z[..., out], expected, atol=1e-4)


def test_xla_convolution_for_accelerators_equals_im2col():
    keys = jax.random.split(KEY)
    layer = nnjax.lecun(keys[0], 5 * 5 * 2, 3)
    x = jax.random.normal(keys[1], (9, 8, 2))
    expected = im2col(x, 5) @ layer.w.T + layer.b[None, None]
    np.testing.assert_allclose(conv2d_xla(layer, x, 5), expected, atol=1e-5)
    np.testing.assert_allclose(conv2d(layer, x, 5), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 6, 3), (5, 7, 1)])
def test_max_pool_is_the_maximum_of_each_two_by_two_block(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    even = x[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
    expected = np.max([even[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    np.testing.assert_array_equal(max_pool(jnp.asarray(x)), expected)


def test_a_convolutional_network_learns_the_digits(digits):
    net = ConvNet((8, 8), kernel_size=3)
    params = net.init(jax.random.key(0), channels=(8,), dense=(10,))
    run = nnjax.fit(
        KEY, params, digits, objective=nnjax.Objective(net, nnjax.softmax_cross_entropy),
        epochs=4, batch_size=20, optimizer=optax.adam, learning_rate=0.005,
    )  # fmt: skip
    assert run.history.test_accuracy[-1] > 0.9


def test_images_must_be_large_enough_for_the_convolutions():
    with pytest.raises(ValueError, match=r"large enough .* got channels \(16, 32\).* \(8, 8\)"):
        ConvNet((8, 8)).init(KEY)
    with pytest.raises(ValueError, match="at least one convolution"):
        ConvNet((8, 8)).init(KEY, ())
    with pytest.raises(ValueError, match=r"images of shape \(64,\)"):
        ConvNet((64,)).init(KEY, (2,))


def test_an_image_of_another_size_raises():
    net = ConvNet((12, 12))
    with pytest.raises(ValueError, match=r"x must have the shape \(12, 12\), got 64 numbers"):
        net(net.init(KEY, (2,), (10,)), jnp.zeros(64))


def test_a_dropout_rate_must_be_a_probability():
    with pytest.raises(ValueError, match="dropout must be from 0 to 1, got nan"):
        ConvNet((8, 8), dropout=float("nan"))
