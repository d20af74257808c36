"""Marks of ink that may be digits, or pieces of them, line by line; and what is none.

A mark is the pixels of one connected piece of ink: their rows and columns, (2, n).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage
from scipy.sparse import csgraph

from nnjax.recognition.ink import Ink

Pixels = Int[np.ndarray, "2 n"]

INKED = 0.45  # from here on a pixel belongs to a mark; less is its edge, or shines through the paper
LEAST = 8  # pixels: what is smaller both ways is a speck
MOST = 2000  # marks that are looked at, the largest: noise has more

# In heights of the digits:
TALL = 0.5  # from here on marks make a line; lower ones are pieces, but for those
LARGE = 0.2  # that are smaller both ways, or farther than
NEARBY = 0.33  # from all tall ones
STACKED = 0.15  # pieces no farther above each other are of one digit

SHARED = 0.5  # of the lower mark's rows where two stand side by side; of the narrower's columns where stacked

_ANY_NEIGHBOUR = np.ones((3, 3), int)


class Box(NamedTuple):
    """Rows top to bottom - 1 and columns left to right - 1."""

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


def box_around(pixels: Pixels) -> Box:
    """The smallest box that holds all pixels."""
    (top, left), (bottom, right) = pixels.min(axis=1).tolist(), (pixels.max(axis=1) + 1).tolist()
    return Box(top, left, bottom, right)


def find_lines(ink: Ink) -> list[list[Pixels]]:
    """The marks of each line of writing, lines from top to bottom; frames, rules and specks left out."""
    mask = ink >= INKED
    marks = _connected(mask)
    boxes = np.array([box_around(mark) for mark in marks]).reshape(-1, 4)
    if frames := [mark for mark, box in zip(marks, boxes, strict=True) if _is_frame(mark, Box(*box), boxes)]:
        mask[tuple(np.concatenate(frames, axis=1))] = False
    marks = [mark for mark in _connected(_without_rules(mask)) if max(mark_size(mark)) >= LEAST]
    return _in_lines(marks) if marks else []


def mark_size(pixels: Pixels) -> tuple[int, int]:
    """Height and width."""
    box = box_around(pixels)
    return box.height, box.width


def typical_height(marks: Sequence[Pixels]) -> float:
    """The height of marks, the median weighed by ink: specks and pieces do not count for much."""
    return _weighted_median([mark_size(mark)[0] for mark in marks], [mark.shape[1] for mark in marks])


def line_height(line: Sequence[Pixels]) -> float:
    """The height of a line's digits: as of marks, but those that stand above each other are one."""
    order = sorted(line, key=lambda mark: box_around(mark).left)
    stacks: list[tuple[Box, int]] = []
    for mark in order:
        box, ink = box_around(mark), mark.shape[1]
        if stacks:
            last, inked = stacks[-1]
            shared = min(last.right, box.right) - box.left
            if shared >= SHARED * min(last.width, box.width):
                stacks[-1] = around(last, box), inked + ink
                continue
        stacks.append((box, ink))
    return _weighted_median([box.height for box, _ in stacks], [ink for _, ink in stacks])


def around(a: Box, b: Box) -> Box:
    """The smallest box that holds both."""
    return Box(min(a.top, b.top), min(a.left, b.left), max(a.bottom, b.bottom), max(a.right, b.right))


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    order = np.argsort(values)
    total = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(total, total[-1] / 2)])


def _connected(mask: Bool[np.ndarray, "height width"]) -> list[Pixels]:
    labelled: Any = ndimage.label(mask, _ANY_NEIGHBOUR)
    labels, count = labelled
    pixels = np.stack(np.nonzero(mask))
    of = labels[mask]
    pixels = pixels[:, np.argsort(of, kind="stable")]
    marks = (
        np.split(pixels, np.cumsum(np.bincount(of, minlength=count + 1)[1:])[:-1], axis=1) if count else []
    )
    return sorted(marks, key=lambda mark: -mark.shape[1])[:MOST]


def _is_frame(mark: Pixels, box: Box, boxes: Int[np.ndarray, "n 4"]) -> bool:
    """Whether a mark keeps to the edge of its box, and one of these other boxes is inside."""
    rows, columns = mark
    edge = 0.12 * min(box.height, box.width)
    from_edge = np.minimum.reduce(
        [rows - box.top, box.bottom - 1 - rows, columns - box.left, box.right - 1 - columns]
    )
    if np.mean(from_edge <= edge) < 0.9:
        return False
    top, left, bottom, right = boxes.T
    inside = (top > box.top) & (left > box.left) & (bottom < box.bottom) & (right < box.right)
    return bool(np.any(inside & (bottom - top > 0.2 * box.height)))


def _without_rules(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """The mask without ruled lines: long thin runs of ink from side to side.

    Where ink stands above and below, a digit crosses the line, and the crossing stays.
    """
    width = mask.shape[1]
    # In pieces, for a line that is not quite level climbs by steps.
    runs = ndimage.binary_opening(mask, np.ones((1, max(LEAST, width // 12)), bool))
    near: Any = ndimage.label(ndimage.binary_dilation(runs, np.ones((3, max(3, width // 20)), bool)))
    labels, _ = near
    rules = np.zeros_like(mask)
    for i, where in enumerate(ndimage.find_objects(labels), start=1):
        piece = runs[where] & (labels[where] == i)
        columns = np.flatnonzero(piece.any(axis=0))
        span, thickness = columns[-1] + 1 - columns[0], np.median(piece.sum(axis=0)[columns])
        if span >= 0.8 * width and span >= 40 * thickness:
            rules[where] |= piece
    if not rules.any():
        return mask
    # The edges of a rule, which are not as dark, hang on it.
    rules = mask & ndimage.binary_dilation(rules, np.ones((3, 1), bool))
    thickness = int(rules.sum(axis=0).max())
    rest = mask & ~rules
    crossing = ndimage.binary_closing(
        np.pad(rest, ((thickness + 2, thickness + 2), (0, 0))), np.ones((thickness + 3, 1), bool)
    )[thickness + 2 : -thickness - 2]
    return rest | (crossing & mask)


def _in_lines(marks: list[Pixels]) -> list[list[Pixels]]:
    """Marks line by line: tall ones that stand side by side, and pieces near them."""
    height = typical_height(marks)
    boxes = np.array([box_around(mark) for mark in marks], float)
    heights = boxes[:, 2] - boxes[:, 0]
    tall, small = np.flatnonzero(heights >= TALL * height), np.flatnonzero(heights < TALL * height)
    linked = _side_by_side(boxes[tall]) | _pieces(boxes[tall], height)
    _, line_of = csgraph.connected_components(linked, directed=False)
    lines = [[marks[i] for i in tall[line_of == line]] for line in range(line_of.max() + 1)]
    for i in small:
        distance = _distance(boxes[i], boxes[tall])
        nearest = int(np.argmin(distance))
        large = max(mark_size(marks[i])) >= LARGE * height
        if large and distance[nearest] <= NEARBY * height:
            lines[line_of[nearest]].append(marks[i])
    return sorted(lines, key=lambda line: np.mean([box_around(mark).top for mark in line]))


def _side_by_side(boxes: np.ndarray) -> Bool[np.ndarray, "n n"]:
    """Which boxes share half of the lower one's rows."""
    (top, _, bottom, _) = boxes.T
    shared = np.minimum(bottom[:, None], bottom[None]) - np.maximum(top[:, None], top[None])
    lower = np.minimum((bottom - top)[:, None], (bottom - top)[None])
    return shared >= SHARED * lower


def _pieces(boxes: np.ndarray, height: float) -> Bool[np.ndarray, "n n"]:
    """Which boxes lie so close above each other that they must be one digit in two pieces."""
    (top, left, bottom, right) = boxes.T
    shared = np.minimum(right[:, None], right[None]) - np.maximum(left[:, None], left[None])
    narrower = np.minimum((right - left)[:, None], (right - left)[None])
    between = np.maximum(top[:, None], top[None]) - np.minimum(bottom[:, None], bottom[None])
    return (shared >= SHARED * narrower) & (between <= STACKED * height)


def _distance(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How many rows or columns, whichever are more, lie between a box and each of others."""
    gaps = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:])
    return np.maximum(gaps.max(axis=1), 0)
