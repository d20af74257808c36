import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.recognition.calibration import (
    MAX_BATCH,
    MIN_BATCH,
    fit_temperature,
    in_batches,
    map_shifted_copies,
    probabilities,
    tta_probabilities,
)
from nnjax.storage.model_file import DigitLayout

LOGISTIC = nnjax.Objective()
SOFTMAX = nnjax.Objective(nnjax.Dense(output=nnjax.identity), nnjax.softmax_cross_entropy)

shifted_copies = jax.jit(partial(map_shifted_copies, lambda copy: copy), static_argnums=1)


@pytest.mark.parametrize(("code", "n_out"), [(nnjax.one_hot, 10), (nnjax.binary, 4)])
def test_probabilities_are_products_over_output_neurons(code, n_out):
    """Π a^y (1−a)^(1−y) for each label; with one_hot also for the hypothesis that all outputs are 0."""
    a = np.random.default_rng(0).uniform(0.05, 0.95, n_out)
    codes = [np.asarray(code.encode(jnp.int32(label), n_out)) for label in range(10)]
    likelihoods = [np.prod([x if y else 1 - x for x, y in zip(a, bits, strict=True)]) for bits in codes]
    likelihoods.append(np.prod(1 - a) if code is nnjax.one_hot else 0.0)
    p = probabilities(jnp.float32(a), nnjax.Objective(code=code), 10)
    np.testing.assert_allclose(p, np.array(likelihoods) / np.sum(likelihoods), rtol=1e-4)


def test_softmax_outputs_are_the_probabilities():
    a = jax.nn.softmax(jnp.array([2.0, 0.0, 1.0]))
    np.testing.assert_allclose(probabilities(a, SOFTMAX, 3), [*a, 0], rtol=1e-5)


def test_small_outputs_mean_no_digit():
    assert probabilities(jnp.full(10, 0.001), LOGISTIC, 10)[-1] > 0.98


def test_saturated_outputs_give_finite_probabilities():
    for a in itertools.product((0.0, 1.0), repeat=3):
        p = probabilities(jnp.array(a), LOGISTIC, 3)
        assert np.isfinite(p).all()
        assert float(p.sum()) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_outputs_give_finite_probabilities(dtype):
    assert np.isfinite(probabilities(jnp.array([1.0, 0.0, 1.0], dtype), LOGISTIC, 3)).all()


def test_fit_temperature_recovers_the_temperature_that_labels_were_drawn_with():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 3, (6000, 4)).astype(np.float32)
    network = (nnjax.Layer(jnp.eye(4), jnp.zeros(4)),)  # its outputs are σ(z)
    p = jax.vmap(lambda a: probabilities(a, LOGISTIC, 4))(jax.nn.sigmoid(z)) ** (1 / 2.5)
    p = np.asarray(p)[:, :4] / np.asarray(p)[:, :4].sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in p.astype(float)])
    p = np.asarray(tta_probabilities(network, z, LOGISTIC, 4, (4,)))
    assert fit_temperature(p, labels) == pytest.approx(2.5, rel=0.25)


def test_copies_of_an_image_are_shifted_by_one_pixel_in_eight_directions():
    image = np.zeros((1, 784), np.uint8)
    image[0, 14 * 28 + 14] = 255
    copies = shifted_copies(jnp.asarray(image), (28, 28))
    assert sorted(divmod(int(np.argmax(copy)), 28) for copy in copies) == list(
        itertools.product((13, 14, 15), repeat=2)
    )


def test_a_shift_fills_with_zeros_and_does_not_wrap_around():
    copies = shifted_copies(jnp.full((1, 784), 7, jnp.uint8), (28, 28)).reshape(9, 28, 28)
    assert sorted(np.sum(copies == 0, axis=(1, 2)).tolist()) == [0] + [28] * 4 + [55] * 4


@pytest.mark.parametrize("shape", [(8, 8), (4,)])
def test_small_images_and_inputs_that_are_not_images_have_one_copy(shape):
    inputs = jnp.arange(np.prod(shape), dtype=jnp.uint8)[None]
    np.testing.assert_array_equal(shifted_copies(inputs, shape), inputs[None])


def test_tta_averages_probabilities_and_then_applies_the_temperature():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (3, 784)), jnp.uint8)
    params = nnjax.init(jax.random.key(0), (784, 10))
    of_one = jax.jit(jax.vmap(lambda a: probabilities(a, LOGISTIC, 10)))
    copies = shifted_copies(images, (28, 28))
    mean = np.mean([of_one(nnjax.outputs(params, copy, LOGISTIC)) for copy in copies], axis=0)
    p = tta_probabilities(params, images, LOGISTIC, 10, (28, 28), 2.0)
    expected = mean ** (1 / 2)
    np.testing.assert_allclose(p, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-7)


# calibrate


@pytest.mark.parametrize("count", [0, 1, MIN_BATCH, MIN_BATCH + 1, 2 * MAX_BATCH + 5])
def test_batches_give_the_outputs_of_all_images_and_have_two_sizes(count):
    images, sizes = np.arange(3 * count, dtype=np.uint8).reshape(count, 3), set()

    def function(batch):
        sizes.add(len(batch))
        return jnp.asarray(np.stack([batch[:, 0], batch.sum(axis=1)], axis=1))

    outputs = in_batches(function, images)
    np.testing.assert_array_equal(outputs, np.stack([images[:, 0], images.sum(axis=1)], axis=1))
    assert sizes <= {MIN_BATCH, MAX_BATCH}


def test_a_calibration_is_saved_with_the_model(trained, digits, model):
    calibration = nnjax.calibrate(trained, LOGISTIC, digits)
    assert calibration.layout == model.layout == DigitLayout((8, 6), True)
    assert calibration.temperature == pytest.approx(model.temperature)


def test_calibration_ignores_what_objectives_do_only_in_training(trained, digits, model):
    training = nnjax.Objective(nnjax.DenseWithDropout(rate=0.5), code=nnjax.LabelSmoothing(0.5))
    assert nnjax.calibrate(trained, training, digits).temperature == pytest.approx(model.temperature)


LABELS = np.arange(20) % 2
IMAGES = np.random.default_rng(0).integers(1, 256, (20, 24), np.uint8)


def calibrate(images, labels=LABELS, n_out=2, objective=LOGISTIC):
    """Calibrates without validation images, unless labels are a pair for training and validation."""
    train, *validation = labels if isinstance(labels, tuple) else (labels,)
    data = nnjax.Dataset.from_arrays((images, train), *((images, part) for part in validation))
    return nnjax.calibrate(nnjax.init(jax.random.key(0), (24, n_out)), objective, data)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((4, 6), DigitLayout((4, 6), True)),
        ((4, 6, 1), DigitLayout((4, 6), True)),
        ((4, 2, 3), None),
        ((24,), None),
    ],
)
def test_only_gray_images_have_a_layout(shape, layout):
    assert calibrate(IMAGES.reshape(20, *shape)).layout == layout


def test_blank_images_have_no_layout():
    assert calibrate(np.zeros((20, 4, 6), np.uint8)).layout is None


def test_the_temperature_is_1_if_it_cannot_be_fitted():
    images, vectors = IMAGES.reshape(20, 4, 6), np.random.default_rng(0).random((20, 2), np.float32)
    yes_or_no = nnjax.Objective(code=nnjax.is_digit(1))
    assert calibrate(images).temperature == 1  # no validation images
    assert calibrate(images, (vectors, vectors)).temperature == 1
    assert calibrate(images, (np.arange(20) % 3,) * 2, 1, yes_or_no).temperature == 1
