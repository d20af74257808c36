"""Finds the strokes in a picture of any size, and estimates the height of its digits.

The window that separates strokes from shadows must be wider than a stroke and narrower than other dark
things, so it depends on the height of the digits. This height is first found in a small copy of the picture.
"""

import math
from typing import NamedTuple

import numpy as np

from nnjax.recognition.components import Component, find_components, is_stroke, typical_height
from nnjax.recognition.ink import Ink, find_ink, is_dark_on_light
from nnjax.recognition.picture import Gray

TINY_SIDE_PX = 100  # longer side of the copy that decides whether ink is darker than paper
SMALL_SIDE_PX = 1000  # longer side of the copy in which the height of digits is estimated
MIN_SIDE_PX = 200  # pictures of at most half this size are enlarged by a whole factor
WINDOWS = (1 / 24, 1 / 12, 1 / 6, 1 / 3)  # of the longer side of this copy
MIN_STROKE_FRACTION = 0.6  # the narrowest window that finds this fraction of the ink of the best one is used

WINDOW = 0.6  # of the height of a digit; strokes are narrower
MIN_DIGIT_PX = 7  # of the picture; smaller digits cannot be recognized
HEIGHT_PX, MAX_SCALE = 64, 8  # smaller digits are enlarged to this height, at most by this factor
MIN_HEIGHT_PX = 32  # smaller digits are enlarged to this height even if MAX_PIXELS is exceeded
MAX_PIXELS = 4_000_000  # of the resized picture
MAX_RESIZED_PIXELS = 12_000_000  # never exceeded, not even for MIN_HEIGHT_PX


class Strokes(NamedTuple):
    """The strokes in a picture.

    Attributes:
      ink: (height, width), from 0 to 1, of the resized picture.
      components: the components of the strokes.
      height: the typical height of a digit, in pixels of the resized picture; 0 if there are none.
    """

    ink: Ink
    components: list[Component]
    height: float


def find_strokes(gray: Gray) -> Strokes:
    """The strokes of digits in a picture. A picture with small digits is enlarged, a large one is shrunk."""
    if not is_dark_on_light(_resized(gray, min(1.0, TINY_SIDE_PX / max(gray.shape)))):
        gray = 1 - gray
    longer = max(gray.shape)
    enlarged = max(1, min(MAX_SCALE, MIN_SIDE_PX // longer))
    small = _resized(gray, enlarged if enlarged > 1 else min(1.0, SMALL_SIDE_PX / longer))
    height = _height_in(small, enlarged, MIN_DIGIT_PX * max(small.shape) / longer) * longer / max(small.shape)
    if not height:
        return Strokes(np.zeros_like(gray), [], 0.0)
    fitting, largest = (math.sqrt(pixels / gray.size) for pixels in (MAX_PIXELS, MAX_RESIZED_PIXELS))
    enough = max(1.0, HEIGHT_PX / height)
    scale = min(max(min(enough, fitting), MIN_HEIGHT_PX / height), MAX_SCALE, largest)
    resized = _resized(gray, scale)
    ink = find_ink(resized, _window(WINDOW * height * scale), max(1, round(scale)))
    components = find_components(ink, MIN_DIGIT_PX * scale)
    return Strokes(ink, components, typical_height(components, MIN_DIGIT_PX * scale))


def _height_in(gray: Gray, enlarged: int, min_size: float) -> float:
    """The typical height of the digits, by the narrowest window that finds most of the strokes."""
    estimates, found_lines = [], {}
    for fraction in WINDOWS:
        ink = find_ink(gray, _window(fraction * max(gray.shape)), enlarged)
        components = find_components(ink, min_size, found_lines)
        amount = sum(c.pixels.shape[1] for c in components if is_stroke(c) and c.size >= min_size)
        estimates.append((amount, typical_height(components, min_size)))
    most = max(amount for amount, _ in estimates)
    return next(height for amount, height in estimates if amount >= MIN_STROKE_FRACTION * most)


def _window(side: float) -> int:
    return 2 * max(2, round(side / 2)) + 1


def _resized(gray: Gray, scale: float) -> Gray:
    """The picture, enlarged smoothly, or shrunk so that each pixel is the mean of its area."""
    from PIL import Image

    if scale == 1:
        return gray
    height, width = (max(1, round(n * scale)) for n in gray.shape)
    method = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    image = Image.fromarray(gray.astype(np.float32)).resize((width, height), method)
    return np.clip(np.asarray(image), 0, 1)
