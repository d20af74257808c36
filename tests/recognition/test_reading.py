"""Complete pictures, with a network that was trained on the embedded digits."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

import nnjax
from experiments.corruptions import CORRUPTIONS, PLAIN, draw
from nnjax.recognition import MIN_CONFIDENCE, classify, open_picture, reading
from nnjax.recognition.reading import recognize
from nnjax.recognition.rejection import MIN_CLASSIFIED, adapted_probabilities


@pytest.fixture(scope="session")
def draw_digits(model, digits):
    """Draws test digits that the model predicts correctly one by one; returns the picture and its text."""
    is_correct = np.asarray(nnjax.predict(model.params, digits.test.inputs)) == digits.test.targets
    images, labels = digits.test.inputs[is_correct].reshape(-1, 8, 8), digits.test.targets[is_correct]

    def draw_digits(seed, count, style=PLAIN):
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(images), count)
        return draw(rng, images[chosen], labels[chosen], style)

    return draw_digits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corruption", "minimum"),
    [
        ("none: separate digits", 0.7), ("several lines", 0.7), ("colours", 0.6), ("light", 0.6),
        ("frame", 0.6), ("shining through", 0.6), ("JPEG", 0.6), ("touching", 0.2), ("in pieces", 0.4),
        ("slant", 0.3), ("size", 0.5), ("stroke", 0.3), ("noise and specks", 0.3), ("ruled lines", 0.2),
        ("blur", 0.3),
    ],
)  # fmt: skip
def test_strings_of_four_digits_are_recognized(model, draw_digits, corruption, minimum):
    """The fraction of 25 pictures whose text is completely correct."""
    pictures = [draw_digits(seed, 4, CORRUPTIONS[corruption]) for seed in range(25)]
    assert np.mean([nnjax.read_picture(picture, model).text == text for picture, text in pictures]) >= minimum


def test_a_reading_has_text_confidences_boxes_and_crops_of_the_same_digits(model, draw_digits):
    picture, _ = draw_digits(3, 5)
    reading = nnjax.read_picture(picture, model)
    assert len(reading.text) == len(reading.confidence) == len(reading.boxes) == len(reading.crops) > 0
    assert reading.crops.shape[1:] == (8, 8)
    assert (reading.confidence > 0).all()
    assert (reading.confidence <= 1).all()
    left, top, right, bottom = reading.boxes.T
    assert (np.diff(left) > 0).all()
    assert (left >= 0).all()
    assert (left < right).all()
    assert (right <= picture.shape[1]).all()
    assert (top >= 0).all()
    assert (top < bottom).all()
    assert (bottom <= picture.shape[0]).all()


def test_probabilities_of_digits_are_adapted_to_the_picture(model, draw_digits, monkeypatch):
    gray = open_picture(draw_digits(3, 5)[0])

    def probabilities():
        return [p.digit_probability for sequence in recognize(gray, model).sequences for _, p in sequence]

    adapted = probabilities()
    monkeypatch.setattr(reading, "adapted_probabilities", lambda p: p)
    np.testing.assert_allclose(adapted, adapted_probabilities(np.array(probabilities())))
    assert adapted != probabilities()


def test_candidates_that_the_detector_rejects_are_not_classified(model, draw_digits, monkeypatch):
    def predictions(p):
        monkeypatch.setattr(
            reading.digit_detector, "digit_probability", lambda images: np.full(len(images), p)
        )
        recognition = recognize(open_picture(draw_digits(3, 5)[0]), model)
        return [prediction for sequence in recognition.sequences for _, prediction in sequence]

    unclassified = predictions(0.9 * MIN_CLASSIFIED)
    assert unclassified
    assert all(prediction.p[-1] == 1 and not prediction.p[:-1].any() for prediction in unclassified)
    assert all(prediction.p[:-1].any() for prediction in predictions(MIN_CLASSIFIED))


def test_uncertain_digits_are_marked_in_str(model, draw_digits):
    reading = nnjax.read_picture(draw_digits(3, 5)[0], model)
    assert str(reading).count("?") == reading.uncertain.sum() == (reading.confidence < MIN_CONFIDENCE).sum()
    assert str(reading).replace("?", "") == reading.text


def test_the_network_predicts_the_text_from_the_crops(model, draw_digits):
    reading = nnjax.read_picture(draw_digits(4, 6)[0], model)
    predictions = nnjax.predict(model.params, reading.crops.reshape(-1, 64))
    assert "".join(map(str, predictions.tolist())) == reading.text


@pytest.mark.slow
def test_an_enlarged_picture_has_the_same_text_and_enlarged_boxes(model, draw_digits):
    picture, text = draw_digits(6, 4)
    reading = nnjax.read_picture(picture, model)
    size = [3 * n for n in picture.shape[1::-1]]
    large = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    enlarged = nnjax.read_picture(np.asarray(large), model)
    assert reading.text == enlarged.text == text
    np.testing.assert_allclose(enlarged.boxes / 3, reading.boxes, atol=3)


@pytest.mark.parametrize(
    ("lefts", "text"),
    [((0, 500), "0 0"), ((0, 80), "00"), ((0, 80, 500), "00 0"), ((0, 80, 500, 580), "00 00")],
)
def test_a_wide_gap_is_a_space(model, lefts, text):
    page = Image.new("L", (760, 160), 255)
    for left in lefts:
        ImageDraw.Draw(page).ellipse((60 + left, 40, 105 + left, 110), outline=0, width=8)
    assert re.sub(r"\d", "0", nnjax.read_picture(np.asarray(page), model).text) == text


@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_a_blank_page_has_no_digits(model, brightness):
    reading = nnjax.read_picture(np.full((90, 200), brightness, np.uint8), model)
    assert (reading.text, len(reading.boxes), str(reading)) == ("", 0, "")


@settings(deadline=None, max_examples=30)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 255)))
def test_any_picture_gives_a_reading(model, picture):
    reading = nnjax.read_picture(picture, model)
    assert len(reading.text.replace("\n", "").replace(" ", "")) == len(reading.confidence)


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
def test_unusual_pictures_give_a_reading(model, picture):
    assert isinstance(nnjax.read_picture(picture, model), nnjax.Reading)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma", [10, 40, 90])
@pytest.mark.parametrize("size", [(30, 30), (60, 80), (99, 250), (300, 400), (1000, 700)])
def test_noise_has_no_digits(model, seed, sigma, size):
    noise = np.random.default_rng(seed).normal(150, sigma, size)
    assert nnjax.read_picture(np.clip(noise, 0, 255).astype(np.uint8), model).text == ""


def test_a_page_of_specks_has_few_digits_and_few_candidates(model, monkeypatch):
    classified = []
    monkeypatch.setattr(
        reading, "classify", lambda model, crops: classified.append(crops) or classify(model, crops)
    )
    rng = np.random.default_rng(0)
    page = np.where(rng.random((600, 600)) > 0.04, 255, 0).astype(np.uint8)
    assert len(nnjax.read_picture(page, model).text) < 5
    assert sum(map(len, classified)) < 2000


@pytest.mark.slow
def test_a_long_sloping_line_is_one_line(model, draw_digits):
    """A hundred digits; the last one is twenty heights above the first."""
    strip, text = draw_digits(0, 100, replace(PLAIN, height=(20, 20), uneven=0))
    rows = np.round(0.2 * np.arange(strip.shape[1])).astype(int)
    page = np.full((len(strip) + rows[-1], *strip.shape[1:]), strip[0, 0])
    for column, row in enumerate(rows[::-1]):
        page[row : row + len(strip), column] = strip[:, column]
    reading = nnjax.read_picture(page, model)
    assert len(reading.text) > 0.8 * len(text)
    assert "\n" not in reading.text


def test_a_confidence_of_nan_is_uncertain():
    images = np.zeros((2, 8, 8), np.uint8)
    assert str(nnjax.Reading("17", np.array([np.nan, 0.9]), np.zeros((2, 4), int), images)) == "1?7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": None}, r"must be calibrated .*calibration=nnjax\.calibrate\(params, objective, data\)"),
        ({"layout": None, "input_shape": (64,)}, r"must classify gray images .* shape \(64,\)"),
        ({"layout": None, "input_shape": (4, 4, 4)}, r"must classify gray images .* shape \(4, 4, 4\)"),
        ({"num_classes": 26}, "must predict one of at most 10 digits, got 26 classes"),
        ({"objective": nnjax.Objective(code=nnjax.is_digit(9))}, "at most 10 digits, .* IsDigit"),
    ],
)
def test_models_that_do_not_recognize_digits_are_rejected(model, change, message):
    with pytest.raises(ValueError, match=message):
        nnjax.read_picture(np.zeros((9, 9)), replace(model, **change))


def test_a_model_that_was_saved_without_a_calibration_is_rejected(trained, digits, tmp_path):
    nnjax.save_model(tmp_path / "m", trained, nnjax.Objective(), digits)
    with pytest.raises(ValueError, match="must be calibrated"):
        nnjax.read_picture(np.zeros((9, 9)), nnjax.load_model(tmp_path / "m"))
