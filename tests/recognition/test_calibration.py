import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nnjax
from nnjax.recognition.calibration import fit_temperature, probabilities, shifted_copies, tta_probabilities

LOGISTIC = nnjax.Objective()
SOFTMAX = nnjax.Objective(nnjax.Dense(output=nnjax.identity), nnjax.softmax_cross_entropy)


@pytest.mark.parametrize(("code", "n_out"), [(nnjax.one_hot, 10), (nnjax.binary, 4)])
def test_a_label_is_as_likely_as_its_neurons_say(code, n_out):
    """Π a^y (1−a)^(1−y), label by label, and one hypothesis more for one_hot: silence."""
    a = np.random.default_rng(0).uniform(0.05, 0.95, n_out)
    written = {label: np.asarray(code.encode(jnp.int32(label), n_out)) for label in range(10)}
    likely = [np.prod([x if y else 1 - x for x, y in zip(a, written[k], strict=True)]) for k in range(10)]
    likely.append(np.prod(1 - a) if code is nnjax.one_hot else 0.0)
    p = probabilities(jnp.float32(a), nnjax.Objective(code=code), 10)
    np.testing.assert_allclose(p, np.array(likely) / np.sum(likely), rtol=1e-4)


def test_softmax_outputs_are_the_probabilities():
    a = jax.nn.softmax(jnp.array([2.0, 0.0, 1.0]))
    np.testing.assert_allclose(probabilities(a, SOFTMAX, 3), [*a, 0], rtol=1e-5)


def test_silence_is_nothing_known_and_saturation_is_finite():
    assert probabilities(jnp.full(10, 0.001), LOGISTIC, 10)[-1] > 0.98
    for a in itertools.product((0.0, 1.0), repeat=3):
        p = probabilities(jnp.array(a), LOGISTIC, 3)
        assert np.isfinite(p).all()
        assert float(p.sum()) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_finite_too(dtype):
    assert np.isfinite(probabilities(jnp.array([1.0, 0.0, 1.0], dtype), LOGISTIC, 3)).all()


def test_the_temperature_with_which_labels_were_drawn_is_found():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 3, (6000, 4)).astype(np.float32)
    network = (nnjax.Layer(jnp.eye(4), jnp.zeros(4)),)  # its outputs are σ(z)
    p = jax.vmap(lambda a: probabilities(a, LOGISTIC, 4))(jax.nn.sigmoid(z)) ** (1 / 2.5)
    p = np.asarray(p)[:, :4] / np.asarray(p)[:, :4].sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in p.astype(float)])
    assert float(fit_temperature(network, z, labels, LOGISTIC, 4, (4,))) == pytest.approx(2.5, rel=0.25)


def test_images_are_looked_at_from_nine_positions():
    image = np.zeros((1, 784), np.uint8)
    image[0, 14 * 28 + 14] = 255
    at = [divmod(int(np.argmax(moved)), 28) for moved in shifted_copies(jnp.asarray(image), (28, 28))]
    assert sorted(at) == list(itertools.product((13, 14, 15), repeat=2))
    edge = shifted_copies(jnp.asarray(image)[:, ::-1] * 0 + 7, (28, 28)).reshape(9, 28, 28)
    assert sorted(np.sum(edge == 0, axis=(1, 2)).tolist()) == [0] + [28] * 4 + [55] * 4  # nothing comes round
    assert len(shifted_copies(jnp.zeros((1, 64), jnp.uint8), (8, 8))) == 1
    assert len(shifted_copies(jnp.zeros((1, 4)), (4,))) == 1


def test_the_mean_over_positions_is_that_of_the_probabilities():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (3, 784)), jnp.uint8)
    params = nnjax.init(jax.random.key(0), (784, 10))
    each = [
        [probabilities(a, LOGISTIC, 10) for a in nnjax.evaluate.outputs(params, moved, LOGISTIC)]
        for moved in shifted_copies(images, (28, 28))
    ]
    mean = tta_probabilities(params, images, LOGISTIC, 10, (28, 28), 2.0)
    cooler = np.mean(each, axis=0) ** (1 / 2)
    np.testing.assert_allclose(mean, cooler / cooler.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-7)
