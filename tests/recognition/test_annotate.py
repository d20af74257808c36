import numpy as np
import pytest
from PIL import Image

from nnjax.recognition import Reading
from nnjax.recognition.annotate import annotate, write_annotated
from nnjax.recognition.picture import open_picture

BOXES = np.array([[10, 10, 40, 60], [60, 12, 90, 62]])
READING = Reading("17", np.array([0.99, 0.5]), BOXES, np.zeros((2, 8, 8), np.uint8))
PAPER = (255, 250, 205)


def test_every_digit_has_a_box_and_an_uncertain_one_has_another_color():
    image = Image.new("RGB", (120, 100), PAPER)
    annotated = np.asarray(annotate(image, READING))
    colors = {tuple(annotated[top, left + 8]) for left, top, *_ in BOXES}
    assert len(colors) == 2
    assert PAPER not in colors
    assert np.asarray(image).reshape(-1, 3).tolist() == [list(PAPER)] * (120 * 100)


def test_there_is_room_below_the_lowest_box_for_its_caption():
    annotated = annotate(Image.new("RGB", (120, 63), PAPER), READING)
    assert annotated.width == 120
    assert (np.asarray(annotated)[64:] != 255).any()


def test_a_picture_without_digits_is_unchanged():
    blank = Reading("", np.zeros(0), np.zeros((0, 4), int), np.zeros((0, 8, 8), np.uint8))
    image = Image.new("RGB", (120, 100), PAPER)
    np.testing.assert_array_equal(np.asarray(annotate(image, blank))[:100], np.asarray(image))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_files_are_written_in_color_and_keep_their_colors(tmp_path, mode):
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    original = Image.new("RGB", (120, 100), PAPER).convert(mode)
    original.save(source)
    write_annotated(target, source, open_picture(source), READING)
    with Image.open(target) as image:
        assert image.mode == "RGB"
        expected = original.convert("L" if mode == "RGBA" else "RGB").convert("RGB").getpixel((5, 5))
        np.testing.assert_allclose(image.getpixel((5, 5)), expected, atol=1)


def test_an_unknown_format_is_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt: its name must end in a picture format"):
        write_annotated(tmp_path / "a.txt", tmp_path / "p.png", np.ones((9, 9)), READING)
    assert list(tmp_path.iterdir()) == []
