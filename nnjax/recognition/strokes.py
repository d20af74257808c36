"""The strokes in a picture, whatever its size, and the scale of the digits.

The window that separates strokes from shadows must be wider than a stroke and narrower than other dark
things, so it depends on the height of the digits. This height is first found in a small copy of the picture.
"""

import math
from typing import NamedTuple

import numpy as np

from nnjax.recognition.components import Component, find_components, is_stroke, typical_height
from nnjax.recognition.ink import Ink, find_ink, is_dark_on_light
from nnjax.recognition.picture import Gray

TINY_SIDE_PX = 100  # the longer side of the copy in which ink is compared with paper,
MIN_SIDE_PX = 200  # smaller pictures are enlarged to about this,
SMALL_SIDE_PX = 1000  # and of the one in which the height of digits is found
WINDOWS = (1 / 24, 1 / 12, 1 / 6, 1 / 3)  # of its longer side
ENOUGH = 0.6  # of the ink that the best window finds

WINDOW = 0.6  # of the height of a digit; strokes are narrower
MIN_DIGIT_PX = 7  # of the picture; lower digits cannot be recognized
MIN_HEIGHT_PX, MAX_SCALE = 32, 8  # lower digits are enlarged, at most by this factor
MAX_PIXELS = 4_000_000  # of the resized picture, unless its digits would be lower than MIN_HEIGHT_PX;
MAX_ENLARGED_PIXELS = 12_000_000  # no picture is enlarged beyond this


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
    """The strokes of digits in a picture, which is resized if its digits are small or it is large."""
    if not is_dark_on_light(_resized(gray, min(1.0, TINY_SIDE_PX / max(gray.shape)))):
        gray = 1 - gray
    longer = max(gray.shape)
    enlarged = max(1, min(MAX_SCALE, MIN_SIDE_PX // longer))
    small = _resized(gray, enlarged if enlarged > 1 else min(1.0, SMALL_SIDE_PX / longer))
    height = _height_in(small, enlarged, MIN_DIGIT_PX * max(small.shape) / longer) * longer / max(small.shape)
    if not height:
        return Strokes(np.zeros_like(gray), [], 0.0)
    fitting, largest = (math.sqrt(pixels / gray.size) for pixels in (MAX_PIXELS, MAX_ENLARGED_PIXELS))
    scale = min(max(min(1.0, fitting), MIN_HEIGHT_PX / height), MAX_SCALE, max(1.0, largest))
    resized = _resized(gray, scale)
    ink = find_ink(resized, _window(WINDOW * height * scale), max(1, round(scale)))
    components = find_components(ink)
    return Strokes(ink, components, typical_height(components, MIN_DIGIT_PX * scale))


def _height_in(gray: Gray, enlarged: int, min_size: float) -> float:
    """The typical height of the digits, by the narrowest window that finds most of the strokes."""
    found = []
    for fraction in WINDOWS:
        components = find_components(find_ink(gray, _window(fraction * max(gray.shape)), enlarged))
        amount = sum(c.pixels.shape[1] for c in components if is_stroke(c) and c.size >= min_size)
        found.append((amount, typical_height(components, min_size)))
    most = max(amount for amount, _ in found)
    return next(height for amount, height in found if amount >= ENOUGH * most)


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
