"""`nnjax data`."""

import json

import pytest


def test_path_prints_which_files_exist(run, capsys, tmp_path):
    assert run("data", "path", "mnist", "--data-dir", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "prepared  no" in printed
    assert str(tmp_path / "downloads" / "manual" / "mnist") in printed
    manual = tmp_path / "downloads" / "manual" / "mnist"
    manual.mkdir(parents=True)
    assert run("data", "path", "mnist", "--data-dir", tmp_path) == 0
    assert "by hand   no" in capsys.readouterr().out  # the folder is empty
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (manual / f"{name}-ubyte.gz").touch()
    assert run("data", "path", "mnist", "--data-dir", tmp_path, "--json") == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files["by hand"] == {"path": str(manual), "exists": True}
    assert not files["prepared"]["exists"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["path", "minst"], "did you mean 'mnist'"), (["prepare", "digits"], "must be one of mnist")],
)
def test_data_sets_that_need_no_preparation_are_rejected(run, capsys, arguments, words):
    assert run("data", *arguments) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_prepared_data_are_described(run, capsys, mnist_dir):
    assert run("data", "prepare", "mnist", "--data-dir", mnist_dir) == 0
    assert "train=50000, validation=10000, test=10000" in capsys.readouterr().out
    assert run("data", "prepare", "mnist", "--data-dir", mnist_dir, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "dataset": "mnist", "input_shape": [28, 28], "num_classes": 10,
        "train": 50000, "validation": 10000, "test": 10000,
    }  # fmt: skip
    assert run("data", "path", "mnist", "--data-dir", mnist_dir) == 0
    assert "decoded   yes" in capsys.readouterr().out
