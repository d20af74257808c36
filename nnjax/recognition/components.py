"""Connected components of ink that may be digits or fragments of digits, grouped into lines of writing.

A component is an array of the rows and columns of its pixels, (2, n). Frames, ruled lines and specks are
removed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage
from scipy.sparse import csgraph

from nnjax.recognition.ink import Ink

Pixels = Int[np.ndarray, "2 n"]

MIN_INK = 0.45  # from 0 to 1; fainter pixels are the edge of a stroke, or ink on the back of the paper
MIN_COMPONENT_PX = 8  # a component that is smaller in both directions is a speck
MAX_COMPONENTS = 2000  # only the largest are used, because noise has many more

# In heights of a digit:
MIN_TALL_HEIGHT = 0.5  # components at least this tall define the lines; lower ones are fragments
MIN_FRAGMENT_SIZE = 0.2  # a fragment that is smaller in both directions is a speck
MAX_FRAGMENT_DISTANCE = 0.33  # from the nearest tall component; a fragment farther away is a speck
MAX_STACK_GAP = 0.15  # between components above each other that belong to the same digit

# Fraction of the lower component's rows if two are side by side; of the narrower one's columns if stacked.
MIN_OVERLAP = 0.5

_EIGHT_NEIGHBORS = np.ones((3, 3), int)


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

    def union(self, other: "Box") -> "Box":
        """The smallest box that contains both."""
        (top, left, bottom, right), b = self, other
        return Box(min(top, b.top), min(left, b.left), max(bottom, b.bottom), max(right, b.right))


def bounding_box(pixels: Pixels) -> Box:
    """The smallest box that contains all pixels.

    >>> bounding_box(np.array([[1, 2], [5, 9]]))
    Box(top=1, left=5, bottom=3, right=10)
    """
    (top, left), (bottom, right) = pixels.min(axis=1).tolist(), (pixels.max(axis=1) + 1).tolist()
    return Box(top, left, bottom, right)


def find_lines(ink: Ink) -> list[list[Pixels]]:
    """The components of each line of writing, from the top line to the bottom line.

    Args:
      ink: (height, width), from 0 (paper) to 1 (ink).
    """
    mask = ink >= MIN_INK
    components = _connected_components(mask)
    boxes = np.array([bounding_box(c) for c in components]).reshape(-1, 4)
    frames = [c for c, box in zip(components, boxes, strict=True) if _is_frame(c, Box(*box), boxes)]
    if frames:
        mask[tuple(np.concatenate(frames, axis=1))] = False
    components = _connected_components(_remove_ruled_lines(mask))
    components = [c for c in components if max(component_size(c)) >= MIN_COMPONENT_PX]
    return _group_into_lines(components) if components else []


def component_size(pixels: Pixels) -> tuple[int, int]:
    """Height and width."""
    box = bounding_box(pixels)
    return box.height, box.width


def typical_height(components: Sequence[Pixels]) -> float:
    """The median height, weighted by the number of pixels, so that specks and fragments count little."""
    return _weighted_median([component_size(c)[0] for c in components], [c.shape[1] for c in components])


def line_height(line: Sequence[Pixels]) -> float:
    """The typical height of the digits in a line, where components above each other count as one digit."""
    stacks: list[tuple[Box, int]] = []
    for component in sorted(line, key=lambda c: bounding_box(c).left):
        box, num_pixels = bounding_box(component), component.shape[1]
        if stacks:
            last, last_pixels = stacks[-1]
            overlap = min(last.right, box.right) - box.left
            if overlap >= MIN_OVERLAP * min(last.width, box.width):
                stacks[-1] = last.union(box), last_pixels + num_pixels
                continue
        stacks.append((box, num_pixels))
    return _weighted_median([box.height for box, _ in stacks], [num_pixels for _, num_pixels in stacks])


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def _connected_components(mask: Bool[np.ndarray, "height width"]) -> list[Pixels]:
    """The largest components, the largest first."""
    labelled: Any = ndimage.label(mask, _EIGHT_NEIGHBORS)
    labels, count = labelled
    if not count:
        return []
    label_of_pixel = labels[mask]
    pixels = np.stack(np.nonzero(mask))[:, np.argsort(label_of_pixel, kind="stable")]
    sizes = np.bincount(label_of_pixel, minlength=count + 1)[1:]
    components = np.split(pixels, np.cumsum(sizes)[:-1], axis=1)
    return sorted(components, key=lambda c: -c.shape[1])[:MAX_COMPONENTS]


def _is_frame(component: Pixels, box: Box, boxes: Int[np.ndarray, "n 4"]) -> bool:
    """Whether at least 90 % of a component is near the edges of its box, and another box is inside."""
    rows, columns = component
    max_distance = 0.12 * min(box.height, box.width)
    distance = np.minimum.reduce(
        [rows - box.top, box.bottom - 1 - rows, columns - box.left, box.right - 1 - columns]
    )
    if np.mean(distance <= max_distance) < 0.9:
        return False
    top, left, bottom, right = boxes.T
    inside = (top > box.top) & (left > box.left) & (bottom < box.bottom) & (right < box.right)
    return bool(np.any(inside & (bottom - top > 0.2 * box.height)))


def _remove_ruled_lines(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """The mask without ruled lines, which are long thin runs of ink from side to side.

    Where there is ink above and below a ruled line, a digit crosses it, and the crossing remains.
    """
    width = mask.shape[1]
    # Short runs, because a line that is not exactly horizontal consists of steps.
    runs = ndimage.binary_opening(mask, np.ones((1, max(MIN_COMPONENT_PX, width // 12)), bool))
    near: Any = ndimage.label(ndimage.binary_dilation(runs, np.ones((3, max(3, width // 20)), bool)))
    labels, _ = near
    ruled = np.zeros_like(mask)
    for i, where in enumerate(ndimage.find_objects(labels), start=1):
        line = runs[where] & (labels[where] == i)
        columns = np.flatnonzero(line.any(axis=0))
        span, thickness = columns[-1] + 1 - columns[0], np.median(line.sum(axis=0)[columns])
        if span >= 0.8 * width and span >= 40 * thickness:
            ruled[where] |= line
    if not ruled.any():
        return mask
    # Also remove the fainter edges above and below the runs.
    ruled = mask & ndimage.binary_dilation(ruled, np.ones((3, 1), bool))
    thickness = int(ruled.sum(axis=0).max())
    rest = mask & ~ruled
    crossings = ndimage.binary_closing(
        np.pad(rest, ((thickness + 2, thickness + 2), (0, 0))), np.ones((thickness + 3, 1), bool)
    )[thickness + 2 : -thickness - 2]
    return rest | (crossings & mask)


def _group_into_lines(components: list[Pixels]) -> list[list[Pixels]]:
    """Components by line: tall ones that are side by side, and the fragments near them."""
    height = typical_height(components)
    boxes = np.array([bounding_box(c) for c in components], float)
    heights = boxes[:, 2] - boxes[:, 0]
    is_tall = heights >= MIN_TALL_HEIGHT * height
    tall, small = np.flatnonzero(is_tall), np.flatnonzero(~is_tall)
    linked = _side_by_side(boxes[tall]) | _stacked(boxes[tall], height)
    _, line_of = csgraph.connected_components(linked, directed=False)
    lines = [[components[i] for i in tall[line_of == line]] for line in range(line_of.max() + 1)]
    for i in small:
        distances = _distances(boxes[i], boxes[tall])
        nearest = int(np.argmin(distances))
        is_fragment = max(component_size(components[i])) >= MIN_FRAGMENT_SIZE * height
        if is_fragment and distances[nearest] <= MAX_FRAGMENT_DISTANCE * height:
            lines[line_of[nearest]].append(components[i])
    return sorted(lines, key=lambda line: np.mean([bounding_box(c).top for c in line]))


def _side_by_side(boxes: np.ndarray) -> Bool[np.ndarray, "n n"]:
    """Which pairs of boxes share enough rows to be in the same line."""
    (top, _, bottom, _) = boxes.T
    overlap = np.minimum(bottom[:, None], bottom[None]) - np.maximum(top[:, None], top[None])
    lower = np.minimum((bottom - top)[:, None], (bottom - top)[None])
    return overlap >= MIN_OVERLAP * lower


def _stacked(boxes: np.ndarray, height: float) -> Bool[np.ndarray, "n n"]:
    """Which pairs of boxes are so close above each other that they must be two fragments of one digit."""
    (top, left, bottom, right) = boxes.T
    overlap = np.minimum(right[:, None], right[None]) - np.maximum(left[:, None], left[None])
    narrower = np.minimum((right - left)[:, None], (right - left)[None])
    gap = np.maximum(top[:, None], top[None]) - np.minimum(bottom[:, None], bottom[None])
    return (overlap >= MIN_OVERLAP * narrower) & (gap <= MAX_STACK_GAP * height)


def _distances(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The number of rows or columns, whichever is larger, between a box and each of the other boxes."""
    gaps = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:])
    return np.maximum(gaps.max(axis=1), 0)
