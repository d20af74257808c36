"""The images of candidates for digits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from nnjax.recognition.candidates import find_digit_candidates, strokes_around
from nnjax.recognition.digit_layout import fitted


@pytest.mark.parametrize(("top", "left"), [(0, 0), (30, 40), (48, 70)])
def test_the_strokes_around_a_digit_are_those_in_its_box_with_a_margin(top, left):
    height, width = 12, 10
    occupied = np.random.default_rng(top).random((60, 80)) < 0.3
    digit = np.zeros_like(occupied)
    digit[top : top + height, left : left + width] = occupied[top : top + height, left : left + width]
    digit[top, left] = digit[top + height - 1, left + width - 1] = True
    around = strokes_around(occupied, np.stack(np.nonzero(digit)))
    margin = 3  # a fifth of 12, rounded up
    expected = np.pad(occupied & ~digit, margin)[
        top : top + height + 2 * margin, left : left + width + 2 * margin
    ]
    np.testing.assert_array_equal(around, expected)
    assert around.any()


def test_the_image_for_the_detector_shows_a_candidate_and_the_strokes_around_it():
    page = Image.new("L", (200, 140), 255)
    pen = ImageDraw.Draw(page)
    for left in (80, 100):
        pen.line((left, 30, left, 100), fill=0, width=7)
    candidates = find_digit_candidates(np.asarray(page) / 255)
    (part,) = candidates.parts
    left, right = [c for c in part.segmentation.candidates if c.box.width < 20]
    (images, others) = zip(
        *(np.moveaxis(candidates.detector_image(part.segmentation.pixels(c)), -1, 0) for c in (left, right)),
        strict=True,
    )
    for image in images:
        assert image.any(axis=1).sum() == 20
    np.testing.assert_allclose(images[0], images[1], atol=1)
    assert others[0][:, 14:].any()
    assert not others[0][:, :14].any()
    np.testing.assert_array_equal(others[0], others[1][:, ::-1])


@given(st.integers(1, 90), st.integers(1, 90))
def test_a_full_rectangle_fills_one_side_of_the_image_and_is_centered(height, width):
    image = fitted(np.ones((height, width)), (28, 28))
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert max(len(rows), len(columns)) == 28
    scale = 28 / max(height, width)
    sides = [max(1, scale * height), max(1, scale * width)]
    np.testing.assert_allclose([len(rows), len(columns)], sides, atol=0.5)
    for used in (rows, columns):
        assert used[-1] - used[0] == len(used) - 1
        assert abs((28 - 1 - used[-1]) - used[0]) <= 1
    assert (image[np.ix_(rows, columns)] == 255).all()
