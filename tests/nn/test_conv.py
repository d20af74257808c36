"""Convolution and pooling against SciPy, and the network built from them."""

import jax
import numpy as np
import optax
import pytest
from scipy import signal

import nnjax
import reference
from nnjax.nn.conv import ConvNet, ConvParams, conv2d, conv2d_xla, im2col, max_pool

KEY = jax.random.key(3)


def test_im2col_times_weights_is_scipys_correlation():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 8, 2)), rng.normal(size=(3, 5, 5, 2))
    z = np.asarray(jax.jit(im2col, static_argnums=1)(np.float32(x), 5)) @ w.reshape(3, -1).T
    assert z.shape == (5, 4, 3)
    for out in range(3):
        expected = sum(signal.correlate2d(x[..., c], w[out, ..., c], "valid") for c in range(2))
        np.testing.assert_allclose(z[..., out], expected, atol=1e-4)


def test_xla_convolution_for_accelerators_equals_im2col():
    (layer,) = reference.random_params((5 * 5 * 2, 3))
    x = np.random.default_rng(0).normal(size=(9, 8, 2)).astype(np.float32)

    @jax.jit
    def convolutions(layer, x):
        expected = im2col(x, 5) @ layer.w.T + layer.b[None, None]
        return expected, conv2d(layer, x, 5), conv2d_xla(layer, x, 5)

    expected, on_this_device, by_xla = convolutions(layer, x)
    np.testing.assert_allclose(on_this_device, expected, atol=1e-4)
    np.testing.assert_allclose(by_xla, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 6, 3), (5, 7, 1)])
def test_max_pool_is_the_maximum_of_each_two_by_two_block(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    even = x[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
    expected = np.max([even[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    np.testing.assert_array_equal(jax.jit(max_pool)(x), expected)


def test_a_network_is_convolutions_with_pooling_and_dense_layers():
    net = ConvNet((9, 8, 2), kernel_size=3, activation=nnjax.tanh, output=nnjax.sigmoid)
    convolutions = reference.random_params((9 * 2, 3))
    dense = reference.random_params((net.num_features((3,)), 4))
    x = np.random.default_rng(0).normal(size=(9, 8, 2)).astype(np.float32)
    ((w, b),) = convolutions
    z = np.stack(
        [
            b[out] + sum(signal.correlate2d(x[..., c], kernel[..., c], "valid") for c in range(2))
            for out, kernel in enumerate(w.reshape(3, 3, 3, 2))
        ],
        axis=-1,
    )
    a = np.tanh(z)[:6, :6]  # of 7 rows, six form blocks
    pooled = np.max([a[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    output = reference.sigmoid(dense[0].w @ pooled.ravel() + dense[0].b)
    forward = jax.jit(net)
    np.testing.assert_allclose(forward(ConvParams(convolutions, dense), x.ravel()), output, atol=1e-5)


@pytest.mark.slow
def test_a_convolutional_network_learns_the_digits(digits):
    net = ConvNet((8, 8), kernel_size=3)
    params = net.init(jax.random.key(0), channels=(8,), dense=(10,))
    run = nnjax.fit(
        KEY, params, digits, objective=nnjax.Objective(net, nnjax.softmax_cross_entropy),
        epochs=4, batch_size=20, optimizer=optax.adam, learning_rate=0.005,
    )  # fmt: skip
    assert run.history.test_accuracy[-1] > 0.9


def test_images_must_be_large_enough_for_the_convolutions():
    with pytest.raises(ValueError, match=r"large enough .* got image_shape \(8, 8\), channels \(16, 32\)"):
        ConvNet((8, 8)).init(KEY)
    with pytest.raises(ValueError, match=r"channels must contain at least one number, got \(\)"):
        ConvNet((8, 8)).init(KEY, ())
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width\) .* got image_shape \(64,\)"):
        ConvNet((64,)).init(KEY, (2,))


def test_an_image_of_another_size_raises():
    with pytest.raises(ValueError, match=r"x must have 144 numbers, .* of shape \(12, 12\), got 64"):
        ConvNet((12, 12)).features((), np.zeros(64))


def test_a_dropout_rate_must_be_a_probability():
    with pytest.raises(ValueError, match="dropout must be between 0 and 1, got nan"):
        ConvNet((8, 8), dropout=float("nan"))
