"""`read_picture`: the digits in a picture, one or many, as text."""

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from nnjax.recognition import digit_detector
from nnjax.recognition.calibration import in_batches, tta_probabilities
from nnjax.recognition.candidates import DigitCandidates, find_digit_candidates
from nnjax.recognition.components import Box, Pixels
from nnjax.recognition.digit_layout import DigitLayout, normalize_digit
from nnjax.recognition.picture import Gray, open_picture
from nnjax.recognition.rejection import MIN_CLASSIFIED, adapted_probabilities, is_digit
from nnjax.recognition.search import Prediction, best_digits
from nnjax.recognition.segmentation import Candidate
from nnjax.storage import Model

MIN_CONFIDENCE = 0.8  # a digit whose calibrated probability is smaller is uncertain

MAX_GAP = 2.0  # between digits of a line, in heights of a digit; a wider gap is a space in the text


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
    return to_reading(recognize(open_picture(picture), model))


class Recognition(NamedTuple):
    """What was recognized in a picture, before candidates are rejected.

    Attributes:
      candidates: the ink of the picture, and all candidates.
      sequences: for each part of a line, its best sequence of candidates.
      image_shape: of the images that the network classified.
    """

    candidates: DigitCandidates
    sequences: list[list[tuple[Candidate, Prediction]]]
    image_shape: tuple[int, int]


def recognize(gray: Gray, model: Model) -> Recognition:
    """The candidates in a picture, and the best ones with their labels."""
    shape, layout, num_classes = digit_format(model)
    candidates = find_digit_candidates(gray)

    def predict(pixels: Sequence[Pixels]) -> list[Prediction]:
        crops = np.array([normalize_digit(candidates.crop(p), shape, layout) for p in pixels])
        p = digit_detector.digit_probability(np.stack(list(map(candidates.detector_image, pixels))))
        is_classified = p >= MIN_CLASSIFIED
        labels = np.zeros((len(crops), num_classes + 1))
        labels[:, -1] = 1  # "no digit"
        if is_classified.any():
            labels[is_classified] = classify(model, crops[is_classified])
        return list(map(Prediction, crops, labels, p.tolist()))

    sequences = best_digits(candidates.parts, predict)
    p = adapted_probabilities(np.array([c.digit_probability for s in sequences for _, c in s]))
    adapted = iter(p.tolist())
    sequences = [
        [(c, prediction._replace(digit_probability=next(adapted))) for c, prediction in s] for s in sequences
    ]
    return Recognition(candidates, sequences, shape)


def to_reading(recognition: Recognition) -> Reading:
    """The candidates that are digits, as text."""
    by_line: dict[int, list[tuple[Box, Prediction]]] = {}
    for part, sequence in zip(recognition.candidates.parts, recognition.sequences, strict=True):
        digits = [(candidate.box, prediction) for candidate, prediction in sequence if is_digit(prediction)]
        by_line.setdefault(part.line, []).extend(digits)
    lines = [line for line in by_line.values() if line]
    boxes = [box for line in lines for box, _ in line]
    digits = [digit for line in lines for _, digit in line]
    return Reading(
        "\n".join(map(_with_spaces, lines)),
        np.array([digit.confidence for digit in digits]),
        recognition.candidates.in_picture(boxes),
        np.array([digit.crop for digit in digits], np.uint8).reshape(-1, *recognition.image_shape),
    )


def _with_spaces(line: Sequence[tuple[Box, Prediction]]) -> str:
    """The digits of a line, with a space where the gap is wide."""
    gaps = [b.left - a.right for (a, _), (b, _) in itertools.pairwise(line)]
    height = np.median([box.height for box, _ in line])
    labels = [str(digit.label) for _, digit in line]
    spaces = [" " if gap > MAX_GAP * height else "" for gap in gaps]
    return "".join(itertools.chain(*zip(labels, [*spaces, ""], strict=True)))


def digit_format(model: Model) -> tuple[tuple[int, int], DigitLayout, int]:
    """The shape and the layout of the images of digits that a model classifies, and the number of classes.

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
    return (height, width), model.layout, model.num_classes


def classify(model: Model, crops: UInt8[np.ndarray, "n height width"]) -> Float[np.ndarray, "n labels+1"]:
    """The calibrated probability of each label, and last of "no digit", for images of digits."""

    def probabilities(images):
        return tta_probabilities(
            model.params, images, model.objective, model.num_classes, model.input_shape, model.temperature
        )

    return in_batches(probabilities, crops.reshape(-1, *model.input_shape))
