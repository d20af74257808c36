"""`nnjax evaluate` and `nnjax baselines`."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import nnjax
import reference
from nnjax.cli import baselines, evaluate


@pytest.fixture(autouse=True)
def _model_file(run, model, trained, digits):
    """In an empty directory, the model of the session as m.st."""
    nnjax.save_model("m.st", trained, nnjax.Objective(), digits)


def test_accuracy_and_confusion_matrix_are_those_of_the_model(run, capsys, trained, digits):
    predictions = np.asarray(nnjax.predict(trained, digits.test.inputs))
    correct = int(np.sum(predictions == digits.test.targets))
    assert run("evaluate", "m.st") == 0
    assert f"digits test: {100 * correct / 296:.2f} % ({correct} of 296)" in capsys.readouterr().out
    assert run("evaluate", "m.st", "--json") == 0
    out, err = capsys.readouterr()
    results = json.loads(out)
    cost = reference.cost(
        reference.as_numpy(trained), digits.test.inputs / 255, np.eye(10)[digits.test.targets]
    )
    assert results["test"].pop("cost") == pytest.approx(cost, rel=1e-5)
    assert results["test"] == {"accuracy": correct / 296, "correct": correct, "total": 296}
    assert results["validation"]["total"] == 297
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (digits.test.targets, predictions), 1)
    np.testing.assert_array_equal(results["confusion_matrix"], expected)
    assert "predictions by label" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no model file 'x.st'"),
        (b"", "not a model file"),
        (b"no model at all", "not a model file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "not a model file"),
    ],
)
def test_other_files_are_rejected_in_one_line(run, content, words, capsys):
    if content is not None:
        Path("x.st").write_bytes(content)
    assert run("evaluate", "x.st") == 2
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_directory_is_rejected_in_one_line(run, capsys):
    Path("folder").mkdir()
    assert run("evaluate", "folder") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_data_of_another_shape_are_rejected(run, capsys, digits, monkeypatch):
    narrow = nnjax.Dataset.from_arrays((digits.train.inputs[:, :, :7], digits.train.targets), name="digits")
    monkeypatch.setattr(evaluate, "load_dataset", lambda *_: narrow)
    assert run("evaluate", "m.st") == 2
    err = capsys.readouterr().err
    assert "64" in err
    assert "56" in err


def test_a_model_of_an_unknown_data_set_needs_the_flag(run, capsys, digits, trained):
    nnjax.save_model("m.st", trained, nnjax.Objective(), replace(digits, name="mine"))
    assert run("evaluate", "m.st") == 2
    assert "--dataset must be one of" in " ".join(capsys.readouterr().err.split())
    assert run("evaluate", "m.st", "--dataset", "digits") == 0


def test_baselines_are_compared_with_the_model(run, capsys, trained, digits):
    correct = int(nnjax.count_correct(trained, *digits.test))
    assert run("baselines", "--model", "m.st") == 0
    out = capsys.readouterr().out
    assert f"{100 * correct / 296:.2f} %" in out
    assert "use --svm to add support vector machines" in out
    assert run("baselines", "--model", "m.st", "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert results["methods"]["network [64, 30, 10]"] == {"accuracy": correct / 296, "correct": correct}
    assert 0 < results["methods"]["random guess"]["correct"] < 70
    assert set(results["methods"]) == {"random guess", "average darkness", "network [64, 30, 10]"}


def test_baselines_reject_a_model_that_predicts_no_labels(run, capsys, model, monkeypatch):
    params = nnjax.init(jax.random.key(0), (64, 1))
    objective = nnjax.Objective(code=nnjax.is_digit(9))
    other = replace(model, params=params, objective=objective)
    monkeypatch.setattr(baselines, "load_model", lambda path: other)
    assert run("baselines", "--model", "m.st") == 2
    assert "must predict all labels of the data" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_baselines_without_a_model_train_the_books_network(run, capsys):
    assert run("baselines", "--dataset", "digits", "--epochs", 1, "--svm") == 0
    out = capsys.readouterr().out
    assert "epoch   1 / 1" in out
    assert "SVM, gamma=scale" in out
    assert run("baselines", "--dataset", "digits", "--epochs", 0) == 2
