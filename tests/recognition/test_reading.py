"""Whole pictures to text, with a network that learnt the embedded digits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import nnjax
from experiments.corruptions import CORRUPTIONS, PLAIN, draw
from nnjax.recognition.components import box_around
from nnjax.recognition.reading import DOUBTED


@pytest.fixture(scope="session")
def written(model, digits):
    """Draws a picture of test digits that the model reads rightly one by one; returns it with its text."""
    sure = np.asarray(nnjax.predict(model.params, digits.test.inputs)) == digits.test.targets
    images, labels = digits.test.inputs[sure].reshape(-1, 8, 8), digits.test.targets[sure]

    def write(seed, count, manner=PLAIN):
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(images), count)
        return draw(rng, images[chosen], labels[chosen], manner)

    return write


def right(model, written, manner, pictures=25, count=4):
    read = [nnjax.read_picture(picture, model).text == text
            for picture, text in (written(seed, count, manner) for seed in range(pictures))]  # fmt: skip
    return np.mean(read)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "least"),
    [
        ("none: separate digits", 0.7), ("several lines", 0.7), ("colours", 0.6), ("light", 0.6),
        ("frame", 0.6), ("shining through", 0.6), ("JPEG", 0.6), ("touching", 0.2), ("in pieces", 0.4),
        ("slant", 0.3), ("size", 0.5), ("stroke", 0.3), ("noise and specks", 0.3), ("ruled lines", 0.2),
        ("blur", 0.3),
    ],
)  # fmt: skip
def test_strings_of_four_digits_are_read(model, written, trouble, least):
    assert right(model, written, CORRUPTIONS[trouble]) >= least


def test_a_reading_says_where_and_how_surely(model, written):
    picture, _ = written(3, 5)
    reading = nnjax.read_picture(picture, model)
    assert len(reading.text) == len(reading.confidence) == len(reading.boxes) == len(reading.crops)
    assert reading.crops.shape[1:] == (8, 8)
    assert (reading.confidence > 0).all()
    assert (reading.confidence <= 1).all()
    left, top, after, below = reading.boxes.T
    assert (np.diff(left) > 0).all()
    assert (left >= 0).all()
    assert (left < after).all()
    assert (after <= picture.shape[1]).all()
    assert (top >= 0).all()
    assert (top < below).all()
    assert (below <= picture.shape[0]).all()
    doubted = (reading.confidence < DOUBTED).sum()
    assert str(reading).count("?") == doubted
    assert str(reading).replace("?", "") == reading.text


def test_a_crop_is_what_the_network_answers_to(model, written):
    reading = nnjax.read_picture(written(4, 6)[0], model)
    answers = nnjax.predict(model.params, reading.crops.reshape(-1, 64))
    assert "".join(map(str, answers.tolist())) == reading.text


def test_small_and_large_pictures_are_read_alike(model, written):
    picture, text = written(6, 4)
    assert nnjax.read_picture(picture, model).text == text
    large = np.kron(picture, np.ones((5, 5, 1), np.uint8))
    reading = nnjax.read_picture(large, model)
    assert reading.text == text
    boxes = nnjax.read_picture(picture, model).boxes
    np.testing.assert_allclose(reading.boxes / 5, boxes, atol=3)


@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_nothing_is_read_on_a_blank_page(model, brightness):
    reading = nnjax.read_picture(np.full((90, 200), brightness, np.uint8), model)
    assert (reading.text, len(reading.boxes), str(reading)) == ("", 0, "")


@settings(deadline=None, max_examples=60)
@given(arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60)), elements=st.integers(0, 255)))
def test_no_picture_crashes_it(model, picture):
    reading = nnjax.read_picture(picture, model)
    assert len(reading.text.replace("\n", "")) == len(reading.confidence)


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8),
        np.random.default_rng(0).integers(0, 2, (200, 300), np.uint8) * 255,
        np.zeros((1, 30_000), np.uint8),
        np.eye(700, dtype=np.uint8) * 255,
        np.indices((400, 400)).sum(axis=0).astype(np.uint8) % 2 * 255,
    ],
    ids=["noise", "black and white noise", "one row", "a diagonal", "a chessboard"],
)
def test_odd_pictures_end_in_a_reading(model, picture):
    assert isinstance(nnjax.read_picture(picture, model), nnjax.Reading)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [10, 40, 90])
@pytest.mark.parametrize("size", [(30, 30), (60, 80), (99, 250), (300, 400), (1000, 700)])
def test_nothing_is_read_in_pure_noise(model, seed, spread, size):
    noise = np.random.default_rng(seed).normal(150, spread, size)
    assert nnjax.read_picture(np.clip(noise, 0, 255).astype(np.uint8), model).text == ""


def test_the_work_on_a_page_of_specks_grows_with_their_number_only(model, monkeypatch):
    from nnjax.recognition import components

    calls = []
    monkeypatch.setattr(components, "box_around", lambda pixels: calls.append(1) or box_around(pixels))
    rng = np.random.default_rng(0)
    page = np.where(rng.random((600, 600)) > 0.04, 255, 0).astype(np.uint8)
    assert len(nnjax.read_picture(page, model).text) < 5
    assert 1000 < len(calls) < 20 * components.MOST


@pytest.mark.slow
def test_a_long_line_that_climbs_is_read_whole(model, written):
    """A hundred digits, the last of them twenty heights above the first."""
    strip, text = written(0, 100, replace(PLAIN, height=(20, 20), uneven=0))
    rows = np.round(0.2 * np.arange(strip.shape[1])).astype(int)
    page = np.full((len(strip) + rows[-1], *strip.shape[1:]), strip[0, 0])
    for column, row in enumerate(rows[::-1]):
        page[row : row + len(strip), column] = strip[:, column]
    assert len(nnjax.read_picture(page, model).text) > 0.8 * len(text)


def test_a_confidence_that_is_no_number_is_doubted():
    reading = nnjax.Reading(
        "17", np.array([np.nan, 0.9]), np.zeros((2, 4), int), np.zeros((2, 8, 8), np.uint8)
    )
    assert str(reading) == "1?7"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"form": None}, "no images"),
        ({"num_classes": 26}, "does not say which digit"),
        ({"objective": nnjax.Objective(code=nnjax.is_digit(9))}, "does not say which digit"),
    ],
)
def test_models_that_read_no_digits_are_refused(model, change, told):
    from dataclasses import replace

    with pytest.raises(ValueError, match=told):
        nnjax.read_picture(np.zeros((9, 9)), replace(model, **change))
