"""What the ladder's forwards compute: convolution, pooling, dropout, distortion."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage, signal

import nnjax
from nnjax.nn.augment import Augment
from nnjax.nn.conv import ConvNet, conv2d, conv2d_xla, im2col, max_pool
from nnjax.nn.dropout import DenseWithDropout, dropout

KEY = jax.random.key(3)


def test_a_convolution_is_scipys_correlation():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 8, 2)), rng.normal(size=(3, 5, 5, 2))
    ours = im2col(jnp.float32(x), 5) @ jnp.float32(w.reshape(3, -1)).T
    assert ours.shape == (5, 4, 3)
    for out in range(3):
        told = sum(signal.correlate2d(x[..., c], w[out, ..., c], "valid") for c in range(2))
        np.testing.assert_allclose(ours[..., out], told, atol=1e-4)


def test_accelerators_convolve_alike():
    keys = jax.random.split(KEY)
    layer = nnjax.lecun(keys[0], 5 * 5 * 2, 3)
    x = jax.random.normal(keys[1], (9, 8, 2))
    told = im2col(x, 5) @ layer.w.T + layer.b[None, None]
    np.testing.assert_allclose(conv2d_xla(layer, x, 5), told, atol=1e-5)
    np.testing.assert_allclose(conv2d(layer, x, 5), told, atol=1e-5)


def test_images_too_small_for_the_convolutions_are_refused():
    with pytest.raises(ValueError, match=r"images of \(8, 8\) do not suit 2 convolutions"):
        ConvNet((8, 8)).init(KEY)
    with pytest.raises(ValueError, match="0 convolutions"):
        ConvNet((8, 8)).init(KEY, ())
    with pytest.raises(ValueError, match=r"images of \(64,\)"):
        ConvNet((64,)).init(KEY, (2,))


@pytest.mark.parametrize("shape", [(4, 6, 3), (5, 7, 1)])
def test_pooling_keeps_the_largest_of_each_two_by_two(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    even = x[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
    told = np.max([even[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    np.testing.assert_array_equal(max_pool(jnp.asarray(x)), told)


def test_a_convolutional_network_goes_through_fit_and_reads(digits):
    net = ConvNet((8, 8), kernel_size=3)
    params = net.init(jax.random.key(0), channels=(8,), dense=(10,))
    run = nnjax.fit(
        KEY, params, digits, objective=nnjax.Objective(net, nnjax.softmax_cross_entropy),
        epochs=4, batch_size=20, optimizer=optax.adam, learning_rate=0.005,
    )  # fmt: skip
    assert run.history.test_correct[-1] > 0.9 * len(digits.test.targets)


def test_an_image_of_another_size_is_refused():
    net = ConvNet((12, 12))
    with pytest.raises(ValueError, match=r"an image of 64 numbers, but the network takes \(12, 12\)"):
        net(net.init(KEY, (2,), (10,)), jnp.zeros(64))


def test_what_is_dropped_is_the_same_on_average():
    x = jnp.linspace(0.5, 1.5, 50)
    many = jax.jit(jax.vmap(lambda key: dropout(key, x, 0.3)))(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(np.mean(many == 0, axis=0), 0.3, atol=0.04)
    np.testing.assert_allclose(many.mean(axis=0), x, rtol=0.06)
    kept = np.asarray(many[0]) != 0
    np.testing.assert_allclose(np.asarray(many[0])[kept], np.asarray(x)[kept] / 0.7, rtol=1e-6)


def test_all_may_be_dropped_and_the_gradient_is_none_then():
    assert jax.grad(lambda x: dropout(KEY, x, 1.0).sum())(jnp.ones(5)).tolist() == [0.0] * 5


def test_dropout_leaves_evaluation_alone_and_drops_inputs_and_hidden_units_by_their_rates():
    params = nnjax.init(jax.random.key(0), (20, 30, 10))
    x = jax.random.uniform(KEY, (20,))
    forward = DenseWithDropout(nnjax.relu, nnjax.identity)
    np.testing.assert_array_equal(
        forward(params, x), nnjax.feedforward(params, x, nnjax.relu, nnjax.identity)
    )
    none = DenseWithDropout(nnjax.relu, nnjax.identity, rate=0.0, input_rate=0.0)
    np.testing.assert_allclose(none(params, x, KEY), forward(params, x), rtol=1e-5, atol=1e-5)
    all_hidden = DenseWithDropout(nnjax.relu, nnjax.identity, rate=1.0, input_rate=0.0)
    np.testing.assert_array_equal(all_hidden(params, x, KEY), params[-1].b)
    assert (forward(params, x, KEY) != forward(params, x, jax.random.key(4))).any()


@pytest.mark.slow
def test_a_sweep_trains_several_rates_as_fit_trains_each(digits):
    init, numbers = nnjax.init(jax.random.key(0), (64, 12, 10)), {"epochs": 2, "learning_rate": 0.5}
    distorted = [
        Augment(
            DenseWithDropout(output=nnjax.identity, rate=rate),
            (8, 8),
            translate=shift,
            elastic_alpha=0.2,
            elastic_sigma=2.0,
        )
        for rate, shift in ((0.2, 0.5), (0.5, 1.0))
    ]
    objectives = [nnjax.Objective(f, nnjax.softmax_cross_entropy) for f in distorted]
    grid = nnjax.sweep(
        KEY,
        digits,
        init=lambda key: init,
        objective=dict(enumerate(objectives)),
        max_networks_per_program=2,
        **numbers,
    )
    fit_key = grid.rng_keys(0)[1]
    for i, objective in enumerate(objectives):
        alone = nnjax.fit(fit_key, init, digits, objective=objective, **numbers)
        for a, b in zip(
            jax.tree.leaves(alone.params), jax.tree.leaves(grid.params(objective=i, seed=0)), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_after_training_a_forward_is_what_evaluation_saw():
    dropout, net = DenseWithDropout(nnjax.relu, nnjax.identity), ConvNet((8, 8), 3, dropout=0.5)
    assert nnjax.Objective(
        Augment(dropout, (8, 8)), code=nnjax.LabelSmoothing(0.2)
    ).inference == nnjax.Objective(nnjax.Dense(nnjax.relu, nnjax.identity))
    assert Augment(net, (8, 8)).inference == ConvNet((8, 8), 3)


def test_what_cannot_go_together_is_told_before_training(digits):
    params = nnjax.init(jax.random.key(0), (64, 12, 10))
    for forward in (Augment(nnjax.Dense(), (8, 8)), DenseWithDropout()):
        with pytest.raises(ValueError, match="take z, not an activation"):
            nnjax.fit(
                KEY, params, digits, objective=nnjax.Objective(forward, nnjax.softmax_cross_entropy),
                learning_rate=1.0,
            )  # fmt: skip
    with pytest.raises(ValueError, match="forward cannot take params and an image"):
        nnjax.fit(
            KEY, params, digits, objective=nnjax.Objective(Augment(nnjax.Dense(), (7, 7))),
            learning_rate=1.0,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("forward", "told"),
    [
        (lambda: DenseWithDropout(rate=1.5), "^rate must be from 0 to 1, not 1.5"),
        (lambda: DenseWithDropout(input_rate=-0.1), "input_rate must be"),
        (lambda: ConvNet((8, 8), dropout=float("nan")), "dropout must be"),
        (lambda: Augment(nnjax.Dense(), (8, 8), elastic_alpha=-1), "bend must be 0 or more, not -1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(forward, told):
    with pytest.raises(ValueError, match=told):
        forward()


def test_smoothed_labels_are_read_as_they_were():
    code, labels = nnjax.LabelSmoothing(0.3), jnp.arange(10)
    y = jax.vmap(lambda label: code.encode(label, 10))(labels)
    np.testing.assert_allclose(y, 0.7 * np.eye(10) + 0.03, atol=1e-6)
    np.testing.assert_array_equal(jax.vmap(code.decode)(y), labels)


def blob(row, column):
    rows, columns = np.mgrid[:28, :28]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8).astype(np.float32).ravel()


def centre(image):
    return np.array(ndimage.center_of_mass(np.asarray(image).reshape(28, 28)))


STILL = {"shift": 0.0, "turn": 0.0, "scale": 0.0, "bend": 0.0}


def seen(parts, image, count=200):
    distorted = Augment(lambda params, x, key: x, (28, 28), **STILL | parts)
    return jax.jit(jax.vmap(lambda key: distorted.distort(key, image)))(jax.random.split(KEY, count))


def test_nothing_to_distort_changes_nothing():
    image = jnp.asarray(blob(10.3, 15.8))
    np.testing.assert_allclose(seen({}, image, 1)[0], image, atol=1e-5)
    distorted = Augment(lambda params, x, key: x, (28, 28))
    np.testing.assert_array_equal(distorted(None, image), image)
    assert (distorted(None, image, KEY) != image).any()


def test_shifts_move_by_as_much_as_they_say_either_way():
    moved = np.array([centre(x) for x in seen({"shift": 2.0}, jnp.asarray(blob(13, 14)))]) - [13, 14]
    assert np.abs(moved).max() <= 2.05
    assert np.abs(moved.mean(axis=0)).max() < 0.3
    np.testing.assert_allclose(moved.std(axis=0), 4 / np.sqrt(12), rtol=0.15)


def test_turning_keeps_the_distance_from_the_middle():
    image = jnp.asarray(blob(13.5, 20.5))
    at = np.array([centre(x) for x in seen({"turn": 0.5}, image)]) - 13.5
    np.testing.assert_allclose(np.linalg.norm(at, axis=1), 7, rtol=0.03)
    angles = np.arctan2(at[:, 0], at[:, 1])
    assert 0.4 < np.abs(angles).max() <= 0.52
    assert angles.min() < 0 < angles.max()


def test_scaling_moves_what_is_off_the_middle_by_its_share():
    at = np.array([centre(x) for x in seen({"scale": 0.2}, jnp.asarray(blob(13.5, 20.5)))]) - 13.5
    assert np.abs(at[:, 0]).max() < 0.1
    shares = at[:, 1] / 7
    assert np.exp(-0.2) - 0.01 <= shares.min() < 0.85
    assert 1.17 < shares.max() <= np.exp(0.2) + 0.01


def test_bending_moves_by_its_deviation_and_neighbours_alike():
    distorted = Augment(lambda params, x, key: x, (28, 28), elastic_alpha=1.5, elastic_sigma=4.0)
    bent = jax.jit(jax.vmap(lambda key: distorted.bent(key, jnp.dtype(jnp.float32))))
    field = bent(jax.random.split(KEY, 500))
    np.testing.assert_allclose(np.std(field, axis=0), 1.5, rtol=0.2)
    middle, beside, far = field[:, 0, 14, 14], field[:, 0, 14, 15], field[:, 0, 14, 27]
    # Noise smoothed by a Gaussian of width s correlates as exp(-d²/4s²).
    assert np.corrcoef(middle, beside)[0, 1] == pytest.approx(np.exp(-1 / 64), abs=0.02)
    assert abs(np.corrcoef(middle, far)[0, 1]) < 0.2


def test_without_smoothing_each_pixel_is_moved_by_itself():
    moved = Augment(nnjax.Dense(), (28, 28), elastic_alpha=1.5, elastic_sigma=0.0).bent(KEY, jnp.float32)
    np.testing.assert_allclose(moved, 1.5 * jax.random.normal(KEY, (2, 28, 28)), atol=1e-5)


@pytest.mark.slow
def test_a_network_trained_on_distorted_images_goes_through_fit_and_sweep(digits):
    forward = Augment(
        nnjax.Dense(output=nnjax.identity),
        (8, 8),
        translate=0.5,
        rotate=0.1,
        elastic_alpha=0.2,
        elastic_sigma=2.0,
    )
    objective = nnjax.Objective(forward, nnjax.softmax_cross_entropy)
    settings = {"objective": objective, "epochs": 5, "learning_rate": 0.5}
    run = nnjax.fit(KEY, nnjax.init(jax.random.key(0), (64, 30, 10)), digits, **settings)
    assert run.history.test_correct[-1] > 0.85 * len(digits.test.targets)
    grid = nnjax.sweep(KEY, digits, seeds=2, **settings)
    assert (grid.test_correct.isel(epoch=-1) > 0.85 * len(digits.test.targets)).all()
