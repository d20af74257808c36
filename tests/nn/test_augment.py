"""Augmentation moves images as far as its magnitudes say, and only in training."""

import jax
import numpy as np
import pytest
from scipy import ndimage

import nnjax
from nnjax.nn.augment import MAGNITUDES, Augment

KEY = jax.random.key(3)
SIGMA = 4.0


def blob(row, column):
    rows, columns = np.mgrid[:28, :28]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8).astype(np.float32).ravel()


@pytest.fixture(scope="module")
def distort():
    """Distorts an image with 200 keys; all magnitudes are traced, so all tests use the same program."""

    @jax.jit
    def distort_many(magnitudes, image):
        augment = Augment(lambda params, x, key: x, (28, 28), *magnitudes)
        return jax.vmap(lambda key: augment(None, image, key))(jax.random.split(KEY, 200))

    def distort(image, **magnitudes):
        values = dict.fromkeys(MAGNITUDES, 0.0) | {"elastic_sigma": SIGMA} | magnitudes
        return np.asarray(distort_many(tuple(values.values()), image))

    return distort


def centers(images):
    return np.array([ndimage.center_of_mass(x.reshape(28, 28)) for x in images])


def test_magnitudes_of_zero_change_nothing(distort):
    image = blob(10.3, 15.8)
    np.testing.assert_allclose(distort(image)[0], image, atol=1e-5)


def test_only_a_call_with_a_key_distorts(distort):
    image = blob(10.3, 15.8)
    np.testing.assert_array_equal(Augment(lambda params, x, key: x, (28, 28))(None, image), image)
    assert (distort(image, translate=1.0, elastic_alpha=0.6)[0] != image).any()


def test_translate_is_the_maximum_shift_in_pixels(distort):
    moved = centers(distort(blob(13, 14), translate=2.0)) - [13, 14]
    assert np.abs(moved).max() <= 2.05
    assert np.abs(moved.mean(axis=0)).max() < 0.3
    np.testing.assert_allclose(moved.std(axis=0), 4 / np.sqrt(12), rtol=0.15)


def test_rotate_preserves_the_distance_from_the_center(distort):
    offsets = centers(distort(blob(13.5, 20.5), rotate=0.5)) - 13.5
    np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), 7, rtol=0.03)
    angles = np.arctan2(offsets[:, 0], offsets[:, 1])
    assert 0.4 < np.abs(angles).max() <= 0.52
    assert angles.min() < 0 < angles.max()


def test_log_scale_is_the_maximum_logarithm_of_the_scale_factor(distort):
    offsets = centers(distort(blob(13.5, 20.5), log_scale=0.2)) - 13.5
    assert np.abs(offsets[:, 0]).max() < 0.1
    factors = offsets[:, 1] / 7
    assert np.exp(-0.2) - 0.01 <= factors.min() < 0.85
    assert 1.17 < factors.max() <= np.exp(0.2) + 0.01


def elastic_displacement(distort, sigma):
    """The vertical displacement of pixels far from the edges: (keys, 20, 20).

    Each pixel of the image is its row, so the interpolated value is the row from which it comes.
    """
    rows = np.repeat(np.arange(28, dtype=np.float32), 28)
    moved = distort(rows, elastic_alpha=0.8, elastic_sigma=sigma) - rows
    return moved.reshape(-1, 28, 28)[:, 4:24, 4:24]


def test_elastic_displacement_has_its_deviation_and_moves_neighbors_together(distort):
    field = elastic_displacement(distort, SIGMA)
    np.testing.assert_allclose(field.std(axis=0).mean(), 0.8, rtol=0.05)
    np.testing.assert_allclose(field.std(axis=0), 0.8, rtol=0.25)
    center, neighbor, far = field[:, 10, 10], field[:, 10, 11], field[:, 10, 19]
    # Noise smoothed by a Gaussian of width s has the correlation exp(-d²/4s²).
    assert np.corrcoef(center, neighbor)[0, 1] == pytest.approx(np.exp(-1 / 64), abs=0.02)
    assert np.corrcoef(center, far)[0, 1] == pytest.approx(np.exp(-81 / 64), abs=0.2)


def test_without_smoothing_the_displacement_is_white_noise(distort):
    field = elastic_displacement(distort, 0.0)
    np.testing.assert_allclose(field.std(axis=0).mean(), 0.8, rtol=0.05)
    neighbors = field[:, :, :-1].ravel(), field[:, :, 1:].ravel()
    assert abs(np.corrcoef(*neighbors)[0, 1]) < 0.02


def test_a_magnitude_must_be_non_negative():
    with pytest.raises(ValueError, match="elastic_alpha must be non-negative, got -1"):
        Augment(nnjax.Dense(), (8, 8), elastic_alpha=-1)


@pytest.mark.slow
def test_augmented_networks_learn_and_a_sweep_of_magnitudes_equals_fit(digits):
    init, settings = nnjax.init(jax.random.key(0), (64, 30, 10)), {"epochs": 5, "learning_rate": 0.5}
    objectives = [
        nnjax.Objective(
            Augment(
                nnjax.DenseWithDropout(output=nnjax.identity, rate=rate, input_rate=0.0), (8, 8),
                translate=shift, rotate=0.1, elastic_alpha=0.2, elastic_sigma=2.0,
            ),
            nnjax.softmax_cross_entropy,
        )
        for rate, shift in ((0.0, 0.5), (0.1, 1.0))
    ]  # fmt: skip
    grid = nnjax.sweep(KEY, digits, init=lambda key: init, objective=dict(enumerate(objectives)), **settings)
    without_dropout, with_dropout = grid.test_accuracy.sel(seed=0).isel(epoch=-1).values
    assert without_dropout > 0.85
    assert with_dropout > 0.7  # and images that move twice as far
    fit_key = grid.rng_keys(0)[1]
    settings["epochs"] = 1
    short = nnjax.sweep(KEY, digits, init=lambda key: init, objective=dict(enumerate(objectives)), **settings)
    for i, objective in enumerate(objectives):
        run = nnjax.fit(fit_key, init, digits, objective=objective, **settings)
        swept = short.params(objective=i, seed=0)
        for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(swept), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
