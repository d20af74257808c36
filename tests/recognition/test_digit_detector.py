"""The detector of digits, on digits and on images that are none."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from nnjax.recognition.digit_detector import digit_probability
from nnjax.recognition.search import MIN_DIGIT_PROBABILITY


def rejected(images):
    """The fraction of images, dark ink as large values, that are rejected."""
    return np.mean(digit_probability([np.asarray(image) / 255 for image in images]) < MIN_DIGIT_PROBABILITY)


def cropped(image):
    rows, columns = (np.flatnonzero((image > 30).any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def letter(text):
    image = Image.new("L", (80, 80))
    ImageDraw.Draw(image).text((15, 10), text, fill=255, font=ImageFont.load_default(50), stroke_width=1)
    return cropped(np.asarray(image))


def test_test_digits_are_accepted(mnist):
    assert rejected([cropped(image) for image in mnist.test.inputs[:2000].reshape(-1, 28, 28)]) < 0.01


def test_two_digits_in_one_image_are_rejected(mnist):
    pairs = mnist.test.inputs[:1000].reshape(-1, 2, 28, 28)
    assert rejected([cropped(np.hstack([a[:, 4:-4], b[:, 4:-4]])) for a, b in pairs]) > 0.8


def test_most_letters_that_look_like_no_digit_are_rejected():
    assert rejected(map(letter, "EFKMNWXRHTVP")) >= 0.7


@pytest.mark.parametrize("image", [np.ones((20, 60)), np.ones((30, 30)), np.eye(40)[::-1] + np.eye(40)])
def test_bars_squares_and_crosses_are_rejected(image):
    assert rejected([255 * np.clip(image, 0, 1)]) == 1
