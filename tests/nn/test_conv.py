"""Convolution and pooling against SciPy and Equinox, and the network built from them."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import signal

import nnjax
import reference
from nnjax import Layer
from nnjax.nn import conv
from nnjax.nn.conv import ConvNet, ConvParams, conv2d, conv2d_xla

KEY = jax.random.key(3)


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


def equinox_features(net, convolutions, x):
    """`net.features` computed by Equinox, for relu."""
    x = jnp.moveaxis(x.reshape(*net.image_shape[:2], -1), -1, 0)
    for w, b in convolutions:
        layer = eqx.nn.Conv2d(len(x), len(b), net.kernel_size, net.stride, net.padding, key=KEY)
        w = jnp.moveaxis(w.reshape(len(b), *net.kernel_size, len(x)), -1, 1)
        layer = eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (w, b[:, None, None]))
        x = eqx.nn.MaxPool2d(net.pool, net.pool)(jax.nn.relu(layer(x)))
    return jnp.moveaxis(x, 0, -1).ravel()


def random_params(net, channels, seed=0, dtype=np.float32):
    """Parameters of a network with three outputs, drawn by NumPy: nothing compiles."""
    area = net.kernel_size[0] * net.kernel_size[1]
    sizes = [(area * n_in, n_out) for n_in, n_out in net.widths(channels)]
    sizes += [(net.num_features(channels), 3)]
    rng = np.random.default_rng(seed)
    layers = [
        Layer(*(rng.normal(0, n_in**-0.5, shape).astype(dtype) for shape in ((n_out, n_in), n_out)))
        for n_in, n_out in sizes
    ]
    return ConvParams(tuple(layers[:-1]), tuple(layers[-1:]))


def check_agrees_with_equinox(net, channels, dtype, atol):
    """Compares outputs and gradients of both implementations of the convolution with Equinox."""
    params = random_params(net, channels, dtype=dtype)
    x = np.random.default_rng(9).normal(size=net.image_shape).astype(dtype)

    def by_equinox(params, x):
        ((w, b),) = params.dense
        return w @ equinox_features(net, params.convolutions, x) + b

    def results(forward, params, x):
        def cost(params, x):
            output = forward(params, x)
            return jnp.mean(output**2), output

        return jax.grad(cost, argnums=(0, 1), has_aux=True)(params, x)

    def by_nnjax(convolution):
        def forward(params, x):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(conv, "conv2d", convolution)
                return net(params, x)

        return forward

    forwards = [by_equinox, by_nnjax(conv2d), by_nnjax(conv2d_xla)]
    expected, *actual = jax.jit(lambda *args: [results(forward, *args) for forward in forwards])(params, x)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected) * 2, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


NETWORKS = [
    ConvNet((9, 10, 3), 3, 1, "SAME", 2),
    ConvNet((9, 11), (4, 3), (1, 2), "VALID", (3, 1)),
    ConvNet((8, 9, 2), (1, 3), (3, 2), "SAME", 1),
]


@pytest.mark.parametrize("net", NETWORKS)
def test_outputs_and_gradients_are_those_of_equinox(net, x64):
    check_agrees_with_equinox(net, (2,), np.float64, 1e-12)


@pytest.mark.slow
def test_outputs_and_gradients_in_single_precision_are_those_of_equinox():
    for net in NETWORKS:
        check_agrees_with_equinox(net, (2,), np.float32, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kernel_size", [1, (2, 4)])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_all_combinations_are_those_of_equinox(kernel_size, padding, x64):
    for stride, (pool, color) in product([1, (3, 2)], [(1, ()), ((2, 3), (3,))]):
        net = ConvNet((23, 22, *color), kernel_size, stride, padding, pool)
        check_agrees_with_equinox(net, (2,), np.float64, 1e-12)


@pytest.mark.slow
def test_two_convolutions_are_those_of_equinox(x64):
    check_agrees_with_equinox(ConvNet((23, 22), 5, padding="SAME"), (2, 3), np.float64, 1e-12)


def test_a_population_is_vmap_of_one_network():
    net = ConvNet((9, 8, 2), (3, 2), (1, 2), "SAME", (2, 1))
    networks = [random_params(net, (2, 3), seed) for seed in range(3)]
    x = np.random.default_rng(9).normal(size=(9, 8, 2)).astype(np.float32)
    outputs = jax.jit(jax.vmap(net, (0, None)))(jax.tree.map(lambda *p: np.stack(p), *networks), x)
    one = jax.jit(net)
    np.testing.assert_allclose(outputs, [one(params, x) for params in networks], rtol=1e-5)


def test_sizes_are_numbers_or_pairs():
    assert ConvNet((8, 8), 3, 2, "SAME", [1, 1]) == ConvNet((8, 8), [3, 3], (2, 2), "SAME", 1)
    assert ConvNet((8, 8)).kernel_size == (5, 5)


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
    with pytest.raises(ValueError, match=r"large enough .* kernel_size \(9, 3\), .* use fewer convolutions"):
        ConvNet((8, 8), (9, 3), padding="SAME").init(KEY, (2,))
    with pytest.raises(ValueError, match=r"large enough .* stride \(1, 9\)"):
        ConvNet((8, 8), 3, (1, 9), pool=1).init(KEY, (2,))
    with pytest.raises(ValueError, match=r"large enough .* pool \(5, 5\)"):
        ConvNet((8, 8), stride=2, padding="SAME", pool=5).init(KEY, (2,))
    with pytest.raises(ValueError, match=r"channels must contain at least one number, got \(\)"):
        ConvNet((8, 8)).init(KEY, ())
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width\) .* got image_shape \(64,\)"):
        ConvNet((64,)).init(KEY, (2,))


def test_an_image_of_another_size_raises():
    with pytest.raises(ValueError, match=r"x must have 144 numbers, .* of shape \(12, 12\), got 64"):
        ConvNet((12, 12)).features((), np.zeros(64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 0}, "kernel_size must be a positive integer, got 0"),
        ({"kernel_size": (3, 2.0)}, r"kernel_size must be a positive integer, got 2\.0"),
        ({"stride": (1, 2, 3)}, r"stride must be a number or a pair \(height, width\), got \(1, 2, 3\)"),
        ({"pool": None}, "pool must be a positive integer, got None"),
        ({"padding": "same"}, "padding must be one of VALID, SAME, got 'same'"),
    ],
)
def test_a_wrong_size_or_padding_raises(settings, message):
    with pytest.raises(ValueError, match=message):
        ConvNet((8, 8), **settings)


def test_a_dropout_rate_must_be_a_probability():
    with pytest.raises(ValueError, match="dropout must be between 0 and 1, got nan"):
        ConvNet((8, 8), dropout=float("nan"))
