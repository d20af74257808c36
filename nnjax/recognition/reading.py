"""`read_picture`: the digits in a picture, one or many, as text."""

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from nnjax.recognition import digit_detector
from nnjax.recognition.calibration import tta_probabilities
from nnjax.recognition.components import Box, Pixels, bounding_box
from nnjax.recognition.digit_layout import DigitLayout, normalize_digit
from nnjax.recognition.ink import Ink
from nnjax.recognition.picture import open_picture
from nnjax.recognition.search import Digit, Part, best_digits
from nnjax.recognition.segmentation import find_candidates
from nnjax.recognition.strokes import Strokes, find_strokes
from nnjax.recognition.text_lines import group_into_lines, line_height, split_at_gaps
from nnjax.storage import Model

MIN_CONFIDENCE = 0.8  # a digit whose calibrated probability is smaller is uncertain

# Between digits of a line; a wider gap is a space in the text:
MAX_GAP = 1.5  # in heights of a digit,
MAX_GAP_RATIO = 3.0  # and in median gaps


@dataclass(frozen=True, repr=False)
class Reading:
    """The digits that were recognized in a picture.

    `str(reading)` is the text with `?` after each uncertain digit.

    Args:
      text: the digits, one line per line of writing, with spaces at wide gaps; "" if there are none.
      confidence: (n,), the probability of each digit that it is correct.
      boxes: (n, 4), left, top, right and bottom of each digit in pixels of the picture.
      crops: (n, height, width), the image of each digit that the network classified, from 0 to 255.

    >>> images = np.zeros((2, 28, 28), np.uint8)
    >>> print(Reading("17", np.array([0.99, 0.6]), np.zeros((2, 4), int), images))
    17?
    """

    text: str
    confidence: Float[np.ndarray, " n"]
    boxes: Int[np.ndarray, "n 4"]
    crops: UInt8[np.ndarray, "n height width"]

    def __str__(self) -> str:
        """The text with `?` after each uncertain digit."""
        uncertain = iter(self.uncertain)
        return "".join(c if c.isspace() else c + "?" * bool(next(uncertain)) for c in self.text)

    def __repr__(self) -> str:
        return f"Reading({str(self)!r})"

    @property
    def uncertain(self) -> Bool[np.ndarray, " n"]:
        """Whether the confidence of each digit is below 80 %."""
        return ~(self.confidence >= MIN_CONFIDENCE)  # NaN is uncertain


def read_picture(picture: str | os.PathLike | np.ndarray, model: Model) -> Reading:
    """Recognizes the digits in a picture, line by line.

    Ink may be dark on light paper or light on dark paper. Touching digits are cut and fragments of a digit
    are joined in the way in which the network is most confident.

        model = nnjax.load_model("model.safetensors")
        print(nnjax.read_picture("photo.jpg", model))

    Args:
      picture: a file that Pillow opens, or an array, as for `nnjax.recognition.open_picture`.
      model: a network that classifies gray images of digits, from `nnjax.load_model`; it must have been
        saved with `calibration=nnjax.calibrate(params, objective, data)`.

    Returns:
      A `Reading`: text, and for each digit its confidence, its box and the image that the network classified.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: not a picture, or too large; or a model that is not calibrated or does not classify gray
        images of digits.
    """
    shape, layout = digit_format(model)
    gray = open_picture(picture)
    strokes = find_strokes(gray)
    occupied = np.zeros(strokes.ink.shape, bool)
    for component in strokes.components:
        occupied[tuple(component.pixels)] = True

    def classified(candidates: Sequence[Pixels]) -> list[Digit]:
        inks = [crop_digit(strokes.ink, occupied, pixels) for pixels in candidates]
        crops = np.array([normalize_digit(ink, shape, layout) for ink in inks])
        is_same = (shape, layout) == (digit_detector.SHAPE, digit_detector.LAYOUT)
        images = (
            crops
            if is_same
            else np.array([normalize_digit(ink, digit_detector.SHAPE, digit_detector.LAYOUT) for ink in inks])
        )
        p = digit_detector.digit_probability(images)
        return list(map(Digit, crops, classify(model, crops), p.tolist()))

    parts = list(_parts(strokes))
    lines: dict[int, list[tuple[Box, Digit]]] = {}
    for part, sequence in zip(parts, best_digits(parts, classified), strict=True):
        digits = [(candidate.box, digit) for candidate, digit in sequence if digit.is_digit]
        lines.setdefault(part.line, []).extend(digits)
    scale = [n / m for n, m in zip(gray.shape, strokes.ink.shape, strict=True)]
    return _reading([line for line in lines.values() if line], scale, shape)


def _parts(strokes: Strokes) -> Iterator[Part]:
    """The parts of all lines of writing, in reading order."""
    for number, line in enumerate(group_into_lines(strokes.components, strokes.height)):
        height = line_height(line)
        for components in split_at_gaps(line, height):
            yield Part(number, height, list(find_candidates([c.pixels for c in components], height)))


def _reading(
    lines: Sequence[Sequence[tuple[Box, Digit]]], scale: Sequence[float], shape: tuple[int, int]
) -> Reading:
    """The digits of all lines, with their boxes in pixels of the picture."""
    boxes, digits = ([part[i] for line in lines for part in line] for i in (0, 1))
    down, across = scale
    corners = np.array([(b.left * across, b.top * down, b.right * across, b.bottom * down) for b in boxes])
    return Reading(
        "\n".join(map(_with_spaces, lines)),
        np.array([digit.confidence for digit in digits]),
        np.rint(corners.reshape(-1, 4)).astype(int),
        np.array([digit.crop for digit in digits], np.uint8).reshape(-1, *shape),
    )


def _with_spaces(line: Sequence[tuple[Box, Digit]]) -> str:
    """The digits of a line, with a space where the gap is wide."""
    gaps = [b.left - a.right for (a, _), (b, _) in itertools.pairwise(line)]
    height = np.median([box.height for box, _ in line])
    widest = max(MAX_GAP * height, MAX_GAP_RATIO * np.median(gaps)) if gaps else 0
    labels = [str(digit.label) for _, digit in line]
    spaces = [" " if gap > widest else "" for gap in gaps]
    return "".join(itertools.chain(*zip(labels, [*spaces, ""], strict=True)))


def digit_format(model: Model) -> tuple[tuple[int, int], DigitLayout]:
    """The shape and the layout of the images of digits that a model classifies.

    Raises:
      ValueError: a model that is not calibrated, or does not classify gray images of digits.
    """
    if len(model.input_shape) < 2 or math.prod(model.input_shape[2:]) != 1:
        raise ValueError(
            f"model must classify gray images (height, width), got inputs of the shape {model.input_shape}"
        )
    if model.layout is None:
        raise ValueError(
            "model must be calibrated for pictures of digits, got layout None: save it with "
            "calibration=nnjax.calibrate(params, objective, data)"
        )
    num_predicted = model.objective.label_code.num_classes(model.sizes[-1])
    if model.num_classes is None or model.num_classes > 10 or num_predicted < model.num_classes:
        raise ValueError(
            f"model must predict one of at most 10 digits, got {model.num_classes} classes and the output "
            f"code {model.code}"
        )
    height, width, *_ = model.input_shape
    return (height, width), model.layout


def crop_digit(ink: Ink, occupied: Bool[np.ndarray, "height width"], pixels: Pixels) -> Ink:
    """The ink of one digit, cropped: its pixels, and the soft edge around them.

    Args:
      ink: the ink of the picture.
      occupied: the pixels of all components of the picture; the edge does not include those of others.
      pixels: the pixels of the digit.
    """
    top, left, bottom, right = bounding_box(pixels)
    top, left = max(top - 1, 0), max(left - 1, 0)
    window = (slice(top, bottom + 1), slice(left, right + 1))
    inside = np.zeros_like(occupied[window])
    inside[pixels[0] - top, pixels[1] - left] = True
    edge = ndimage.binary_dilation(inside, np.ones((3, 3), bool)) & ~occupied[window]
    digit = np.where(inside | edge, ink[window], 0)
    has_ink = digit > 0
    rows, columns = np.flatnonzero(has_ink.any(axis=1)), np.flatnonzero(has_ink.any(axis=0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def classify(model: Model, crops: UInt8[np.ndarray, "n height width"]) -> Float[np.ndarray, "n labels+1"]:
    """The calibrated probability of each label, and last of "no digit", for images of digits."""
    n = len(crops)
    # A power of two, so that few different sizes are compiled.
    images = np.zeros((1 << max(n - 1, 1).bit_length(), *model.input_shape), np.uint8)
    images[:n] = crops.reshape(n, *model.input_shape)
    p = tta_probabilities(
        model.params, images, model.objective, model.num_classes, model.input_shape, model.temperature
    )
    return np.asarray(p)[:n]
