import numpy as np
import pytest

from experiments.smoothness import EXPERIMENT, KEY, SIZES, X


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


def test_the_curves_are_those_of_numpy(record):
    z = 1.0 * np.array(record["w"]) + 0.5 * 1.0 - 1.5
    np.testing.assert_array_equal(record["step"], z > 0)
    for c, outputs in zip((1, 3, 10, 100), record["sigmoid"], strict=True):
        np.testing.assert_allclose(outputs, 1 / (1 + np.exp(-c * z)), rtol=1e-9)


def test_the_largest_change_is_the_one_across_z_0(record):
    # z goes from -δ to δ, and σ(cδ) - σ(-cδ) = tanh(cδ/2)
    delta = 1.0 * 0.01 / 2
    assert record["step_max_change"] == 1
    np.testing.assert_allclose(
        record["sigmoid_max_change"], np.tanh(np.array(record["sharpness"]) * delta / 2), rtol=1e-9
    )
    assert record["sigmoid_max_change"][-1] > 0.99999


def test_the_prediction_is_the_central_difference_of_a_numpy_network(record, x64):
    import jax

    import nnjax

    params, direction = (nnjax.init(key, SIZES) for key in jax.random.split(jax.random.key(KEY)))

    def output(delta):
        a = np.array(X)
        for (w, b), (dw, db) in zip(params, direction, strict=True):
            a = 1 / (1 + np.exp(-((np.array(w) + delta * np.array(dw)) @ a + b + delta * np.array(db))))
        return a[0]

    factors = np.array(record["factors"])
    np.testing.assert_allclose(record["measured"], [output(d) - output(0) for d in factors], rtol=1e-9)
    slope = (output(1e-5) - output(-1e-5)) / 2e-5
    np.testing.assert_allclose(record["predicted"], slope * factors, rtol=1e-8)


def test_the_error_is_quadratic_in_the_change(record):
    factors = np.array(record["factors"])
    error = np.abs(np.array(record["measured"]) - record["predicted"])
    small = factors < 0.1
    np.testing.assert_allclose((error / factors**2)[small], error[0] / factors[0] ** 2, rtol=0.05)


def test_a_claim_is_not_supported_if_the_prediction_is_wrong(record):
    assert all(c.supported for c in EXPERIMENT.claims(record))
    wrong = {**record, "predicted": [2 * p for p in record["predicted"]]}
    assert [c.supported for c in EXPERIMENT.claims(wrong)] == [True, True, True, False]
