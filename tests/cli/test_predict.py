"""`nnjax predict`: exit codes, what is printed, and the model that is taken."""

import json
import warnings

import jax
import numpy as np
import pytest
from PIL import Image

import nnjax
from experiments.corruptions import PLAIN, draw
from nnjax.storage.model_store import best_model, model_dir, model_path

TRAIN = ("train", "--dataset", "digits", "--epochs", "40")


@pytest.fixture
def folder(run, tmp_path, monkeypatch):
    """An empty folder to work in, and a user's own of which nothing is known."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return tmp_path


@pytest.fixture
def file(folder, trained, digits):
    nnjax.save_model("m", trained, nnjax.Objective(), digits)
    return "m"


@pytest.fixture
def picture(folder, trained, digits):
    """A file with four digits that the network reads rightly one by one; returns its name and text."""
    right = np.asarray(nnjax.predict(trained, digits.test.inputs)) == digits.test.targets
    images, labels = digits.test.inputs[right][:4].reshape(-1, 8, 8), digits.test.targets[right][:4]
    array, text = draw(np.random.default_rng(1), images, labels, PLAIN)
    Image.fromarray(array).save("p.png")
    return "p.png", text


def test_the_text_is_printed(run, file, picture, capsys):
    name, text = picture
    assert run("predict", file, name) == 0
    assert capsys.readouterr().out.replace("?", "") == f"{text}\n"


def test_several_pictures_are_told_apart_and_one_bad_one_stops_no_other(run, file, picture, folder, capsys):
    name, text = picture
    (folder / "bad.png").write_bytes(b"no picture")
    assert run("predict", file, name, "bad.png", name) == 2
    out, err = capsys.readouterr()
    assert out.replace("?", "").splitlines() == [f"{name}: {text}"] * 2
    assert err.splitlines() == ["nnjax: error: 'bad.png' is no picture of a known kind"]


def test_json_tells_all(run, file, picture, capsys):
    name, text = picture
    assert run("predict", file, name, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["picture"], told["text"]) == (name, text)
    assert len(told["confidence"]) == len(told["boxes"]) == len(told["doubted"]) == len(told["crops"]) == 4


def test_a_page_without_digits_is_exit_code_3(run, file, folder, capsys):
    Image.new("L", (100, 100), 255).save("blank.png")
    assert run("predict", file, "blank.png") == 3
    out, err = capsys.readouterr()
    assert (out, err) == ("", "blank.png: nothing in it looks like a digit\n")


def test_the_explanation_is_a_picture_with_boxes(run, file, picture, folder, capsys):
    name, _ = picture
    assert run("predict", file, name, "--explain", "e.png") == 0
    with Image.open("e.png") as explained, Image.open(name) as plain:
        assert explained.mode == "RGB"
        assert explained.width == plain.width
        grey = np.asarray(explained.convert("HSV"))[..., 1]
        assert (grey > 100).mean() > 0.005  # boxes and words have colour, the page has none


def test_the_explanation_keeps_the_colours(run, file, picture, folder):
    with Image.open(picture[0]) as image:
        dark = np.asarray(image.convert("L")) < 128
    Image.fromarray(np.where(dark[..., None], (160, 0, 0), (255, 250, 205)).astype(np.uint8)).save("red.png")
    assert run("predict", file, "red.png", "--explain", "e.png") == 0
    with Image.open("e.png") as explained:
        assert np.mean((np.asarray(explained) == (255, 250, 205)).all(axis=-1)) > 0.3


def test_the_model_may_be_named_anywhere_but_only_one(run, file, picture, capsys):
    name, text = picture
    assert run("predict", name, file) == 0
    assert capsys.readouterr().out.replace("?", "").strip() == text
    assert run("predict", name, file, file) == 2
    assert "one model reads, but 2 are named" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["m"], "name a picture to read"),
        ([], "name a picture to read"),
        (["m", "none.png"], "there is no picture 'none.png'"),
        (["m", "p.png", "p.png", "--explain", "e.png"], "--explain writes one picture, but 2"),
        (["m", "p.png", "--explain", "p.png"], "--explain would replace p.png"),
        (["typo.safetensors", "p.png"], "there is no model file 'typo.safetensors'"),
        (["m", "p.png", "--explain", "e.txt"], "no known kind of picture"),
        (["m", "p.png", "--explain", "none/e.png"], "No such file"),
    ],
)
def test_what_the_user_can_mend_is_told_in_a_line(run, file, picture, arguments, told, capsys):
    assert run("predict", *arguments) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err


def test_without_a_model_it_says_how_to_train_one(run, picture, capsys):
    assert run("predict", picture[0]) == 2
    err = capsys.readouterr().err
    assert "there is no model of digits" in err
    assert "nnjax train --hidden 100" in err


def test_what_train_keeps_is_found_and_the_best_of_it_taken(run, picture, capsys):
    name, text = picture
    assert run(*TRAIN) == 0
    assert run(*TRAIN, "--learning-rate", "0.0001", "--epochs", "1") == 0
    assert len(list(model_dir().iterdir())) == 2
    assert run(*TRAIN) == 0  # the same settings, the same file
    assert len(list(model_dir().iterdir())) == 2
    path, model = best_model(model_dir())
    assert model.validation_accuracy > 0.9
    capsys.readouterr()
    assert run("predict", name) == 0
    out, err = capsys.readouterr()
    assert len(out.replace("?", "").strip()) == len(text)
    assert str(path) in err


def test_what_ctrl_c_leaves_replaces_no_finished_model(run, folder, monkeypatch):
    from nnjax.cli import train

    assert run(*TRAIN) == 0
    (finished,) = model_dir().iterdir()
    content = finished.read_bytes()
    show = train.Display.show

    def interrupted(display, so_far):
        show(display, so_far)
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Display, "show", interrupted)
    assert run(*TRAIN) == 130
    assert finished.read_bytes() == content
    assert len(list(model_dir().iterdir())) == 2


def test_train_keeps_nothing_where_it_is_told_so(run, folder):
    assert run(*TRAIN, "--epochs", "1", "--no-keep") == 0
    assert run(*TRAIN, "--epochs", "1", "--save", "m.st") == 0
    assert not model_dir().exists()


def test_a_folder_that_cannot_be_written_is_a_warning(run, folder, capsys):
    (folder / "share").write_text("a file")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(*TRAIN, "--epochs", "1") == 0
    assert "the model is not kept: cannot write into" in capsys.readouterr().err


def test_a_disk_that_fills_while_it_is_kept_is_a_warning_too(run, folder, monkeypatch, capsys):
    from nnjax.cli import train

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train, "save_model", full)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(*TRAIN, "--epochs", "1", "--json", "r.json") == 0
    assert "the model is not kept: [Errno 28]" in capsys.readouterr().err
    assert (folder / "r.json").exists()
    assert run(*TRAIN, "--epochs", "1", "--save", "m.st") == 2


def test_models_of_mnist_go_first_and_what_is_no_model_of_digits_is_passed_over(folder, trained, digits):
    from dataclasses import replace

    here = folder / "models"
    here.mkdir()
    assert best_model(here) is None
    (here / "damaged.safetensors").write_bytes(b"hello")
    nnjax.save_model(
        here / "fashion.safetensors", trained, nnjax.Objective(), replace(digits, name="fashion_mnist")
    )
    with pytest.warns(UserWarning, match=r"passed over: .*damaged"):
        assert best_model(here) is None
    (here / "damaged.safetensors").unlink()
    nnjax.save_model(here / "a.safetensors", trained, nnjax.Objective(), digits)
    assert best_model(here)[0].name == "a.safetensors"
    worse = nnjax.init(jax.random.key(5), (64, 10))
    nnjax.save_model(here / "z.safetensors", worse, nnjax.Objective(), digits)
    assert best_model(here)[0].name == "a.safetensors"
    nnjax.save_model(here / "m.safetensors", worse, nnjax.Objective(), replace(digits, name="mnist"))
    assert best_model(here)[0].name == "m.safetensors"


def test_other_settings_have_another_place():
    settings = {"dataset": "digits", "hidden": (30, 20), "learning_rate": 3.0}
    assert model_path(settings).name.startswith("digits-30-20-")
    assert model_path(settings) == model_path(dict(settings))
    assert model_path(settings) != model_path(settings | {"learning_rate": 1.0})
