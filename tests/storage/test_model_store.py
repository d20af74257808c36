"""The user's directory of models: file names, and the best model."""

import json

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nnjax
from nnjax.storage import best_model, model_dir, model_path, save_model


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "mnist-30"),
        ({"hidden": (128,), "channels": (16, 32)}, "mnist-16c-32c-128"),
        ({"hidden": (30, 20)}, "mnist-30-20"),
        ({"hidden": ()}, "mnist"),
    ],
)
def test_a_file_is_named_after_the_data_and_the_layers(changes, name):
    settings = {"dataset": "mnist", "config": nnjax.TrainConfig(**changes).to_json(), "seed": 0}
    path = model_path(settings)
    assert path.parent == model_dir()
    start, _, digest = path.stem.rpartition("-")
    assert (start, path.suffix) == (name, ".safetensors")
    assert len(digest) == 8
    assert int(digest, 16) >= 0


def test_equal_settings_have_the_same_file_and_others_another():
    def path(dataset="mnist", seed=0, **changes):
        config = nnjax.TrainConfig(**changes).to_json()
        return model_path({"dataset": dataset, "config": config, "seed": seed})

    assert path() == path()
    others = [path(seed=1), path(batch_size=20), path(learning_rate=0.5), path("digits")]
    assert len({path(), *others}) == 5


def test_the_last_bit_of_a_learning_rate_does_not_change_the_file():
    """Values of exp and log differ in the last bit between processors."""

    def path(rate):
        config = nnjax.TrainConfig(learning_rate=rate, hyperparameters={"momentum": rate}).to_json()
        return model_path({"dataset": "mnist", "config": config, "seed": 0})

    rate = 0.31622776601683794
    assert path(rate) == path(float(np.nextafter(rate, 1)))
    assert path(rate) != path(0.3162)


def test_the_name_of_a_data_set_cannot_leave_the_directory():
    path = model_path({"dataset": "../a/b", "config": {"hidden": [30]}})
    assert path.parent == model_dir()


@pytest.fixture(scope="module")
def model_bytes(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(path, nnjax.init(jax.random.key(0), (64, 30, 10)), nnjax.Objective(), digits)
    return path.read_bytes()


@pytest.fixture
def put(model_bytes, tmp_path):
    """Writes a model file into `tmp_path`, with some entries of its metadata and tensors changed."""

    def put(name, tensors=None, **metadata):
        path = tmp_path / name
        path.write_bytes(model_bytes)
        with safe_open(path, "numpy") as file:
            old = json.loads(file.metadata()["nnjax"])
        save_file(load_file(path) | (tensors or {}), path, {"nnjax": json.dumps(old | metadata)})

    return put


def test_the_best_model_has_the_highest_validation_accuracy_and_mnist_is_preferred(put, tmp_path):
    assert best_model(tmp_path / "none") is None
    put("a.safetensors", validation_accuracy=0.9)
    put("b.safetensors", validation_accuracy=0.1)
    path, model = best_model(tmp_path)
    assert path.name == "a.safetensors"
    assert model.validation_accuracy == 0.9
    put("b.safetensors", validation_accuracy=0.1, dataset="mnist")
    assert best_model(tmp_path)[0].name == "b.safetensors"


def test_models_without_ten_digits_are_not_the_best_model(put, tmp_path):
    one_output = {"1.w": np.zeros((1, 30), np.float32), "1.b": np.zeros(1, np.float32)}
    put("a.safetensors", one_output, sizes=[64, 30, 1], output_code="is_digit(9)")
    assert nnjax.load_model(tmp_path / "a.safetensors").code == nnjax.is_digit(9)
    put("b.safetensors", dataset="fashion_mnist")
    assert best_model(tmp_path) is None


def test_files_that_cannot_be_read_are_skipped_with_a_warning(put, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=r"skipped: .*a.safetensors' is not a model file"):
        assert best_model(tmp_path) is None
    (tmp_path / "a.safetensors").unlink()
    put("b.safetensors", format=2)
    put("c.safetensors")
    with pytest.warns(UserWarning, match=r"skipped: .*b.safetensors' must have format 5, got format 2"):
        assert best_model(tmp_path)[0].name == "c.safetensors"
