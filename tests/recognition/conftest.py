import jax
import pytest

import nnjax


@pytest.fixture(scope="session")
def mnist_model(mnist, tmp_path_factory):
    """A network that was trained on MNIST for five epochs, loaded from its model file."""
    objective, params = nnjax.Objective(), nnjax.init(jax.random.key(0), (784, 30, 10), nnjax.lecun)
    params = nnjax.fit(jax.random.key(1), params, mnist, learning_rate=1.0, epochs=5).params
    path = tmp_path_factory.mktemp("mnist") / "m.safetensors"
    calibration = nnjax.calibrate(params, objective, mnist)
    nnjax.save_model(path, params, objective, mnist, calibration=calibration)
    return nnjax.load_model(path)
