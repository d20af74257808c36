"""The best division of a line into digits, by the confidence of the network."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from nnjax.recognition.components import Pixels
from nnjax.recognition.segmentation import Candidate, best_sequence

# Added to every probability. It limits the penalty of an unlikely candidate, which is then rejected as a
# whole instead of being cut into many digits.
PROBABILITY_OFFSET = 0.02
MIN_DIGIT_PROBABILITY = 0.07  # a candidate is rejected if the detector's probability is smaller than this
MAX_NO_DIGIT_PROBABILITY = 0.9  # a candidate is rejected if the network's "no digit" is at least this


class Part(NamedTuple):
    """A part of a line between gaps that are too wide inside a digit.

    Attributes:
      line: the number of the line.
      height: the height of its digits, in pixels.
      candidates: candidates for digits, and their pixels.
    """

    line: int
    height: float
    candidates: list[tuple[Candidate, Pixels]]


class Digit(NamedTuple):
    """A classified candidate.

    Attributes:
      crop: the image that the network classified, (height, width), from 0 to 255.
      p: the calibrated probability of each label, and last of "no digit".
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

    @property
    def is_digit(self) -> bool:
        """Whether the image is not rejected."""
        return self.digit_probability >= MIN_DIGIT_PROBABILITY and self.p[-1] < MAX_NO_DIGIT_PROBABILITY


def best_digits(
    parts: Sequence[Part], classified: Callable[[Sequence[Pixels]], Sequence[Digit]]
) -> list[list[tuple[Candidate, Digit]]]:
    """For each part, its best sequence of candidates, including those that are no digits.

    An unclassified candidate has the largest score that it could reach. The search stops when every candidate
    of the best sequence is classified.

    Args:
      parts: parts of lines.
      classified: classifies candidates by their pixels.
    """
    digits: list[dict[int, Digit]] = [{} for _ in parts]
    candidates = [[candidate for candidate, _ in part.candidates] for part in parts]
    scores = [[_score(c, None, part.height) for c in candidates[k]] for k, part in enumerate(parts)]
    best: list[list[int]] = [[] for _ in parts]
    unfinished = list(range(len(parts)))
    while unfinished:
        for k in unfinished:
            best[k] = best_sequence(candidates[k], scores[k])
        unknown = [(k, i) for k in unfinished for i in best[k] if i not in digits[k]]
        new = classified([parts[k].candidates[i][1] for k, i in unknown]) if unknown else []
        for (k, i), digit in zip(unknown, new, strict=True):
            digits[k][i] = digit
            scores[k][i] = _score(candidates[k][i], digit, parts[k].height)
        unfinished = sorted({k for k, _ in unknown})
    return [[(candidates[k][i], digits[k][i]) for i in best[k]] for k in range(len(parts))]


def _score(candidate: Candidate, digit: Digit | None, height: float) -> float:
    """ln p minus penalties; the largest possible value if the candidate is not classified."""
    p = digit.confidence if digit else 1.0
    return math.log(p + PROBABILITY_OFFSET) - candidate.penalty(height)
