"""Groups components into lines of writing, in reading order."""

from collections.abc import Sequence

import numpy as np
import scipy

from nnjax.recognition.components import Box, Component, weighted_median

# In heights of a digit:
MIN_TALL_HEIGHT = 0.5  # components at least this tall define the lines; lower ones are fragments
MIN_FRAGMENT_SIZE = 0.2  # a fragment that is smaller in both directions is a speck
MAX_FRAGMENT_DISTANCE = 0.33  # from the nearest tall component; a fragment farther away is a speck
MAX_SIZE = 16  # of a component; a larger one is not writing
MAX_STACK_GAP = 0.15  # between components above each other that belong to the same digit
MAX_GAP_IN_DIGIT = 0.4  # blank columns between components of a digit

# Two components side by side share at least this fraction of the rows of the lower one. Two components of a
# digit above each other share it of the columns of the narrower one.
MIN_OVERLAP = 0.5

Line = list[Component]


def group_into_lines(components: Sequence[Component], height: float) -> list[Line]:
    """The components of each line, from the top line to the bottom line.

    Tall components whose neighbors to the left and right share enough rows are in the same line, also if the
    line is not horizontal. Two lines are joined if the second one starts to the right of the first and at the
    same height, corrected for its slope. A fragment is in the line of the nearest tall component.

    Args:
      components: strokes of digits.
      height: the typical height of a digit.
    """
    components = [c for c in components if c.size <= MAX_SIZE * height]
    boxes = np.array([c.box for c in components], float).reshape(-1, 4)
    is_tall = boxes[:, 2] - boxes[:, 0] >= MIN_TALL_HEIGHT * height
    tall, small = np.flatnonzero(is_tall), np.flatnonzero(~is_tall)
    if not tall.size or not height:
        return []
    line_of = _join(_chains(boxes[tall], height), boxes[tall], height)
    lines = [[components[i] for i in tall[line_of == line]] for line in range(line_of.max() + 1)]
    for i in small.tolist():
        distances = _distances(boxes[i], boxes[tall])
        nearest = int(np.argmin(distances))
        is_fragment = components[i].size >= MIN_FRAGMENT_SIZE * height
        if is_fragment and distances[nearest] <= MAX_FRAGMENT_DISTANCE * height:
            lines[line_of[nearest]].append(components[i])
    return sorted(lines, key=lambda line: float(np.mean([c.box.top + c.box.bottom for c in line])))


def line_height(line: Line) -> float:
    """The typical height of the digits in a line, where components above each other count as one digit."""
    stacks: list[tuple[Box, int]] = []
    for component in sorted(line, key=lambda c: c.box.left):
        box, num_pixels = component.box, component.pixels.shape[1]
        if stacks:
            last, last_pixels = stacks[-1]
            overlap = min(last.right, box.right) - box.left
            if overlap >= MIN_OVERLAP * min(last.width, box.width):
                stacks[-1] = last.union(box), last_pixels + num_pixels
                continue
        stacks.append((box, num_pixels))
    return weighted_median([box.height for box, _ in stacks], [num_pixels for _, num_pixels in stacks])


def split_at_gaps(line: Line, height: float) -> list[Line]:
    """The components of a line from left to right, divided at gaps that are too wide inside a digit."""
    parts: list[Line] = []
    end = -np.inf
    for component in sorted(line, key=lambda c: c.box.left):
        if component.box.left - end > MAX_GAP_IN_DIGIT * height:
            parts.append([])
        parts[-1].append(component)
        end = max(end, component.box.right)
    return parts


def _chains(boxes: np.ndarray, height: float) -> np.ndarray:
    """The number of the line of each box: nearest neighbors to the left and right that share rows."""
    linked = _stacked(boxes, height)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    right, down = middle[None] - middle[:, None], 0.001  # the vertical distance decides between equal ones
    is_neighbor = (right[..., 1] > 0) & _share_rows(boxes)
    gap = np.maximum(boxes[None, :, 1] - boxes[:, None, 3], 0)
    distance = np.where(is_neighbor, gap + down * np.abs(right[..., 0]), np.inf)
    to_right, to_left = distance.argmin(axis=1), distance.argmin(axis=0)
    for i, j in enumerate(to_right.tolist()):
        if np.isfinite(distance[i, j]) and to_left[j] == i:
            linked[i, j] = True
    return scipy.sparse.csgraph.connected_components(linked, directed=False)[1]


def _join(line_of: np.ndarray, boxes: np.ndarray, height: float) -> np.ndarray:
    """The lines, where one that continues another one to the right is the same line.

    From left to right, each line is appended to the nearest one whose last box, moved along its slope, shares
    rows with the first box of the new line.
    """
    lines = [np.flatnonzero(line_of == line) for line in range(line_of.max() + 1)]
    joined, ends, slopes = np.zeros_like(line_of), np.zeros((0, 4)), np.zeros(0)
    for members in sorted(lines, key=lambda members: boxes[members, 1].min()):
        line = boxes[members]
        first, last, slope = line[line[:, 1].argmin()], line[line[:, 3].argmax()], _slope(line, height)
        gap = first[1] - ends[:, 3]
        down = slopes * (first[1] + first[3] - ends[:, 1] - ends[:, 3]) / 2
        overlap = np.minimum(ends[:, 2] + down, first[2]) - np.maximum(ends[:, 0] + down, first[0])
        lower = np.minimum(ends[:, 2] - ends[:, 0], first[2] - first[0])
        continues = (overlap >= MIN_OVERLAP * lower) & (gap >= -0.5 * height)
        if continues.any():
            number = int(np.argmin(np.where(continues, gap, np.inf)))
            ends[number] = last
            slopes[number] = slope if slope else slopes[number]
        else:
            number, ends, slopes = len(ends), np.vstack([ends, last]), np.append(slopes, slope)
        joined[members] = number
    return joined


def _slope(line: np.ndarray, height: float) -> float:
    """The slope of a line of boxes; 0 if it is too short to have one."""
    middle = (line[:, :2] + line[:, 2:]) / 2
    if np.ptp(middle[:, 1]) < 2 * height:
        return 0.0
    return float(np.polyfit(middle[:, 1], middle[:, 0], 1)[0])


def _share_rows(boxes: np.ndarray) -> np.ndarray:
    """Which pairs of boxes share enough rows to be in the same line."""
    overlap, lower = _overlap(boxes[:, 0], boxes[:, 2])
    return overlap >= MIN_OVERLAP * lower


def _stacked(boxes: np.ndarray, height: float) -> np.ndarray:
    """Which pairs of boxes are so close above each other that they must be two fragments of one digit."""
    overlap, narrower = _overlap(boxes[:, 1], boxes[:, 3])
    rows, _ = _overlap(boxes[:, 0], boxes[:, 2])  # negative if there is a gap
    return (overlap >= MIN_OVERLAP * narrower) & (-rows <= MAX_STACK_GAP * height)


def _overlap(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pair of intervals, the length that both share, and the length of the shorter one."""
    shared = np.minimum(end[:, None], end[None]) - np.maximum(start[:, None], start[None])
    return shared, np.minimum((end - start)[:, None], (end - start)[None])


def _distances(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The number of rows or columns, whichever is larger, between a box and each of the other boxes."""
    gaps = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:])
    return np.maximum(gaps.max(axis=1), 0)
