"""`read_picture`: the digits in a picture, one or many, as text."""

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from nnjax.recognition.calibration import tta_probabilities
from nnjax.recognition.components import Box, Pixels, bounding_box
from nnjax.recognition.digit_layout import DigitLayout, normalize_digit
from nnjax.recognition.ink import Ink
from nnjax.recognition.outliers import outlier_score
from nnjax.recognition.picture import open_picture
from nnjax.recognition.segmentation import Candidate, best_sequence, find_candidates
from nnjax.recognition.strokes import find_strokes
from nnjax.recognition.text_lines import group_into_lines, line_height, split_at_gaps
from nnjax.storage import Model

MIN_CONFIDENCE = 0.8  # a digit whose calibrated probability is smaller is uncertain
MAX_NO_DIGIT_PROBABILITY = 0.9  # a candidate is dropped if the probability of "no digit" is at least this,
MAX_OUTLIER_SCORE = 6.0  # or its outlier score; the scores of MNIST's 10,000 test images are below 4
MIN_PROBABILITY = 1e-9  # added to probabilities, so that their logarithms are finite

# Between digits of a line; a wider gap is a space in the text:
MAX_GAP = 1.5  # in heights of a digit,
MAX_GAP_RATIO = 3.0  # and in median gaps


class Part(NamedTuple):
    """A part of a line between wide gaps: the number and the height of the line, and candidates for digits."""

    line: int
    height: float
    candidates: list[Candidate]


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
    ink, occupied = strokes.ink, np.zeros(strokes.ink.shape, bool)
    for component in strokes.components:
        occupied[tuple(component.pixels)] = True
    parts: list[Part] = []
    crops = []
    for number, line in enumerate(group_into_lines(strokes.components, strokes.height)):
        height = line_height(line)
        for components in split_at_gaps(line, height):
            candidates = []
            for candidate, pixels in find_candidates(components, height):
                candidates.append(candidate)
                crops.append(normalize_digit(crop_digit(ink, occupied, pixels), shape, layout))
            parts.append(Part(number, height, candidates))
    crops = np.array(crops, np.uint8).reshape(-1, *shape)
    p, outlier_scores = classify(model, crops)
    scale = [n / m for n, m in zip(gray.shape, ink.shape, strict=True)]
    return _best_reading(parts, crops, p, outlier_scores, scale)


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


def classify(
    model: Model, crops: UInt8[np.ndarray, "n height width"]
) -> tuple[Float[np.ndarray, "n labels+1"], Float[np.ndarray, " n"]]:
    """The probabilities and the outlier scores of images.

    Returns:
      The calibrated probability of each label, and last of "no digit", (n, labels + 1); and the outlier
      score of each image, (n,), 0 if the model has no outlier model.
    """
    n = len(crops)
    # A power of two, so that few different sizes are compiled.
    images = np.zeros((1 << max(n - 1, 1).bit_length(), *model.input_shape), np.uint8)
    images[:n] = crops.reshape(n, *model.input_shape)
    p = tta_probabilities(
        model.params, images, model.objective, model.num_classes, model.input_shape, model.temperature
    )
    if model.outlier_model is None:
        return np.asarray(p)[:n], np.zeros(n)
    scores = outlier_score(model.outlier_model, jnp.asarray(images), jnp.argmax(p[:, :-1], axis=1))
    return np.asarray(p)[:n], np.asarray(scores)[:n]


def _best_reading(
    parts: Sequence[Part],
    crops: UInt8[np.ndarray, "n height width"],
    p: Float[np.ndarray, "n labels+1"],
    outlier_scores: Float[np.ndarray, " n"],
    scale: Sequence[float],
) -> Reading:
    """The best sequence of candidates in each part of a line, without those that are not digits.

    Args:
      parts: all parts; `crops`, `p` and `outlier_scores` have the order of their candidates.
      crops: the images of all candidates.
      p, outlier_scores: as `classify` returns them.
      scale: pixels of the picture for each row and for each column of the resized picture.
    """
    labels, confidence = p[:, :-1].argmax(axis=1), p[:, :-1].max(axis=1)
    no_digit = (p[:, -1] >= MAX_NO_DIGIT_PROBABILITY) | (outlier_scores >= MAX_OUTLIER_SCORE)
    digits: dict[int, list[tuple[Candidate, int]]] = {}
    start = 0
    for line, height, candidates in parts:
        scores = [
            np.log(confidence[i] + MIN_PROBABILITY) - candidate.penalty(height, outlier_scores[i])
            for i, candidate in enumerate(candidates, start)
        ]
        best = [i for i in best_sequence(candidates, scores) if not no_digit[start + i]]
        digits.setdefault(line, []).extend((candidates[i], start + i) for i in best)
        start += len(candidates)
    lines = [line for line in digits.values() if line]
    text = [_with_spaces([c.box for c, _ in line], [str(labels[i]) for _, i in line]) for line in lines]
    chosen = [i for line in lines for _, i in line]
    boxes, (down, across) = [c.box for line in lines for c, _ in line], scale
    corners = np.array([(b.left * across, b.top * down, b.right * across, b.bottom * down) for b in boxes])
    return Reading(
        "\n".join(text), confidence[chosen], np.rint(corners.reshape(-1, 4)).astype(int), crops[chosen]
    )


def _with_spaces(boxes: Sequence[Box], digits: Sequence[str]) -> str:
    """The digits of a line, with a space where the gap is wide."""
    gaps = np.array([b.left - a.right for a, b in itertools.pairwise(boxes)])
    widest = max(MAX_GAP * np.median([box.height for box in boxes]), MAX_GAP_RATIO * np.median(gaps)) if len(gaps) else 0
    return "".join(digit + " " * bool(gap > widest) for digit, gap in zip(digits, [*gaps, 0], strict=True))
