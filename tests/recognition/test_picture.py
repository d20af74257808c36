"""From a picture to images of digits, step by step: gray values, ink, components, layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

import nnjax
from nnjax.recognition import open_picture
from nnjax.recognition.candidates import crop_digit
from nnjax.recognition.components import MIN_INK
from nnjax.recognition.digit_layout import DigitLayout, infer_layout, normalize_digit
from nnjax.recognition.ink import find_ink, is_dark_on_light

MNIST = DigitLayout((20, 20), False)


def blank_page(height=120, width=300):
    image = Image.new("L", (width, height), 255)
    return image, ImageDraw.Draw(image)


# Gray values


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("suffix", ["png", "tiff", "jpg", "bmp", "webp"])
def test_files_of_all_formats_and_modes_have_the_same_gray_values(tmp_path, mode, suffix):
    if (suffix, mode) == ("tiff", "YCbCr"):
        pytest.skip("Pillow 12 cannot open the YCbCr TIFF files that it writes")
    image, pen = blank_page()
    pen.rectangle((50, 30, 80, 90), fill=0)
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else None
    path, options = tmp_path / f"a.{suffix}", {"quality": 95} if suffix in ("jpg", "webp") else {}
    try:
        (deep or image.convert(mode)).save(path, **options)
    except (OSError, KeyError, DeprecationWarning):
        pytest.skip(f"Pillow does not write {suffix} files of mode {mode}")
    gray = open_picture(path)
    assert gray.shape == (120, 300)
    np.testing.assert_allclose(gray, np.asarray(image) / 255, atol=0.1 if suffix in ("jpg", "webp") else 0.02)


def test_the_exif_orientation_of_a_photo_is_applied(tmp_path):
    image, pen = blank_page()
    pen.rectangle((10, 10, 40, 20), fill=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.rotate(90, expand=True).save(tmp_path / "a.jpg", exif=exif, quality=95)
    np.testing.assert_allclose(open_picture(tmp_path / "a.jpg"), np.asarray(image) / 255, atol=0.15)


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_pixels_contrast_with_the_ink(tmp_path, ink):
    layer = np.zeros((20, 20, 4), np.uint8)
    layer[..., :3], layer[5:15, 5:15, 3] = ink, 255
    Image.fromarray(layer).save(tmp_path / "a.png")
    gray = open_picture(tmp_path / "a.png")
    assert abs(gray[10, 10] - gray[0, 0]) == 1
    np.testing.assert_array_equal(gray, open_picture(layer))


def test_the_transparent_corners_of_a_rotated_page_are_paper():
    image, pen = blank_page()
    pen.rectangle((100, 30, 110, 90), fill=0)
    rotated = open_picture(np.asarray(image.convert("RGBA").rotate(8, expand=True)))
    assert rotated[0, 0] == rotated[-1, -1] == 1
    assert rotated.min() == 0


def test_arrays_of_all_dtypes_have_the_same_gray_values():
    gray = np.round(np.linspace(0, 1, 64 * 32).reshape(32, 64) * 255) / 255
    kinds = [gray, gray.astype(np.float32), (gray * 255).astype(np.uint8), (gray * 65535).astype(np.uint16)]
    for array in kinds:
        np.testing.assert_allclose(open_picture(array), gray, atol=1e-4)
        np.testing.assert_allclose(open_picture(np.stack([array] * 3, -1)), gray, atol=1e-4)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((0, 5)), "at least one pixel"),
        (np.zeros((5,)), r"got \(5,\)"),
        (np.zeros((5, 5, 7)), "channels"),
        (np.full((5, 5), 1.5), r"between 0 \(black\) and 1 \(white\), got 1.5 to 1.5"),
        (np.full((5, 5), np.nan), "between 0"),
        (np.zeros((5, 5), complex), "got complex128"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "at most 50,000,000 pixels, got 10000 x 10000"),
    ],
)
def test_arrays_that_are_not_pictures_are_rejected(picture, message):
    with pytest.raises(ValueError, match=message):
        open_picture(picture)


def test_a_missing_file_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be an existing file, got .*none\.png"):
        open_picture(tmp_path / "none.png")


def test_files_that_are_not_pictures_are_rejected_in_one_line(tmp_path):
    Image.new("L", (50, 50)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "folder").mkdir()
    for name, damaged in {"text": b"hello", "empty": b"", "truncated": content[:60]}.items():
        (tmp_path / name).write_bytes(damaged)
    for name in ("text", "empty", "truncated", "folder"):
        with pytest.raises(ValueError, match="picture") as error:
            open_picture(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("side", [8_000, 10_000, 20_000])
def test_a_decompression_bomb_is_rejected_before_it_is_decompressed(tmp_path, side):
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="50,000,000"):
        open_picture(tmp_path / "bomb.png")


# Ink


def test_strokes_are_ink_and_shadows_are_not():
    image, pen = blank_page()
    pen.ellipse((40, 20, 90, 100), outline=0, width=9)
    stroke = np.asarray(image) / 255
    pen.rectangle((150, 0, 299, 119), fill=100)  # a large dark object that ends at the border
    np.testing.assert_allclose(find_ink(stroke, 31), 1 - stroke, atol=1e-6)
    np.testing.assert_allclose(find_ink(np.asarray(image) / 255, 31), 1 - stroke, atol=1e-6)
    np.testing.assert_allclose(find_ink(0.3 + 0.4 * stroke, 31), 1 - stroke, atol=1e-6)


@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_ink_is_found_under_uneven_light(angle):
    image, pen = blank_page()
    for x in range(20, 280, 60):
        pen.rectangle((x, 30, x + 8, 90), fill=25)
    rows, columns = np.indices((120, 300))
    along = np.cos(np.radians(angle)) * rows / 120 + np.sin(np.radians(angle)) * columns / 300
    light = 1 - 0.6 * (along - along.min()) / np.ptp(along)
    ink = find_ink(np.asarray(image) / 255 * light, 31)
    np.testing.assert_array_equal(ink > 0.5, np.asarray(image) < 128)


def test_writing_that_shines_through_the_paper_is_less_than_half_ink():
    image, pen = blank_page()
    pen.rectangle((30, 20, 40, 100), fill=0)
    pen.rectangle((130, 20, 260, 40), fill=190)
    ink = find_ink(np.asarray(image) / 255, 31)
    assert ink[30, 200] < 0.5 < ink[60, 35]


def test_noise_in_a_dark_region_is_not_ink():
    image, pen = blank_page()
    pen.line((30, 20, 40, 100), fill=60, width=6)
    pen.rectangle((150, 0, 299, 119), fill=20)
    noise = np.random.default_rng(0).normal(0, 0.02, (120, 300))
    ink = find_ink(np.clip(np.asarray(image) / 255 + noise, 0, 1), 31)
    assert (ink[:, 165:] < 0.45).all()
    assert (ink[30:90, 25:50] > 0.9).any()


@pytest.mark.parametrize("shadow", [False, True])
def test_the_polarity_is_that_of_the_strokes(shadow):
    image, pen = blank_page()
    for x in range(20, 260, 50):
        pen.ellipse((x, 30, x + 30, 80), outline=40, width=5)
    if shadow:
        pen.rectangle((0, 95, 200, 119), fill=90)
    gray = np.asarray(image) / 255
    assert is_dark_on_light(gray)
    assert not is_dark_on_light(1 - gray)


@given(st.floats(0, 1), st.integers(1, 40), st.integers(1, 40))
def test_a_blank_page_has_no_ink(brightness, height, width):
    assert not find_ink(np.full((height, width), brightness), 9).any()


# Layout


@pytest.mark.parametrize(("height", "width"), [(40, 10), (10, 40), (200, 200), (3, 3), (1, 500)])
def test_a_normalized_digit_keeps_its_proportions_and_its_mass_is_centered(height, width):
    image = normalize_digit(np.ones((height, width)), (28, 28), MNIST)
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    scale = 20 / max(height, width)
    assert (len(rows), len(columns)) == (max(1, round(height * scale)), max(1, round(width * scale)))
    center = np.array(ndimage.center_of_mass(image)) + 0.5
    assert ((center >= 14) & (center < 15)).all()


def test_the_embedded_digits_are_stretched(digits):
    assert infer_layout(digits.train.inputs.reshape(-1, 8, 8)) == DigitLayout((8, 6), True)
    image = normalize_digit(np.ones((50, 7)), (8, 8), DigitLayout((8, 6), True))
    np.testing.assert_array_equal(image, np.pad(np.full((8, 6), 255), ((0, 0), (1, 1))))


@pytest.mark.slow
def test_enlarged_mnist_digits_are_normalized_to_nearly_the_same_images(mnist, mnist_model):
    """The accuracy on enlarged and normalized images is within 1 % of that on the original ones."""
    assert infer_layout(mnist.train.inputs.reshape(-1, 28, 28)) == MNIST
    images, labels = mnist.test.inputs[:1000].reshape(-1, 28, 28), mnist.test.targets[:1000]
    normalized = []
    for image in images:
        enlarged = Image.fromarray(255 - image).resize((224, 224), Image.Resampling.BICUBIC)
        ink = find_ink(np.asarray(enlarged) / 255, 121)
        pixels = np.stack(np.nonzero(ink >= MIN_INK))
        normalized.append(normalize_digit(crop_digit(ink, ink >= MIN_INK, pixels), (28, 28), MNIST))
    accuracy, normalized_accuracy = (
        np.mean(nnjax.predict(mnist_model.params, np.reshape(x, (-1, 784))) == labels)
        for x in (images, normalized)
    )
    assert accuracy > 0.93
    assert abs(accuracy - normalized_accuracy) <= 0.01
    assert np.mean(np.abs(np.array(normalized) - images.astype(float))) < 12
