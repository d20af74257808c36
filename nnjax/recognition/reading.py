"""`read_picture`: a picture of digits, one or many, to their text."""

import os
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from nnjax.recognition.calibration import tta_probabilities
from nnjax.recognition.components import Pixels, box_around, find_lines, line_height
from nnjax.recognition.digit_layout import DigitLayout, normalize_digit
from nnjax.recognition.ink import Ink, find_ink
from nnjax.recognition.outliers import outlier_score
from nnjax.recognition.picture import Grey, open_picture
from nnjax.recognition.segmentation import best_reading, candidates_of
from nnjax.storage import Model

DOUBTED = 0.8  # a calibrated probability of being right: below it a digit is followed by "?"
NO_DIGIT = 0.9  # the probability of being none of the labels from which a mark is left out, and
STRANGE = 6.0  # the strangeness: of 10,000 test digits none comes to 4
LEAST_P = 1e-9  # added to probabilities, so that none costs without end

_LEAST_SIDE, _MOST_SIDE = 100, 2000  # pixels, between which pictures are looked at as they are


@dataclass(frozen=True, repr=False)
class Reading:
    """What was read in a picture.

    Attributes:
      text: the digits, a line of writing a line; "" where nothing looks like one.
      confidence: of each digit, the probability that it is read rightly, (n,).
      boxes: of each digit, (n, 4): left, top, right, bottom, in pixels of the picture.
      crops: of each digit, what the network saw, (n, height, width), 0 to 255.
    """

    text: str
    confidence: Float[np.ndarray, " n"]
    boxes: Int[np.ndarray, "n 4"]
    crops: UInt8[np.ndarray, "n height width"]

    def __str__(self) -> str:
        """The text, in which a digit that is doubted is followed by `?`."""
        doubted = iter(self.uncertain)
        return "".join(c if c == "\n" else c + "?" * bool(next(doubted)) for c in self.text)

    def __repr__(self) -> str:
        return f"Reading({str(self)!r})"

    @property
    def uncertain(self) -> np.ndarray:
        """Which digits are doubted: those that are read rightly with a probability below 0.8."""
        return ~(self.confidence >= DOUBTED)


def read_picture(picture: str | os.PathLike | np.ndarray, model: Model) -> Reading:
    """Read the digits in a picture, line by line.

    Whether ink is dark or light is found out; so is where the paper ends and ink begins. Digits
    that touch are cut, and digits in pieces joined, as the network is surest of the whole line.

    Args:
      picture: a file that Pillow opens, or an array, as `images.open_picture` takes them.
      model: as `nnjax.read_model` gives it; of images of any shape, answering digits.

    Raises:
      FileNotFoundError: there is no such picture.
      ValueError: it is no picture or too large; or the model does not read images of digits.
    """
    shape, form = image_shape(model)
    grey = open_picture(picture)
    working = _at_working_size(grey)
    ink = find_ink(working, max(1, working.shape[0] // grey.shape[0]))
    owned = np.zeros(ink.shape, bool)
    found = find_lines(ink)
    for mark in (mark for line in found for mark in line):
        owned[tuple(mark)] = True
    lines, crops = [], []
    for line in found:
        candidates, height = [], line_height(line)
        for candidate, pixels in candidates_of(line, height):
            candidates.append(candidate)
            crops.append(normalize_digit(cut_out(ink, owned, pixels), shape, form))
        lines.append((candidates, height))
    crops = np.array(crops, np.uint8)
    p, odd = classify(model, crops.reshape(-1, *shape))
    return _reading(lines, crops, p, odd, [n / m for n, m in zip(grey.shape, working.shape, strict=True)])


def image_shape(model: Model) -> tuple[tuple[int, int], DigitLayout]:
    """The shape and form of the images that a model reads; a ValueError where it reads no digits."""
    if model.layout is None:
        raise ValueError(f"the model reads inputs of the shape {model.input_shape}: no images")
    answers = model.code.num_classes(model.sizes[-1])
    if model.num_classes > 10 or answers < model.num_classes:
        raise ValueError(
            f"the model answers {model.code} of {model.num_classes} labels: it does not say which digit it is"
        )
    height, width, *_ = model.input_shape
    return (height, width), model.layout


def _at_working_size(grey: Grey) -> Grey:
    """Small pictures enlarged and large ones reduced, so that pixels mean about the same."""
    from PIL import Image

    least, most = min(grey.shape), max(grey.shape)
    if most > _MOST_SIDE:
        scale = _MOST_SIDE / most
    elif least < _LEAST_SIDE:
        scale = max(1, min(8, -(-_LEAST_SIDE // least), _MOST_SIDE // most))
    else:
        return grey
    height, width = (max(1, round(n * scale)) for n in grey.shape)
    image = Image.fromarray(grey.astype(np.float32))
    return np.clip(np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)), 0, 1)


def cut_out(ink: Ink, owned: Bool[np.ndarray, "height width"], pixels: Pixels) -> Ink:
    """A digit's ink alone, cut close: its pixels, and the soft edge around them that is no one's."""
    top, left, bottom, right = box_around(pixels)
    top, left = max(top - 1, 0), max(left - 1, 0)
    near = (slice(top, bottom + 1), slice(left, right + 1))
    digit, others = ink[near], owned[near]
    own = np.zeros_like(others)
    own[pixels[0] - top, pixels[1] - left] = True
    edge = ndimage.binary_dilation(own, np.ones((3, 3), bool)) & ~others
    digit = np.where(own | edge, digit, 0)
    inked = digit > 0
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def classify(
    model: Model, crops: UInt8[np.ndarray, "n height width"]
) -> tuple[Float[np.ndarray, "n labels+1"], Float[np.ndarray, " n"]]:
    """Of every crop the calibrated probability of each label, and last of none; and its strangeness."""
    n = len(crops)
    images = np.zeros((1 << max(n - 1, 1).bit_length(), model.sizes[0]), np.uint8)  # few sizes to compile for
    images[:n] = crops.reshape(n, images.shape[1])
    p = tta_probabilities(
        model.params, images, model.objective, model.num_classes, model.input_shape, model.temperature
    )
    if model.outlier_model is None:
        return np.asarray(p)[:n], np.zeros(n)
    odd = outlier_score(model.outlier_model, jnp.asarray(images), jnp.argmax(p[:, :-1], axis=1))
    return np.asarray(p)[:n], np.asarray(odd)[:n]


def _reading(lines, crops, p, odd, scale) -> Reading:
    """The best reading of each line, from the probabilities of all candidates of all lines."""
    labels, surest = p[:, :-1].argmax(axis=1), p[:, :-1].max(axis=1)
    nothing = (p[:, -1] >= NO_DIGIT) | (odd >= STRANGE)
    text, chosen, boxes, start = [], [], [], 0
    for candidates, height in lines:
        scores = [
            np.log(surest[i] + LEAST_P) - c.cost(height, odd[i]) for i, c in enumerate(candidates, start)
        ]
        best = [i for i in best_reading(candidates, scores) if not nothing[start + i]]
        text.append("".join(str(labels[start + i]) for i in best))
        chosen += [start + i for i in best]
        boxes += [candidates[i].box for i in best]
        start += len(candidates)
    down, across = scale
    corners = np.array([(b.left * across, b.top * down, b.right * across, b.bottom * down) for b in boxes])
    return Reading(
        "\n".join(filter(None, text)),
        surest[chosen],
        np.rint(corners.reshape(-1, 4)).astype(int),
        crops[chosen],
    )
