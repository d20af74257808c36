import numpy as np
import pytest
from PIL import Image

from nnjax.recognition import Reading
from nnjax.recognition.annotate import annotate, annotate_steps, write_annotated
from nnjax.recognition.candidates import DigitCandidates
from nnjax.recognition.picture import open_picture
from nnjax.recognition.reading import Recognition
from nnjax.recognition.search import Part, Prediction
from nnjax.recognition.segmentation import segment

BOXES = np.array([[10, 10, 40, 60], [60, 12, 90, 62]])
READING = Reading("17", np.array([0.99, 0.5]), BOXES, np.zeros((2, 8, 8), np.uint8))
PAPER = (255, 250, 205)


def recognition():
    """A one and a rejected bar in two lines of writing, and a stroke that is in none."""
    ink, parts, sequences = np.zeros((100, 120)), [], []
    for line, (top, p) in enumerate(((10, 0.95), (55, 0.01))):
        ink[top : top + 30, 40:46] = 1
        bar = np.array([[top], [40]]) + np.indices((30, 6)).reshape(2, -1)
        parts.append(Part(line, 30, segment([bar], 30)))
        prediction = Prediction(np.zeros((8, 8), np.uint8), np.eye(11)[1], p)
        sequences.append([(candidate, prediction) for candidate in parts[-1].segmentation.candidates])
    ink[20:50, 80:84] = 1
    return Recognition(DigitCandidates(ink, ink > 0, parts, (1.0, 1.0)), sequences, (8, 8))


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


def test_the_steps_are_ink_then_lines_in_colors_then_digits_and_rejected_candidates():
    image = Image.new("RGB", (120, 100), PAPER)
    steps = np.asarray(annotate_steps(image, recognition()))
    ink, lines, digits = steps[:100], steps[100:200], steps[200:300]
    np.testing.assert_array_equal(ink[..., 0] == 0, recognition().candidates.ink > 0)
    one, bar, unused = (tuple(lines[row, column]) for row, column in ((20, 42), (60, 42), (30, 81)))
    assert len({one, bar, unused, (255, 255, 255)}) == 4
    assert len(set(unused)) == 1  # gray
    accepted, rejected = (tuple(digits[top, 42]) for top in (10, 55))
    assert len({accepted, rejected, PAPER}) == 3
    assert len(set(rejected)) == 1  # gray
    assert np.asarray(image).reshape(-1, 3).tolist() == [list(PAPER)] * (120 * 100)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_files_are_written_in_color_and_keep_their_colors(tmp_path, mode):
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    original = Image.new("RGB", (120, 100), PAPER).convert(mode)
    original.save(source)
    write_annotated(target, source, open_picture(source), recognition())
    with Image.open(target) as image:
        assert image.mode == "RGB"
        expected = original.convert("L" if mode == "RGBA" else "RGB").convert("RGB").getpixel((5, 5))
        np.testing.assert_allclose(image.getpixel((5, 205)), expected, atol=1)


def test_an_unknown_format_is_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt: its name must end in a picture format"):
        write_annotated(tmp_path / "a.txt", tmp_path / "p.png", np.ones((9, 9)), recognition())
    assert list(tmp_path.iterdir()) == []
