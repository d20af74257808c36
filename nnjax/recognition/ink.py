"""The ink in a picture: how much darker or lighter than the paper each pixel is, independent of the lighting.

The brightness of the paper is a local median. Ink does not change it as long as most of the neighborhood is
blank, so this is an adaptive threshold.
"""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from nnjax.recognition.picture import Gray

Ink = Float[np.ndarray, "height width"]  # 0 paper to 1 ink

MIN_CONTRAST = 0.06  # fraction of the paper's brightness; a smaller difference is not ink
MIN_SIGNAL_TO_NOISE = 6.0  # minimum difference of ink and paper, in standard deviations of the noise
_MIN_BRIGHTNESS = 0.1  # of the paper; avoids a division by zero
_PAPER_MAP_SIDE = 48  # tiles along the longer side of the map of the paper's brightness
_PAPER_WINDOW = 0.5  # fraction of that side: the neighborhood whose median is the paper


def find_ink(gray: Gray, upscaled: int = 1) -> Ink:
    """Ink from 0 to 1, dark on light or light on dark, whichever is less ink in total.

    Args:
      gray: (height, width), from 0 (black) to 1 (white).
      upscaled: the factor by which the picture was enlarged; the noise is estimated from pixels at this
        distance.

    >>> picture = np.ones((9, 9))
    >>> picture[4] = 0.2
    >>> ink = find_ink(picture)
    >>> bool(ink[4].min() == 1 and ink[3].max() == 0)
    True
    """
    noise = _noise(gray[::upscaled, ::upscaled])
    if noise > MIN_CONTRAST / 4:  # a picture with less noise is not blurred
        sigma = 1.5 if noise > MIN_CONTRAST else 1.0
        gray = ndimage.gaussian_filter(gray, sigma)
        # The filter reduces white noise by this factor.
        noise /= max(1.0, 2 * np.sqrt(np.pi) * sigma / upscaled)
    paper = _paper(gray)
    polarities = []
    for difference, largest in ((paper - gray, paper), (gray - paper, 1 - paper)):
        # Ink is a ratio of brightnesses, which the lighting multiplies by a common factor.
        largest = np.maximum(largest, _MIN_BRIGHTNESS)
        ink, ink_noise = difference / largest, noise / float(np.median(largest))
        polarities.append((ink, ink[ink > max(MIN_CONTRAST, 3 * ink_noise)], ink_noise))
    ink, strong, noise = max(polarities, key=lambda polarity: np.sum(polarity[1]))
    if not strong.size or (full := np.quantile(strong, 0.9)) < MIN_SIGNAL_TO_NOISE * noise:
        return np.zeros_like(gray)
    return np.clip(ink / full, 0, 1)


def _noise(gray: Gray) -> float:
    """The standard deviation of the noise, from differences of neighboring pixels."""
    differences = np.abs(np.concatenate([np.diff(gray, axis=axis).ravel() for axis in (0, 1)]))
    return float(np.median(differences)) / 0.954 if differences.size else 0.0


def _paper(gray: Gray) -> Gray:
    """The brightness of the paper at each pixel: medians of a coarse map of medians, interpolated."""
    height, width = gray.shape
    tile = -(-max(height, width) // _PAPER_MAP_SIDE)
    padded = np.pad(gray, ((0, -height % tile), (0, -width % tile)), mode="edge")
    tiles = padded.reshape(padded.shape[0] // tile, tile, -1, tile)
    coarse = np.median(tiles, axis=(1, 3))
    size = max(3, int(_PAPER_WINDOW * max(coarse.shape)))
    coarse = ndimage.median_filter(coarse, size=[min(size, 2 * n - 1) for n in coarse.shape], mode="nearest")
    centers = [(np.arange(n) + 0.5) / tile - 0.5 for n in gray.shape]
    return ndimage.map_coordinates(coarse, np.meshgrid(*centers, indexing="ij"), order=1, mode="nearest")
