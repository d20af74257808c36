"""From a picture to crops, piece by piece: grey, ink, marks, form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

import nnjax
from nnjax.recognition import open_picture
from nnjax.recognition.components import box_around, find_lines
from nnjax.recognition.digit_layout import DigitLayout, infer_layout, normalize_digit
from nnjax.recognition.ink import find_ink
from nnjax.recognition.reading import cut_out

MNIST = DigitLayout((20, 20), False)


def page(height=120, width=300, paper=255):
    image = Image.new("L", (width, height), paper)
    return image, ImageDraw.Draw(image)


def boxes(image):
    """Left, top, right and bottom of every mark, line by line."""
    lines = find_lines(find_ink(np.asarray(image) / 255))
    found = [[box_around(mark) for mark in line] for line in lines]
    return [sorted((b.left, b.top, b.right, b.bottom) for b in line) for line in found]


# Grey


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("suffix", ["png", "tiff", "jpg", "bmp", "webp"])
def test_pictures_of_every_kind_are_the_same_grey(tmp_path, mode, suffix):
    if (suffix, mode) == ("tiff", "YCbCr"):
        pytest.skip("Pillow 12 cannot read what it writes of this kind")
    image, pen = page()
    pen.rectangle((50, 30, 80, 90), fill=0)
    wide = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else None
    path, how = tmp_path / f"a.{suffix}", {"quality": 95} if suffix in ("jpg", "webp") else {}
    try:
        (wide or image.convert(mode)).save(path, **how)
    except (OSError, KeyError, DeprecationWarning):
        pytest.skip(f"Pillow writes no {suffix} of mode {mode}")
    grey = open_picture(path)
    assert grey.shape == (120, 300)
    np.testing.assert_allclose(grey, np.asarray(image) / 255, atol=0.1 if suffix in ("jpg", "webp") else 0.02)


def test_a_turned_photograph_is_turned_back(tmp_path):
    image, pen = page()
    pen.rectangle((10, 10, 40, 20), fill=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.rotate(90, expand=True).save(tmp_path / "a.jpg", exif=exif, quality=95)
    np.testing.assert_allclose(open_picture(tmp_path / "a.jpg"), np.asarray(image) / 255, atol=0.15)


@pytest.mark.parametrize("ink", [0, 255])
def test_what_is_transparent_is_paper_on_which_the_ink_shows(tmp_path, ink):
    layer = np.zeros((20, 20, 4), np.uint8)
    layer[..., :3], layer[5:15, 5:15, 3] = ink, 255
    Image.fromarray(layer).save(tmp_path / "a.png")
    grey = open_picture(tmp_path / "a.png")
    assert abs(grey[10, 10] - grey[0, 0]) == 1
    np.testing.assert_array_equal(grey, open_picture(layer))


def test_the_missing_corners_of_a_turned_page_are_paper():
    image, pen = page()
    pen.rectangle((100, 30, 110, 90), fill=0)
    turned = open_picture(np.asarray(image.convert("RGBA").rotate(8, expand=True)))
    assert turned[0, 0] == turned[-1, -1] == 1
    assert turned.min() == 0


def test_arrays_of_every_dtype_are_the_same_grey():
    grey = np.round(np.linspace(0, 1, 64 * 32).reshape(32, 64) * 255) / 255
    kinds = [grey, grey.astype(np.float32), (grey * 255).astype(np.uint8), (grey * 65535).astype(np.uint16)]
    for array in kinds:
        np.testing.assert_allclose(open_picture(array), grey, atol=1e-4)
        np.testing.assert_allclose(open_picture(np.stack([array] * 3, -1)), grey, atol=1e-4)


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((0, 5)), "no pixels"),
        (np.zeros((5,)), "not \\(5,\\)"),
        (np.zeros((5, 5, 7)), "channels"),
        (np.full((5, 5), 1.5), "between 0"),
        (np.full((5, 5), np.nan), "between 0"),
        (np.zeros((5, 5), complex), "not complex128"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "at most 50,000,000"),
    ],
)
def test_arrays_that_are_no_pictures_are_told(picture, told):
    with pytest.raises(ValueError, match=told):
        open_picture(picture)


def test_files_that_are_no_pictures_are_told_in_a_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        open_picture(tmp_path / "none.png")
    Image.new("L", (50, 50)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for name, damaged in {"text": b"hello", "empty": b"", "cut": content[:60], "folder": None}.items():
        path = tmp_path / name
        if damaged is None:
            path.mkdir()
        else:
            path.write_bytes(damaged)
        with pytest.raises(ValueError, match="picture") as error:
            open_picture(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("side", [8_000, 10_000, 20_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, side):
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="50,000,000"):
        open_picture(tmp_path / "bomb.png")


# Ink


def test_ink_is_the_same_dark_on_light_and_light_on_dark():
    image, pen = page()
    pen.ellipse((40, 20, 90, 100), outline=0, width=9)
    grey = np.asarray(image) / 255
    np.testing.assert_allclose(find_ink(grey), 1 - grey, atol=1e-12)
    np.testing.assert_allclose(find_ink(1 - grey), 1 - grey, atol=1e-12)
    np.testing.assert_allclose(find_ink(0.3 + 0.4 * grey), 1 - grey, atol=1e-6)


@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_ink_under_uneven_light_is_found_by_its_share_of_the_paper(angle):
    image, pen = page()
    for x in range(20, 280, 60):
        pen.rectangle((x, 30, x + 8, 90), fill=25)
    rows, columns = np.indices((120, 300))
    along = np.cos(np.radians(angle)) * rows / 120 + np.sin(np.radians(angle)) * columns / 300
    light = 1 - 0.6 * (along - along.min()) / np.ptp(along)
    ink = find_ink(np.asarray(image) / 255 * light)
    np.testing.assert_array_equal(ink > 0.5, np.asarray(image) < 128)


def test_what_shines_through_is_less_than_half_ink():
    image, pen = page()
    pen.rectangle((30, 20, 40, 100), fill=0)
    pen.rectangle((130, 20, 260, 40), fill=190)
    ink = find_ink(np.asarray(image) / 255)
    assert ink[30, 200] < 0.5 < ink[60, 35]


@given(st.floats(0, 1), st.integers(1, 40), st.integers(1, 40))
def test_a_blank_page_has_no_ink(brightness, height, width):
    assert not find_ink(np.full((height, width), brightness)).any()


# Marks


def test_marks_stand_in_lines_from_top_to_bottom():
    image, pen = page(260)
    spots = [(30, 20), (90, 26), (160, 18), (40, 140), (120, 150)]
    for x, y in spots:
        pen.rectangle((x, y, x + 29, y + 69), fill=0)
    assert [[(left, top) for left, top, *_ in line] for line in boxes(image)] == [spots[:3], spots[3:]]


def test_a_frame_around_digits_is_none():
    image, pen = page()
    pen.rectangle((8, 6, 290, 112), outline=0, width=4)
    pen.rectangle((60, 30, 90, 90), fill=0)
    pen.rectangle((130, 30, 160, 90), fill=0)
    assert boxes(image) == [[(60, 30, 91, 91), (130, 30, 161, 91)]]


def test_a_zero_is_no_frame():
    image, pen = page()
    pen.ellipse((60, 20, 110, 100), outline=0, width=8)
    pen.ellipse((83, 58, 86, 61), fill=0)
    assert [line[0] for line in boxes(image)] == [(60, 20, 111, 101)]


@pytest.mark.parametrize("slope", [0.0, 0.006])
def test_ruled_lines_go_and_the_digits_that_cross_them_stay_whole(slope):
    image, pen = page()
    for y in (40, 75, 100):
        pen.line((0, y, 299, y + 299 * slope), fill=0, width=2)
    pen.rectangle((60, 20, 75, 90), fill=0)
    pen.rectangle((150, 20, 165, 90), fill=0)
    (line,) = boxes(image)
    assert [(left, right) for left, _, right, _ in line] == [(60, 76), (150, 166)]


def test_the_bar_of_a_seven_is_no_rule():
    image, pen = page(100, 72)
    pen.line((4, 20, 66, 20), fill=0, width=7)
    pen.line((66, 20, 30, 90), fill=0, width=7)
    assert len(boxes(image)[0]) == 1
    assert boxes(image)[0][0][1] < 20


def test_specks_go_and_pieces_of_a_digit_stay():
    image, pen = page()
    pen.rectangle((60, 45, 100, 100), fill=0)
    pen.rectangle((62, 28, 105, 36), fill=0)  # the bar of a five, apart
    for x in (20, 200, 250):
        pen.rectangle((x, 60, x + 4, 64), fill=0)
    (line,) = boxes(image)
    assert [top for _, top, *_ in line] == [45, 28]


def test_digits_that_a_blank_stripe_parts_are_one_line():
    image, pen = page()
    for x in (30, 110, 190):
        pen.rectangle((x, 20, x + 40, 58), fill=0)
        pen.rectangle((x, 62, x + 40, 100), fill=0)
    assert [len(line) for line in boxes(image)] == [6]


# Form


@pytest.mark.parametrize(("height", "width"), [(40, 10), (10, 40), (200, 200), (3, 3), (1, 500)])
def test_the_form_keeps_proportions_and_centres_the_mass(height, width):
    form = normalize_digit(np.ones((height, width)), (28, 28), MNIST)
    rows, columns = (np.flatnonzero(form.any(axis=axis)) for axis in (1, 0))
    scale = 20 / max(height, width)
    assert (len(rows), len(columns)) == (max(1, round(height * scale)), max(1, round(width * scale)))
    middle = np.array(ndimage.center_of_mass(form)) + 0.5
    assert ((middle >= 14) & (middle < 15)).all()


def test_the_embedded_digits_are_stretched(digits):
    assert infer_layout(digits.train.inputs.reshape(-1, 8, 8)) == DigitLayout((8, 6), True)
    image = normalize_digit(np.ones((50, 7)), (8, 8), DigitLayout((8, 6), True))
    np.testing.assert_array_equal(image, np.pad(np.full((8, 6), 255), ((0, 0), (1, 1))))


@pytest.mark.slow
def test_a_mnist_digit_redrawn_large_comes_back_nearly_itself(mnist):
    """The network that reads the originals reads what has been redrawn and brought to form as well."""
    import jax

    params = nnjax.init(jax.random.key(0), (784, 30, 10), nnjax.lecun)
    run = nnjax.fit(jax.random.key(1), params, mnist, learning_rate=1.0, epochs=5)
    assert infer_layout(mnist.train.inputs.reshape(-1, 28, 28)) == MNIST
    images, labels = mnist.test.inputs[:1000].reshape(-1, 28, 28), mnist.test.targets[:1000]
    again = []
    for image in images:
        large = Image.fromarray(255 - image).resize((224, 224), Image.Resampling.BICUBIC)
        ink = find_ink(np.asarray(large) / 255)
        pixels = np.stack(np.nonzero(ink >= 0.45))
        again.append(normalize_digit(cut_out(ink, ink >= 0.45, pixels), (28, 28), MNIST))
    right, redrawn = (
        np.mean(nnjax.predict(run.params, np.reshape(some, (-1, 784))) == labels) for some in (images, again)
    )
    assert right > 0.93
    assert abs(right - redrawn) <= 0.01
    assert np.mean(np.abs(np.array(again) - images.astype(float))) < 12
