"""Strokes, components and lines of writing, on drawn pages."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from nnjax.recognition import strokes
from nnjax.recognition.components import Box
from nnjax.recognition.strokes import HEIGHT_PX, MIN_HEIGHT_PX, find_strokes
from nnjax.recognition.text_lines import group_into_lines, split_at_gaps


def blank_page(height=200, width=400):
    image = Image.new("L", (width, height), 255)
    return image, ImageDraw.Draw(image)


def draw_digit(pen, left, top, width=34, height=64, stroke=7):
    """A digit 2 of straight strokes."""
    right, bottom = left + width, top + height
    corners = [(left, top), (right, top), (right, top + height // 3), (left, bottom), (right, bottom)]
    pen.line(corners, fill=0, width=stroke)


def boxes_by_line(image):
    """The box of every component in pixels of the image, line by line."""
    strokes = find_strokes(np.asarray(image) / 255)
    down, across = (n / m for n, m in zip(image.size[::-1], strokes.ink.shape, strict=True))
    return [
        [Box(b.top * down, b.left * across, b.bottom * down, b.right * across) for b in (c.box for c in line)]
        for line in group_into_lines(strokes.components, strokes.height)
    ]


def corners_by_line(image):
    """The left and top of every component, line by line."""
    return [sorted((box.left, box.top) for box in line) for line in boxes_by_line(image)]


def assert_near(corners, expected):
    assert [len(line) for line in corners] == [len(line) for line in expected]
    for line, wanted in zip(corners, expected, strict=True):
        np.testing.assert_allclose(line, wanted, atol=4)


def test_components_are_grouped_into_lines_from_top_to_bottom():
    image, pen = blank_page(260)
    corners = [(30, 20), (90, 26), (160, 18), (40, 140), (120, 150)]
    for x, y in corners:
        draw_digit(pen, x, y)
    assert_near(corners_by_line(image), [corners[:3], corners[3:]])


def test_a_line_that_climbs_is_one_line():
    image, pen = blank_page(300, 800)
    corners = [(30 + 70 * i, 220 - 18 * i) for i in range(10)]
    for x, y in corners:
        draw_digit(pen, x, y)
    assert_near(corners_by_line(image), [corners])


def test_a_climbing_line_continues_after_a_wide_gap():
    image, pen = blank_page(460, 1300)
    corners = [(x, 360 - round(0.25 * x)) for x in (30, 100, 170, 240, 1000, 1070, 1140)]
    for x, y in corners:
        draw_digit(pen, x, y)
    pen.line((640, 20, 640, 80), fill=0, width=7)  # it is nearer, but not at the height of the line
    assert_near(corners_by_line(image), [[(637, 20)], corners])


def test_columns_with_a_wide_gap_are_one_line_of_two_parts():
    image, pen = blank_page(200, 900)
    corners = [(30, 60), (90, 60), (700, 66), (760, 60)]
    for x, y in corners:
        draw_digit(pen, x, y)
    strokes = find_strokes(np.asarray(image) / 255)
    (line,) = group_into_lines(strokes.components, strokes.height)
    assert [len(part) for part in split_at_gaps(line, strokes.height)] == [2, 2]
    assert_near(corners_by_line(image), [corners])


def test_digits_above_each_other_have_no_slope():
    image, pen = blank_page(420, 200)
    corners = [(60, 20), (62, 140), (61, 260)]
    for x, y in corners:
        draw_digit(pen, x, y)
    assert_near(corners_by_line(image), [[corner] for corner in corners])


@pytest.mark.slow
def test_many_short_strokes_are_grouped():
    rng = np.random.default_rng(0)
    image, pen = blank_page(1500, 1500)
    for x, y in rng.integers(20, 1450, (1200, 2)):
        pen.line((x, y, x + 3, y + 14), fill=0, width=2)
    strokes = find_strokes(np.asarray(image) / 255)
    assert sum(map(len, group_into_lines(strokes.components, strokes.height))) > 500


def test_scattered_digits_are_in_reading_order():
    image, pen = blank_page(420, 500)
    corners = [(300, 20), (60, 120), (380, 230), (200, 330)]
    for x, y in corners:
        draw_digit(pen, x, y)
    assert_near(corners_by_line(image), [[corner] for corner in corners])


@pytest.mark.parametrize("gap", [0, 14])
@pytest.mark.parametrize("angle", [0, 3])
def test_boxes_around_digits_are_removed(gap, angle):
    image, pen = blank_page(240, 520)
    corners = [(70 + (100 + gap) * i, 80) for i in range(4)]
    for x, y in corners:
        pen.rectangle((x - 30, y - 18, x + 70, y + 82), outline=0, width=3)
        draw_digit(pen, x, y)
    lines = boxes_by_line(image.rotate(angle, fillcolor=255, resample=Image.Resampling.BICUBIC))
    assert [len(line) for line in lines] == [4]
    assert all(60 <= box.height <= 80 for box in lines[0])


def test_a_digit_that_touches_its_box_stays_whole():
    image, pen = blank_page(160, 160)
    pen.rectangle((30, 30, 110, 110), outline=0, width=2)
    draw_digit(pen, 60, 46, height=68)  # its lower end crosses the box
    ((digit,),) = boxes_by_line(image)
    assert digit.height >= 60
    assert digit.width <= 50


@pytest.mark.parametrize("ends", [(33, 107), (30, 110)])
def test_the_straight_stroke_of_a_one_in_a_box_is_no_wall(ends):
    image, pen = blank_page(160, 160)
    pen.rectangle((30, 30, 110, 110), outline=0, width=2)
    pen.line((70, ends[0], 70, ends[1]), fill=0, width=6)
    ((digit,),) = boxes_by_line(image)
    assert (digit.left, digit.width) == (pytest.approx(67, abs=2), pytest.approx(6, abs=2))


def test_a_zero_is_no_frame():
    image, pen = blank_page()
    pen.ellipse((60, 20, 110, 100), outline=0, width=8)
    pen.ellipse((83, 58, 86, 61), fill=0)
    ((zero,),) = boxes_by_line(image)
    assert zero == (20, 60, 101, 111)


@pytest.mark.parametrize("slope", [0.0, 0.006])
def test_ruled_lines_are_removed_and_digits_that_cross_them_stay_connected(slope):
    image, pen = blank_page(180, 400)
    for y in (40, 90, 140):
        pen.line((0, y, 399, y + 399 * slope), fill=0, width=2)
    draw_digit(pen, 60, 60)
    draw_digit(pen, 150, 70)
    (line,) = boxes_by_line(image)
    assert [box.width for box in line] == [pytest.approx(40, abs=6)] * 2
    assert [box.height for box in line] == [pytest.approx(68, abs=6)] * 2


def test_specks_are_removed_and_fragments_of_a_digit_remain():
    image, pen = blank_page()
    draw_digit(pen, 60, 75, height=50)
    pen.line((62, 60, 110, 60), fill=0, width=8)  # the separate bar of a five
    for x in (20, 200, 250):
        pen.rectangle((x, 60, x + 4, 64), fill=0)
    ((first, second),) = boxes_by_line(image)
    assert sorted([first.top, second.top]) == [pytest.approx(57, abs=3), pytest.approx(72, abs=4)]


def test_a_dark_object_at_the_border_and_its_noise_are_no_components():
    image, pen = blank_page(300, 500)
    for x in (60, 130, 200):
        draw_digit(pen, x, 60)
    pen.rectangle((100, 220, 499, 299), fill=30)
    noise = np.random.default_rng(1).normal(0, 6, (300, 500))
    noisy = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    assert_near(corners_by_line(noisy), [[(60, 60), (130, 60), (200, 60)]])


@pytest.mark.parametrize("scale", [0.5, 2, 4])
def test_a_resized_page_has_the_same_lines(scale):
    image, pen = blank_page(260)
    for x, y in [(30, 20), (90, 26), (160, 18), (40, 140), (120, 150)]:
        draw_digit(pen, x, y)
    size = [round(scale * n) for n in image.size]
    strokes = find_strokes(np.asarray(image.resize(size, Image.Resampling.BICUBIC)) / 255)
    lines = group_into_lines(strokes.components, strokes.height)
    assert [len(line) for line in lines] == [3, 2]


@pytest.mark.parametrize(("height", "expected"), [(20, HEIGHT_PX), (40, HEIGHT_PX), (90, 97)])
def test_only_small_digits_are_enlarged(height, expected):
    image, pen = blank_page(260, 600)
    for x in (30, 180, 330):
        draw_digit(pen, x, 80, width=height // 2, height=height, stroke=max(3, height // 12))
    assert find_strokes(np.asarray(image) / 255).height == pytest.approx(expected, abs=5)


@pytest.mark.parametrize(
    ("max_pixels", "max_resized_pixels", "expected"),
    [(10**9, 10**9, HEIGHT_PX), (10_000, 10**9, MIN_HEIGHT_PX), (10_000, 30_000, 21)],
)
def test_the_number_of_pixels_limits_the_height_of_digits(
    max_pixels, max_resized_pixels, expected, monkeypatch
):
    """In a picture of 100,000 pixels with digits of about 40 pixels."""
    monkeypatch.setattr(strokes, "MAX_PIXELS", max_pixels)
    monkeypatch.setattr(strokes, "MAX_RESIZED_PIXELS", max_resized_pixels)
    image, pen = blank_page(200, 500)
    for x in (30, 180, 330):
        draw_digit(pen, x, 80, width=18, height=34, stroke=6)
    found = find_strokes(np.asarray(image) / 255)
    assert found.height == pytest.approx(expected, abs=4)
    assert found.ink.size <= 1.02 * max_resized_pixels


def test_of_what_touches_the_border_only_writing_like_the_rest_is_used():
    image, pen = blank_page(120, 400)
    for x in (3, 70, 140):
        draw_digit(pen, x, 0 if x == 70 else 30, height=60)
    pen.line((250, 0, 250, 100), fill=0, width=24)
    pen.line((330, 60, 399, 60), fill=0, width=7)
    assert [len(line) for line in boxes_by_line(image)] == [3]


def test_writing_that_touches_the_border_is_used_like_other_writing():
    image, pen = blank_page(64, 200)
    for x in (3, 70, 140):
        draw_digit(pen, x, 0, height=60)
    assert [len(line) for line in boxes_by_line(image)] == [3]
