"""The ink in a picture: dark or bright strokes, independent of the lighting.

A closing of the gray values (a maximum filter, then a minimum filter) removes everything dark that is
narrower than its window. Paper, shadows and large dark objects remain. The difference between the closing
and the picture is the contrast of strokes (the top-hat transform; Soille, *Morphological Image Analysis*,
2003).
"""

import numpy as np
import scipy
from jaxtyping import Float

from nnjax.recognition.picture import Gray

Ink = Float[np.ndarray, "height width"]  # 0 paper to 1 ink

MIN_CONTRAST = 0.06  # fraction of the paper's brightness; a smaller difference is not ink
MIN_SIGNAL_TO_NOISE = 7.0  # minimum difference of ink and paper, in standard deviations of the noise
MIN_BRIGHTNESS = 0.1  # of the paper; avoids a division by zero
MAX_UNFILTERED_NOISE = 0.005  # a picture with more noise is blurred
FULL_INK = 0.9  # the quantile of the contrast of ink pixels that counts as full ink


def find_ink(gray: Gray, window: int, enlarged: int = 1) -> Ink:
    """Ink from 0 to 1, dark on light paper.

    Args:
      gray: (height, width), from 0 (black) to 1 (white).
      window: the side of a square in pixels; strokes are narrower than this.
      enlarged: the factor by which the picture was enlarged; the noise is estimated from pixels at this
        distance.

    >>> picture = np.ones((9, 9))
    >>> picture[4] = 0.2
    >>> ink = find_ink(picture, 5)
    >>> bool(ink[4].min() == 1 and ink[3].max() == 0)
    True
    """
    noise = noise_of(gray[::enlarged, ::enlarged])
    if noise > MAX_UNFILTERED_NOISE:
        sigma = 1.5 if noise > MIN_CONTRAST else 1.0
        gray = scipy.ndimage.gaussian_filter(gray, sigma)
        noise /= max(1.0, 2 * np.sqrt(np.pi) * sigma / enlarged)  # of white noise
    paper = scipy.ndimage.grey_closing(gray, size=(window, window), mode="nearest")
    difference = paper - gray
    usual = np.median(difference)  # of paper: the closing is above most of the noise
    noise = max(noise, 1.48 * float(np.median(np.abs(difference - usual))))
    # Ink is a ratio of brightnesses, which the lighting multiplies by a common factor. Noise is a difference.
    contrast = (difference - usual) / np.maximum(paper, MIN_BRIGHTNESS)
    is_strong = (contrast > MIN_CONTRAST) & (difference > usual + MIN_SIGNAL_TO_NOISE * noise)
    if not is_strong.any():
        return np.zeros_like(contrast)
    full = np.quantile(contrast[is_strong], FULL_INK)
    near = scipy.ndimage.binary_dilation(is_strong, np.ones((3, 3), bool))  # soft edges of strokes
    return np.where(near, np.clip(contrast / full, 0, 1), 0)


def is_dark_on_light(gray: Gray) -> bool:
    """Whether the ink is darker than the paper, which is the local median."""
    paper = scipy.ndimage.median_filter(gray, [max(3, n // 4) for n in gray.shape], mode="nearest")
    difference = gray - paper
    strong = np.abs(difference) > MIN_CONTRAST
    return bool(difference[strong].sum() <= 0)


def noise_of(gray: Gray) -> float:
    """The standard deviation of the noise, from differences of neighboring pixels."""
    differences = np.abs(np.concatenate([np.diff(gray, axis=axis).ravel() for axis in (0, 1)]))
    return float(np.median(differences)) / 0.954 if differences.size else 0.0
