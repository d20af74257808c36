import numpy as np
import pytest

from nnjax.recognition import outliers as module
from nnjax.recognition.outliers import DIRECTIONS, fit_outlier_model, outlier_score


@pytest.fixture(scope="module")
def likeness(digits):
    return fit_outlier_model(digits.train, digits.validation, 10)


def test_images_not_trained_on_are_usual(likeness, digits):
    usual = np.asarray(outlier_score(likeness, *digits.validation))
    assert usual.mean() == pytest.approx(0, abs=1e-4)
    assert usual.std() == pytest.approx(1, rel=1e-3)
    assert np.asarray(outlier_score(likeness, *digits.test)).mean() == pytest.approx(0, abs=0.2)


def test_the_distance_is_that_of_the_gaussian_with_its_covariance_written_out(likeness, digits):
    images, labels = digits.test.inputs[:20], digits.test.targets[:20]
    x = images / 255 - np.asarray(likeness.means, float)[labels]
    directions = np.asarray(likeness.directions, float)
    variances = 1 / np.sum(directions**2, axis=1)
    unit = directions * np.sqrt(variances)[:, None]
    rest = float(likeness.rest)
    covariance = rest * np.eye(64) + unit.T @ np.diag(variances - rest) @ unit
    distance = np.sqrt(np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x))
    told = np.asarray(outlier_score(likeness, images, labels)) * float(likeness.spread) + float(
        likeness.middle
    )
    np.testing.assert_allclose(told, distance, rtol=1e-3)
    assert len(directions) == DIRECTIONS


def test_what_is_no_digit_is_strange(likeness, digits):
    images = digits.test.inputs[:100].reshape(-1, 8, 8)
    squeezed = np.concatenate([images[:50, :, ::2], images[50:, :, ::2]], axis=2).reshape(-1, 64)
    noise = np.random.default_rng(0).integers(0, 256, (50, 64), np.uint8)
    for strange in (squeezed, noise):
        least = np.min([outlier_score(likeness, strange, np.full(50, k)) for k in range(10)], axis=0)
        assert np.median(least) > 2


def test_of_many_images_enough_are_drawn_whatever_their_order(likeness, digits, monkeypatch):
    monkeypatch.setattr(module, "_ENOUGH", 600)
    few = fit_outlier_model(digits.train, digits.validation, 10)
    assert few.rest == pytest.approx(likeness.rest, rel=0.05)
    assert few.spread == pytest.approx(likeness.spread, rel=0.1)
    np.testing.assert_allclose(few.means, likeness.means, atol=0.12)
    labels = np.arange(6000) % 10
    images = np.tile(np.uint8(20 * labels)[:, None], (1, 4))
    means = fit_outlier_model((images, labels), ([], []), 10).means
    np.testing.assert_allclose(means * 255, np.tile(20.0 * np.arange(10)[:, None], (1, 4)), atol=1e-3)
