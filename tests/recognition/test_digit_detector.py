"""The detector of digits, on digits and on images that are none."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from experiments.corruptions import crop_to_ink
from nnjax.recognition.digit_detector import digit_probability
from nnjax.recognition.digit_layout import to_mnist
from nnjax.recognition.rejection import MIN_CLASSIFIED, MIN_DIGIT_PROBABILITY, adapted_probabilities


def rejected(images):
    """The fraction of images, dark ink as large values, that are rejected if each is alone on its page."""
    alone = np.stack([to_mnist(np.asarray(image) / 255) for image in images])
    p = digit_probability(np.stack([alone, np.zeros_like(alone)], axis=-1))
    adapted = np.concatenate([adapted_probabilities(p[[i]]) for i in range(len(p))])
    return np.mean((p < MIN_CLASSIFIED) | (adapted < MIN_DIGIT_PROBABILITY))


def letter(text):
    image = Image.new("L", (80, 80))
    ImageDraw.Draw(image).text((15, 10), text, fill=255, font=ImageFont.load_default(50), stroke_width=1)
    return crop_to_ink(np.asarray(image), 30)


def test_test_digits_are_accepted(mnist):
    assert rejected([crop_to_ink(image, 30) for image in mnist.test.inputs[:2000].reshape(-1, 28, 28)]) < 0.01


def test_two_digits_in_one_image_are_rejected(mnist):
    pairs = mnist.test.inputs[:1000].reshape(-1, 2, 28, 28)
    assert rejected([crop_to_ink(np.hstack([a[:, 4:-4], b[:, 4:-4]]), 30) for a, b in pairs]) > 0.8


def test_most_letters_that_look_like_no_digit_are_rejected():
    assert rejected(map(letter, "EFKMNWXRHTVP")) >= 0.7


@pytest.mark.parametrize("image", [np.ones((20, 60)), np.ones((30, 30)), np.eye(40)[::-1] + np.eye(40)])
def test_bars_squares_and_crosses_are_rejected(image):
    assert rejected([255 * np.clip(image, 0, 1)]) == 1
