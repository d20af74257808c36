import numpy as np
import pytest

from nnjax.recognition import outliers
from nnjax.recognition.outliers import NUM_DIRECTIONS, fit_outlier_model, outlier_score


@pytest.fixture(scope="module")
def outlier_model(digits):
    return fit_outlier_model(digits.train, digits.validation, 10)


def test_scores_of_held_out_images_have_mean_0_and_standard_deviation_1(outlier_model, digits):
    scores = np.asarray(outlier_score(outlier_model, *digits.validation))
    assert scores.mean() == pytest.approx(0, abs=1e-4)
    assert scores.std() == pytest.approx(1, rel=1e-3)
    assert np.asarray(outlier_score(outlier_model, *digits.test)).mean() == pytest.approx(0, abs=0.2)


def test_the_distance_is_that_of_a_gaussian_with_the_explicit_covariance_matrix(outlier_model, digits):
    images, labels = digits.test.inputs[:20], digits.test.targets[:20]
    x = images.reshape(-1, 64) / 255 - np.asarray(outlier_model.means, float)[labels]
    directions = np.asarray(outlier_model.directions, float)
    variances = 1 / np.sum(directions**2, axis=1)
    unit = directions * np.sqrt(variances)[:, None]
    noise_variance = float(outlier_model.noise_variance)
    covariance = noise_variance * np.eye(64) + unit.T @ np.diag(variances - noise_variance) @ unit
    distance = np.sqrt(np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x))
    scores = np.asarray(outlier_score(outlier_model, images, labels))
    center, scale = float(outlier_model.center), float(outlier_model.scale)
    np.testing.assert_allclose(scores * scale + center, distance, rtol=1e-3)
    assert len(directions) == NUM_DIRECTIONS


def test_images_that_are_not_digits_have_large_scores(outlier_model, digits):
    images = digits.test.inputs[:100].reshape(-1, 8, 8)
    squeezed = np.concatenate([images[:50, :, ::2], images[50:, :, ::2]], axis=2).reshape(-1, 64)
    noise = np.random.default_rng(0).integers(0, 256, (50, 64), np.uint8)
    for outlier in (squeezed, noise):
        scores = [outlier_score(outlier_model, outlier, np.full(50, label)) for label in range(10)]
        assert np.median(np.min(scores, axis=0)) > 2


def test_a_random_subset_of_many_images_gives_nearly_the_same_model(outlier_model, digits, monkeypatch):
    monkeypatch.setattr(outliers, "MAX_EXAMPLES", 600)
    subset = fit_outlier_model(digits.train, digits.validation, 10)
    assert subset.noise_variance == pytest.approx(outlier_model.noise_variance, rel=0.05)
    assert subset.scale == pytest.approx(outlier_model.scale, rel=0.1)
    np.testing.assert_allclose(subset.means, outlier_model.means, atol=0.12)


def test_the_subset_keeps_images_and_labels_together(monkeypatch):
    monkeypatch.setattr(outliers, "MAX_EXAMPLES", 600)
    labels = np.arange(6000) % 10
    images = np.tile(np.uint8(20 * labels)[:, None], (1, 4))
    means = fit_outlier_model((images, labels), ([], []), 10).means
    np.testing.assert_allclose(means * 255, np.tile(20.0 * np.arange(10)[:, None], (1, 4)), atol=1e-3)
