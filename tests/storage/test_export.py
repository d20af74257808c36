"""Exported programs compute the activations of the model, for any number of inputs."""

import jax
import numpy as np
import pytest
from jax import export

import nnjax
from nnjax.cli import main
from nnjax.storage import export as exporting


@pytest.fixture(scope="module", params=["dense", "convolutional"])
def path(request, digits, tmp_path_factory):
    """The file of a model."""
    settings = {"channels": (4,), "hidden": ()} if request.param == "convolutional" else {"hidden": (12,)}
    config = nnjax.TrainConfig(epochs=1, cost="softmax_cross_entropy", **settings)
    run = config.fit(jax.random.key(0), digits)
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    nnjax.save_model(path, run.params, config.objective(digits), digits)
    return path


@pytest.mark.parametrize("n", [1, 7, 200])
def test_the_program_computes_the_activations_of_the_model(path, digits, n):
    model, inputs = nnjax.load_model(path), digits.test.inputs[:n]
    activations = exporting.export_model(model).call(inputs)
    np.testing.assert_allclose(activations, nnjax.outputs(model.params, inputs, model.objective), atol=1e-6)


def test_the_command_writes_a_program_that_runs_without_nnjax(path, digits, tmp_path, capsys):
    out = tmp_path / "model.stablehlo"
    assert main(["export", str(path), "--out", str(out)]) == 0
    assert "uint8 inputs (n, 8, 8) -> activations (n, 10)" in capsys.readouterr().out
    program = export.deserialize(bytearray(out.read_bytes()))
    assert program.platforms == exporting.PLATFORMS
    model, inputs = nnjax.load_model(path), digits.test.inputs
    labels = np.asarray(program.call(inputs)).argmax(axis=1)
    np.testing.assert_array_equal(labels, nnjax.predict(model.params, inputs, model.objective))


def test_a_wrong_program_is_not_written(path, tmp_path, monkeypatch):
    model = nnjax.load_model(path)
    wrong = exporting.export_model(model)
    other = jax.tree.map(lambda x: x + 1, model.params)
    monkeypatch.setattr(exporting, "export_model", lambda model: wrong)
    object.__setattr__(model, "params", other)
    with pytest.raises(RuntimeError, match="must compute the activations of the model up to 1e-05"):
        exporting.write_stablehlo(tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


def test_a_missing_model_is_an_error(capsys):
    assert main(["export", "missing.safetensors"]) == 2
    assert "missing.safetensors" in capsys.readouterr().err
