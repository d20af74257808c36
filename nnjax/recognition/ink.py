"""Where a picture has ink, and how much: paper taken off, contrast made whole.

What a pixel lacks of the brightness of the paper around it is ink, whatever the light. Paper is
the local median, an adaptive threshold that the ink in a neighbourhood does not move as long as
most of it is blank.
"""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from nnjax.recognition.picture import Grey

Ink = Float[np.ndarray, "height width"]  # 0 paper to 1 ink

FAINT = 0.06  # of the paper's brightness: less is no ink
CLEAR = 6.0  # times the noise: what stands out less is noise
_LEAST = 0.1  # of brightness: what is divided by
_PAPER = 48  # pixels along the longer side of the map of the paper
_WINDOW = 0.5  # of that side: the neighbourhood whose median is the paper


def find_ink(grey: Grey, enlarged: int = 1) -> Ink:
    """Ink from 0 to 1: dark on light or light on dark, found out from which there is less of.

    Args:
      grey: the picture.
      enlarged: how many times as large as it was: noise is judged from pixels so far apart.

    >>> picture = np.ones((9, 9))
    >>> picture[4] = 0.2
    >>> ink = find_ink(picture)
    >>> bool(ink[4].min() == 1 and ink[3].max() == 0)
    True
    """
    noise = _noise(grey[::enlarged, ::enlarged])
    if noise > FAINT / 4:  # of neighbours, each a little; what is smooth already stays as it is
        wide = 1.5 if noise > FAINT else 1.0
        grey = ndimage.gaussian_filter(grey, wide)
        noise /= max(1.0, 2 * np.sqrt(np.pi) * wide / enlarged)  # what such a mean leaves of it
    paper = _paper(grey)
    found = []
    for darker, most in ((paper - grey, paper), (grey - paper, 1 - paper)):
        most = np.maximum(most, _LEAST)  # light multiplies: ink keeps its share of it
        ink, noise_in_it = darker / most, noise / float(np.median(most))
        found.append((ink, ink[ink > max(FAINT, 3 * noise_in_it)], noise_in_it))
    ink, strong, noise = max(found, key=lambda each: np.sum(each[1]))
    if not strong.size or (full := np.quantile(strong, 0.9)) < CLEAR * noise:
        return np.zeros_like(grey)
    return np.clip(ink / full, 0, 1)


def _noise(grey: Grey) -> float:
    """The standard deviation of a pixel's noise, from its differences to neighbours: most are noise."""
    differences = np.abs(np.concatenate([np.diff(grey, axis=axis).ravel() for axis in (0, 1)]))
    return float(np.median(differences)) / 0.954 if differences.size else 0.0


def _paper(grey: Grey) -> Grey:
    """The brightness of the paper everywhere: medians of a coarse map of medians."""
    height, width = grey.shape
    block = -(-max(height, width) // _PAPER)
    padded = np.pad(grey, ((0, -height % block), (0, -width % block)), mode="edge")
    tiles = padded.reshape(padded.shape[0] // block, block, -1, block)
    coarse = np.median(tiles, axis=(1, 3))
    size = max(3, int(_WINDOW * max(coarse.shape)))
    coarse = ndimage.median_filter(coarse, size=[min(size, 2 * n - 1) for n in coarse.shape], mode="nearest")
    at = [(np.arange(n) + 0.5) / block - 0.5 for n in grey.shape]
    return ndimage.map_coordinates(coarse, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
