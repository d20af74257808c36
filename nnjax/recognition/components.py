"""Connected components of ink that are strokes of digits, and the typical height of the digits.

A component is an array of the rows and columns of its pixels, (2, n). A stroke is much longer than it is
wide. So specks and blots are not strokes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Int

from nnjax.recognition.ink import Ink
from nnjax.recognition.straight_lines import EIGHT_NEIGHBORS, FoundLines, remove_straight_lines

Pixels = Int[np.ndarray, "2 n"]

MIN_INK = 0.45  # from 0 to 1; fainter pixels are the edge of a stroke, or ink on the back of the paper
MAX_COMPONENTS = 2000  # only the largest are used, because noise has many more
MIN_COMPONENT_PX = 4  # a component that is smaller in both directions is a speck
MIN_ELONGATION = 3.3  # perimeter² / (4 area), about length / width of a stroke; a disk has π
MAX_RATIO = 1.5  # between heights and between thicknesses of strokes of the same writing


class Box(NamedTuple):
    """The rows from top to bottom - 1 and the columns from left to right - 1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def moved(self, down: int, across: int) -> "Box":
        """The box after a move by a number of rows and columns."""
        return Box(self.top + down, self.left + across, self.bottom + down, self.right + across)

    def union(self, other: "Box") -> "Box":
        """The smallest box that contains both."""
        (top, left, bottom, right), b = self, other
        return Box(min(top, b.top), min(left, b.left), max(bottom, b.bottom), max(right, b.right))


class Component(NamedTuple):
    """Connected pixels of ink.

    Attributes:
      pixels: the rows and columns, (2, n).
      box: the smallest box that contains them.
      length: half of the perimeter, the length of the stroke.
    """

    pixels: Pixels
    box: Box
    length: float

    @property
    def thickness(self) -> float:
        """The mean width of the stroke."""
        return self.pixels.shape[1] / self.length

    @property
    def size(self) -> int:
        """The larger one of height and width."""
        return max(self.box.height, self.box.width)


def bounding_box(pixels: Pixels) -> Box:
    """The smallest box that contains all pixels.

    >>> bounding_box(np.array([[1, 2], [5, 9]]))
    Box(top=1, left=5, bottom=3, right=10)
    """
    (top, left), (bottom, right) = pixels.min(axis=1).tolist(), (pixels.max(axis=1) + 1).tolist()
    return Box(top, left, bottom, right)


def find_components(
    ink: Ink, min_size: float = 0.0, found_lines: FoundLines | None = None
) -> list[Component]:
    """The components that may be digits or fragments of digits, the largest first.

    Components that touch the border of the picture are usually not writing. They are used only if they look
    like the others, or if there are no others.

    Args:
      ink: (height, width), from 0 (paper) to 1 (ink).
      min_size: the size of the smallest digits, in pixels.
      found_lines: as for `remove_straight_lines`.
    """
    mask = remove_straight_lines(ink >= MIN_INK, found_lines)
    components = [c for c in connected_components(mask) if c.size >= MIN_COMPONENT_PX]
    inside = [c for c in components if not _touches_border(c.box, mask.shape)]
    height = typical_height(inside, min_size)
    if not height:
        return components
    strokes = [c for c in inside if is_stroke(c) and c.size >= min_size]
    thickness = weighted_median([c.thickness for c in strokes], [c.length for c in strokes])
    return [
        c for c in components
        if not _touches_border(c.box, mask.shape)
        or (_is_similar(c.box.height, height) and _is_similar(c.thickness, thickness))
    ]  # fmt: skip


def is_stroke(component: Component) -> bool:
    """Whether a component is much longer than wide."""
    return component.length >= MIN_ELONGATION * component.thickness


def typical_height(components: Sequence[Component], min_size: float = 0.0) -> float:
    """The median height of strokes of at least this size, weighted by their lengths; 0 if there are none."""
    strokes = [c for c in components if is_stroke(c) and c.size >= min_size]
    return weighted_median([c.box.height for c in strokes], [c.length for c in strokes]) if strokes else 0.0


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The smallest value such that the weights up to it are at least half of all weights."""
    order = np.argsort(values)
    cumulative = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def connected_components(mask: Bool[np.ndarray, "height width"]) -> list[Component]:
    """The largest components, the largest first."""
    labelled: Any = scipy.ndimage.label(mask, EIGHT_NEIGHBORS)
    labels, count = labelled
    if not count:
        return []
    label_of_pixel = labels[mask]
    pixels = np.stack(np.nonzero(mask))[:, np.argsort(label_of_pixel, kind="stable")]
    sizes = np.bincount(label_of_pixel, minlength=count + 1)[1:]
    parts = np.split(pixels, np.cumsum(sizes)[:-1], axis=1)
    edges = _edges(mask, labels, count)
    largest = np.argsort(-sizes, kind="stable")[:MAX_COMPONENTS]
    return [Component(parts[i], bounding_box(parts[i]), float(edges[i]) / 2) for i in largest]


def _edges(mask: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The perimeter of each component: π/4 of the number of edges between its pixels and paper.

    The factor is the mean ratio of the length of a straight line to the number of edges that approximate it,
    over all directions.
    """
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    neighbors = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    total = sum(np.bincount(labels[inner & ~neighbor], minlength=count + 1) for neighbor in neighbors)
    return np.asarray(total)[1:] * np.pi / 4


def _is_similar(a: float, b: float) -> bool:
    return max(a, b) <= MAX_RATIO * min(a, b)


def _touches_border(box: Box, shape: tuple[int, ...]) -> bool:
    return box.top == 0 or box.left == 0 or box.bottom == shape[0] or box.right == shape[1]
