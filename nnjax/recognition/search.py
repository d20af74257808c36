"""The best division of a line into digits, by the confidence of the network."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from nnjax.recognition.components import Pixels
from nnjax.recognition.segmentation import Candidate, Segmentation, best_sequence

# Added to every probability. It limits the penalty of an unlikely candidate, which is then rejected as a
# whole instead of being cut into many digits.
PROBABILITY_OFFSET = 0.02


class Part(NamedTuple):
    """A part of a line between gaps that are too wide inside a digit.

    Attributes:
      line: the number of the line.
      height: the height of its digits, in pixels.
      segmentation: its ink and the candidates for digits.
    """

    line: int
    height: float
    segmentation: Segmentation


class Prediction(NamedTuple):
    """The label of a candidate.

    Attributes:
      crop: the image that the network classified, (height, width), from 0 to 255.
      p: the calibrated probability of each label, and last of "no digit", which is 1 without classification.
      digit_probability: the probability that the image shows one whole digit.
    """

    crop: UInt8[np.ndarray, "height width"]
    p: Float[np.ndarray, " labels+1"]
    digit_probability: float

    @property
    def label(self) -> int:
        return int(self.p[:-1].argmax())

    @property
    def confidence(self) -> float:
        """The probability that the image is one whole digit with this label."""
        return float(self.p[:-1].max()) * self.digit_probability


def best_digits(
    parts: Sequence[Part], classify: Callable[[Sequence[Pixels]], Sequence[Prediction]]
) -> list[list[tuple[Candidate, Prediction]]]:
    """For each part, its best sequence of candidates, including those that are no digits.

    An unclassified candidate has the largest score that it could reach. The search stops when every candidate
    of the best sequence is classified.

    Args:
      parts: parts of lines.
      classify: classifies candidates by their pixels.
    """
    predictions: list[dict[int, Prediction]] = [{} for _ in parts]
    candidates = [part.segmentation.candidates for part in parts]
    scores = [[_score(c, None, part.height) for c in candidates[k]] for k, part in enumerate(parts)]
    best: list[list[int]] = [[] for _ in parts]
    unfinished = list(range(len(parts)))
    while unfinished:
        for k in unfinished:
            best[k] = best_sequence(candidates[k], scores[k])
        unknown = [(k, i) for k in unfinished for i in best[k] if i not in predictions[k]]
        pixels = [parts[k].segmentation.pixels(candidates[k][i]) for k, i in unknown]
        for (k, i), prediction in zip(unknown, classify(pixels) if pixels else [], strict=True):
            predictions[k][i] = prediction
            scores[k][i] = _score(candidates[k][i], prediction, parts[k].height)
        unfinished = sorted({k for k, _ in unknown})
    return [[(candidates[k][i], predictions[k][i]) for i in best[k]] for k in range(len(parts))]


def _score(candidate: Candidate, prediction: Prediction | None, height: float) -> float:
    """ln p minus penalties; the largest possible value if the candidate is not classified."""
    p = prediction.confidence if prediction else 1.0
    return math.log(p + PROBABILITY_OFFSET) - candidate.penalty(height)
