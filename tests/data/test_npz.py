"""`load` of an .npz file, and the command line on it."""

import numpy as np
import pytest

import nnjax

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


@pytest.mark.parametrize("names", [("{}_inputs", "{}_targets"), ("x_{}", "y_{}")])
def test_the_arrays_are_the_splits(path, names):
    arrays = {names[0].format(split): X[:n] for split, n in (("train", 50), ("test", 20))}
    arrays |= {names[1].format(split): LABELS[:n] for split, n in (("train", 50), ("test", 20))}
    np.savez_compressed(path, **arrays)
    data = nnjax.load(str(path))
    np.testing.assert_array_equal(data.train.inputs, X)
    np.testing.assert_array_equal(data.test.targets, LABELS[:20])
    assert (data.name, data.num_classes, len(data.validation.targets)) == (str(path), 2, 0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_inputs": X}, "must contain the arrays train_inputs and train_targets"),
        ({"train_inputs": X, "train_targets": LABELS, "extra": X}, "got extra"),
        ({"train_inputs": X, "train_targets": LABELS[:9]}, r"mine\.npz: train targets must be"),
        ({"train_inputs": X, "train_targets": np.array([object()] * 50)}, "Object arrays cannot be loaded"),
        ({"train_inputs": X, "train_targets": LABELS, "num_classes": 1}, "num_classes must be at least 2"),
    ],
)
def test_wrong_contents_raise(path, arrays, message):
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        nnjax.load(str(path))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 damaged"])
def test_files_of_another_kind_raise(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must be an \.npz file of arrays, got"):
        nnjax.load(str(path))


def test_a_missing_file_raises(path):
    with pytest.raises(ValueError, match="data set must be an existing file, got"):
        nnjax.load(str(path))


def test_the_command_line_trains_evaluates_and_sweeps_a_classification(path, run, capsys):
    split = {"inputs": X, "targets": LABELS}
    np.savez(path, **{f"{name}_{part}": split[part] for name in ("train", "test") for part in split})
    flags = ["--dataset", path, "--epochs", 2, "--hidden", 4]
    assert run("train", *flags, "--save", "m.st", "--plot", "p.png") == 0
    assert "test " in capsys.readouterr().out
    assert run("evaluate", "m.st") == 0
    out = capsys.readouterr().out
    assert "mine.npz test: " in out
    assert "predictions by label" in out
    assert run("sweep", *flags, "--learning-rate", 1, 3, "--plot", "s.png") == 0
    assert capsys.readouterr().out.split("\n")[3].split()[:2] == ["learning_rate", "test"]


@pytest.mark.slow
def test_the_command_line_reports_the_cost_of_a_regression(path, run, capsys):
    y = X @ np.float32([[1.0], [2.0], [0.0]])
    np.savez(path, train_inputs=X, train_targets=y, validation_inputs=X, validation_targets=y)
    flags = ["--dataset", path, "--epochs", 20, "--hidden", "none"]
    assert run("train", *flags, "--learning-rate", 0.1, "--save", "m.st", "--plot", "p.png") == 0
    printed = capsys.readouterr().out
    assert "validation: cost 0.0" in printed
    assert "%" not in printed
    model = nnjax.load_model("m.st")
    assert (model.code, model.num_classes) == (None, None)
    np.testing.assert_allclose(model(X[0]), y[0], atol=0.3)
    assert run("evaluate", "m.st") == 0
    assert "validation: cost 0.0" in capsys.readouterr().out
    assert run("predict", "m.st", "p.png") == 2
    assert run("sweep", *flags, "--learning-rate", 0.0, 0.1, "--plot", "s.png") == 0
    assert "best on validation: learning_rate 0.1" in capsys.readouterr().out


def test_a_wrong_file_is_one_line(path, run, capsys):
    assert run("train", "--dataset", path) == 2
    assert "data set must be an existing file" in " ".join(capsys.readouterr().err.split())
