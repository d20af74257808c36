"""`nnjax predict` and `nnjax draw`: exit codes, output, and which model is used."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

import nnjax
from nnjax.storage.model_store import best_model, model_dir


@pytest.fixture
def folder(run, tmp_path, monkeypatch):
    """An empty directory to work in, with an empty model folder below it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return tmp_path


@pytest.fixture(scope="session")
def saved_model(trained, digits, tmp_path_factory):
    """A model file that can read pictures."""
    path = tmp_path_factory.mktemp("saved") / "m.safetensors"
    objective = nnjax.Objective()
    calibration = nnjax.calibrate(trained, objective, digits)
    nnjax.save_model(path, trained, objective, digits, calibration=calibration)
    return path


@pytest.fixture
def file(folder, saved_model):
    (folder / "m").write_bytes(saved_model.read_bytes())
    return "m"


@pytest.fixture
def picture(folder, trained, digits):
    """A file with four digits that the network predicts correctly one by one; returns its name and text."""
    correct = np.asarray(nnjax.predict(trained, digits.test.inputs)) == digits.test.targets
    images, labels = digits.test.inputs[correct][:4].reshape(-1, 8, 8), digits.test.targets[correct][:4]
    page = Image.new("L", (400, 140), 255)
    for i, image in enumerate(images):
        page.paste(Image.fromarray(255 - image).resize((64, 64), Image.Resampling.BICUBIC), (30 + 90 * i, 38))
    page.save("p.png")
    return "p.png", "".join(map(str, labels))


def test_the_text_is_printed(run, file, picture, capsys):
    name, text = picture
    assert run("predict", file, name) == 0
    assert capsys.readouterr().out.replace("?", "") == f"{text}\n"


def test_lines_of_several_pictures_begin_with_their_names_and_a_bad_picture_stops_no_other(
    run, file, picture, folder, capsys
):
    name, text = picture
    (folder / "bad.png").write_bytes(b"no picture")
    assert run("predict", file, name, "bad.png", name) == 2
    out, err = capsys.readouterr()
    assert out.replace("?", "").splitlines() == [f"{name}: {text}"] * 2
    assert len(err.splitlines()) == 1
    assert err.startswith("nnjax: error: ")
    assert "bad.png" in err


def test_json_has_all_results(run, file, picture, capsys):
    name, text = picture
    assert run("predict", file, name, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["picture"], result["text"]) == (name, text)
    lengths = {key: len(result[key]) for key in ("confidence", "uncertain", "boxes", "crops")}
    assert lengths == {"confidence": 4, "uncertain": 4, "boxes": 4, "crops": 4}


def test_a_page_without_digits_is_exit_code_3(run, file, folder, capsys):
    Image.new("L", (100, 100), 255).save("blank.png")
    assert run("predict", file, "blank.png") == 3
    assert capsys.readouterr() == ("", "blank.png: contains no digit\n")


def test_the_annotated_picture_has_colored_boxes(run, file, picture, folder):
    name, _ = picture
    assert run("predict", file, name, "--annotate", "a.png") == 0
    with Image.open("a.png") as annotated, Image.open(name) as plain:
        assert annotated.mode == "RGB"
        assert annotated.width == plain.width
        saturation = np.asarray(annotated.convert("HSV"))[..., 1]
        assert (saturation > 100).mean() > 0.005


def test_the_annotated_picture_keeps_its_colors(run, file, picture, folder):
    with Image.open(picture[0]) as image:
        dark = np.asarray(image.convert("L")) < 128
    Image.fromarray(np.where(dark[..., None], (160, 0, 0), (255, 250, 205)).astype(np.uint8)).save("red.png")
    assert run("predict", file, "red.png", "--annotate", "a.png") == 0
    with Image.open("a.png") as annotated:
        digits = np.asarray(annotated)[2 * annotated.height // 3 :]  # below ink and lines
        assert np.mean((digits == (255, 250, 205)).all(axis=-1)) > 0.3


def test_one_model_is_accepted_at_any_position(run, file, picture, capsys):
    name, text = picture
    assert run("predict", name, file) == 0
    assert capsys.readouterr().out.replace("?", "").strip() == text
    assert run("predict", name, file, file) == 2
    assert "files must include at most one model file, got m, m" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m"], "files must include at least one picture"),
        ([], "files must include at least one picture"),
        (["m", "none.png"], "none.png"),
        (["m", "p.png", "p.png", "--annotate", "a.png"], "--annotate must be used with one picture, got 2"),
        (["m", "p.png", "--annotate", "p.png"], "--annotate must name a new file, got p.png"),
        (["typo.safetensors", "p.png"], "there is no model file 'typo.safetensors'"),
        (["m", "p.png", "--annotate", "a.txt"], "a.txt"),
        (["m", "p.png", "--annotate", "none/a.png"], "No such file"),
    ],
)
def test_wrong_arguments_are_rejected_in_one_line(run, file, picture, arguments, words, capsys):
    assert run("predict", *arguments) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


def test_without_a_model_the_error_says_how_to_train_one(run, picture, capsys):
    assert run("predict", picture[0]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "there is no model of digits" in err
    assert "nnjax train --hidden 100" in err


def test_the_best_model_of_the_model_dir_is_used(run, picture, capsys, trained, digits):
    name, text = picture
    assert run("train", "--dataset", "digits", "--epochs", 1) == 0
    assert len(list(model_dir().iterdir())) == 1
    objective = nnjax.Objective()
    calibration = nnjax.calibrate(trained, objective, digits)
    nnjax.save_model(model_dir() / "good.safetensors", trained, objective, digits, calibration=calibration)
    path, model = best_model(model_dir())
    assert path.name == "good.safetensors"
    assert model.validation_accuracy > 0.9
    capsys.readouterr()
    assert run("predict", name) == 0
    out, err = capsys.readouterr()
    assert out.replace("?", "").strip() == text
    assert err == f"model: {path}\n"


def test_models_of_mnist_are_preferred_and_other_models_are_skipped(folder, trained, digits):
    here = folder / "models"
    here.mkdir()

    def save(name, params, dataset):
        data = replace(digits, name=dataset)
        nnjax.save_model(here / f"{name}.safetensors", params, nnjax.Objective(), data)

    assert best_model(here) is None
    (here / "damaged.safetensors").write_bytes(b"hello")
    save("fashion", trained, "fashion_mnist")
    with pytest.warns(UserWarning, match=r"skipped: .*damaged"):
        assert best_model(here) is None
    (here / "damaged.safetensors").unlink()
    save("a", trained, "digits")
    assert best_model(here)[0].name == "a.safetensors"
    worse = nnjax.init(jax.random.key(5), (64, 10))
    save("z", worse, "digits")
    assert best_model(here)[0].name == "a.safetensors"
    save("m", worse, "mnist")
    assert best_model(here)[0].name == "m.safetensors"


def test_draw_writes_the_page_and_opens_it(run, file, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri) or True)
    monkeypatch.setattr("nnjax.recognition.page.draw_page", lambda model: f"a page for {model.sizes}")
    assert run("draw", file, "--output", "d.html", "--no-open") == 0
    assert opened == []
    assert (tmp_path / "d.html").read_text() == "a page for (64, 30, 10)"
    assert run("draw", file, "--output", "d.html") == 0
    assert opened == [(tmp_path / "d.html").as_uri()]
    assert run("draw", "none", "--output", "d.html") == 2
    assert "there is no model file" in capsys.readouterr().err
