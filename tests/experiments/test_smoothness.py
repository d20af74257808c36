import numpy as np
import pytest

from experiments.smoothness import EXPERIMENT, KEY, SIZES, X


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


def test_the_curves_are_the_neurons_own(record):
    z = 1.0 * np.array(record["w"]) + 0.5 * 1.0 - 1.5
    np.testing.assert_array_equal(record["step"], z > 0)
    for c, outputs in zip((1, 3, 10, 100), record["sigmoid"], strict=True):
        np.testing.assert_allclose(outputs, 1 / (1 + np.exp(-c * z)), rtol=1e-9)


def test_the_largest_change_is_the_one_across_z_0(record):
    # z goes from -δ to δ, and σ(cδ) - σ(-cδ) = tanh(cδ/2)
    delta = 1.0 * 0.01 / 2
    assert record["step_moves"] == 1
    np.testing.assert_allclose(
        record["sigmoid_moves"], np.tanh(np.array(record["sharpness"]) * delta / 2), rtol=1e-9
    )
    assert record["sigmoid_moves"][-1] > 0.99999


def test_the_prediction_is_the_central_difference_of_a_numpy_network(record, x64):
    import jax

    import nnjax

    params, direction = (nnjax.init(key, SIZES) for key in jax.random.split(jax.random.key(KEY)))

    def output(delta):
        a = np.array(X)
        for (w, b), (dw, db) in zip(params, direction, strict=True):
            a = 1 / (1 + np.exp(-((np.array(w) + delta * np.array(dw)) @ a + b + delta * np.array(db))))
        return a[0]

    small = np.array(record["small"])
    np.testing.assert_allclose(record["moved"], [output(d) - output(0) for d in small], rtol=1e-9)
    slope = (output(1e-5) - output(-1e-5)) / 2e-5
    np.testing.assert_allclose(record["predicted"], slope * small, rtol=1e-8)


def test_half_the_change_has_a_quarter_of_the_error(record):
    small = np.array(record["small"])
    error = np.abs(np.array(record["moved"]) - record["predicted"])
    here = small < 0.1
    np.testing.assert_allclose((error / small**2)[here], error[0] / small[0] ** 2, rtol=0.05)


def test_a_claim_fails_where_the_prediction_is_wrong(record):
    assert all(c.holds for c in EXPERIMENT.claims(record))
    wrong = {**record, "predicted": [2 * p for p in record["predicted"]]}
    assert [c.holds for c in EXPERIMENT.claims(wrong)] == [True, True, True, False]
