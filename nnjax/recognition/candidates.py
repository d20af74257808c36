"""Candidates for digits in a picture: from gray values to the ink of each candidate."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Int, UInt8

from nnjax.recognition.components import Box, Pixels, bounding_box
from nnjax.recognition.digit_layout import MNIST_SHAPE, fitted, to_mnist
from nnjax.recognition.ink import Ink
from nnjax.recognition.picture import Gray
from nnjax.recognition.search import Part
from nnjax.recognition.segmentation import segment
from nnjax.recognition.strokes import Strokes, find_strokes
from nnjax.recognition.text_lines import group_into_lines, line_height, split_at_gaps

MARGIN = 0.2  # around a candidate, as a fraction of its longer side; MNIST's images have the same


class DigitCandidates(NamedTuple):
    """The candidates for digits in a picture.

    Attributes:
      ink: (height, width), from 0 to 1, of the resized picture.
      occupied: the pixels of all components.
      parts: the parts of all lines of writing, in reading order.
      scale: pixels of the picture for each row and for each column of `ink`.
    """

    ink: Ink
    occupied: Bool[np.ndarray, "height width"]
    parts: list[Part]
    scale: tuple[float, float]

    def crop(self, pixels: Pixels) -> Ink:
        """The ink of one candidate, cropped."""
        return crop_digit(self.ink, self.occupied, pixels)

    def detector_image(self, pixels: Pixels) -> UInt8[np.ndarray, "28 28 2"]:
        """The image of one candidate and of the strokes around it, for the detector of digits."""
        return np.stack(
            [to_mnist(self.crop(pixels)), fitted(strokes_around(self.occupied, pixels), MNIST_SHAPE)], axis=-1
        )

    def in_picture(self, boxes: Sequence[Box]) -> Int[np.ndarray, "n 4"]:
        """Left, top, right and bottom of boxes in whole pixels of the picture."""
        down, across = self.scale
        corners = [(b.left * across, b.top * down, b.right * across, b.bottom * down) for b in boxes]
        return np.rint(corners).astype(int).reshape(-1, 4)


def find_digit_candidates(gray: Gray) -> DigitCandidates:
    """All candidates for digits in a picture."""
    strokes = find_strokes(gray)
    occupied = np.zeros(strokes.ink.shape, bool)
    for component in strokes.components:
        occupied[tuple(component.pixels)] = True
    down, across = (n / m for n, m in zip(gray.shape, strokes.ink.shape, strict=True))
    return DigitCandidates(strokes.ink, occupied, list(_parts(strokes)), (down, across))


def _parts(strokes: Strokes) -> Iterator[Part]:
    """The parts of all lines of writing, in reading order."""
    for number, line in enumerate(group_into_lines(strokes.components, strokes.height)):
        height = line_height(line)
        for components in split_at_gaps(line, height):
            yield Part(number, height, segment([c.pixels for c in components], height))


def strokes_around(occupied: Bool[np.ndarray, "height width"], pixels: Pixels) -> Bool[np.ndarray, "h w"]:
    """The other strokes in the box of a digit and in a margin around it.

    Args:
      occupied: the pixels of all components of the picture.
      pixels: the pixels of the digit.
    """
    box = bounding_box(pixels)
    margin = math.ceil(MARGIN * max(box.height, box.width))
    top, left = box.top - margin, box.left - margin
    others = np.zeros((box.height + 2 * margin, box.width + 2 * margin), bool)
    inside = occupied[max(top, 0) : box.bottom + margin, max(left, 0) : box.right + margin]
    row, column = max(-top, 0), max(-left, 0)
    others[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    others[pixels[0] - top, pixels[1] - left] = False
    return others


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
    edge = scipy.ndimage.binary_dilation(inside, np.ones((3, 3), bool)) & ~occupied[window]
    digit = np.where(inside | edge, ink[window], 0)
    has_ink = digit > 0
    rows, columns = np.flatnonzero(has_ink.any(axis=1)), np.flatnonzero(has_ink.any(axis=0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
