"""Removes frames and ruled lines: long straight ink that is nearly horizontal or vertical.

Lines are found as by the Hough transform: for each slope, the pixels of a component are counted by the
intercept of the line through them (Duda and Hart, *Use of the Hough transformation to detect lines and curves
in pictures*, 1972).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

Mask = Bool[np.ndarray, "height width"]
# From a component (its shape and pixels) to the ink of its lines; only for masks of the same shape.
FoundLines = dict[tuple[tuple[int, ...], bytes], Mask]

EIGHT_NEIGHBORS = np.ones((3, 3), int)

# Ink along a line:
MIN_COVERAGE = 0.7  # of a side of a frame, as a fraction of the extent of the frame
MIN_WALL_COVERAGE = 0.95  # of a wall inside of a frame; a digit can be nearly as high
MIN_RULE_COVERAGE = 0.6  # of a ruled line, as a fraction of the side of the picture
MIN_INSIDE = 0.85  # of the ink of a frame, between its outer sides
MAX_SLOPE = 0.27  # 15 degrees
MAX_SLOPES = 161
MIN_EXTENT_PX = 12  # smaller components have no lines
MAX_WALL_THICKNESS = 2.2  # of the thinner side of the frame
MAX_FRAME_THICKNESS = 0.1  # of the shorter side of a frame
MAX_RULE_THICKNESS = 1 / 40  # of the length of a ruled line
MAX_COMPONENTS = 1000  # only the largest are searched
MAX_LINES = 200  # of a component and a direction


class StraightLine(NamedTuple):
    """Ink near row = slope * column + intercept, of a thickness in rows, in this number of columns."""

    slope: float
    intercept: float
    thickness: float
    columns: int


def remove_straight_lines(mask: Mask, found: FoundLines | None = None) -> Mask:
    """The mask without frames and ruled lines; pixels that also belong to a crossing stroke are kept.

    A frame has at least two nearly horizontal and two nearly vertical lines as long as itself. So the walls
    between the cells of a grid also belong to it. Ruled lines are longer than 60 % of the picture.

    Args:
      mask: the ink of a picture.
      found: the lines that earlier calls found; this call adds its own. With the same dictionary for
        several masks of one picture, lines of equal components are searched only once.
    """
    found = {} if found is None else found
    labelled: Any = scipy.ndimage.label(mask, EIGHT_NEIGHBORS)
    labels, count = labelled
    sizes, boxes = np.bincount(labels.ravel(), minlength=count + 1)[1:], scipy.ndimage.find_objects(labels)
    rest = mask.copy()
    for i in np.argsort(-sizes, kind="stable")[:MAX_COMPONENTS].tolist():
        image = labels[boxes[i]] == i + 1
        if max(image.shape) >= MIN_EXTENT_PX:
            key = image.shape, image.tobytes()
            if key not in found:
                found[key] = _ink_of_lines(image, mask.shape)
            rest[boxes[i]] &= ~found[key]
    return rest


def _ink_of_lines(image: Mask, shape: tuple[int, ...]) -> Mask:
    """The ink of a component that belongs to its lines and to no crossing stroke."""
    horizontal, vertical = _lines_of(image, shape)
    ink = np.zeros_like(image)
    for line in horizontal:
        ink |= _along(line, image)
    for line in vertical:
        ink |= _along(line, image.T).T
    return ink


def _lines_of(image: Mask, shape: tuple[int, ...]) -> tuple[list[StraightLine], list[StraightLine]]:
    """The lines to remove: nearly horizontal ones, and nearly vertical ones as lines of the transpose."""
    rows, columns = _Direction.of(image), _Direction.of(image.T)
    if lines := _frame_lines(rows, columns):
        return lines
    if lines := _frame_lines(columns, rows):
        return lines[1], lines[0]
    found = []
    for direction, length in zip((rows, columns), (shape[1], shape[0]), strict=True):
        is_long = direction.image.shape[1] >= MIN_RULE_COVERAGE * length
        lines = _find_lines(direction, MIN_RULE_COVERAGE * length) if is_long else []
        found.append([line for line in lines if line.thickness <= MAX_RULE_THICKNESS * length])
    return found[0], found[1]


def _frame_lines(
    rows: "_Direction", columns: "_Direction"
) -> tuple[list[StraightLine], list[StraightLine]] | None:
    """The lines of a frame and of its inner walls; None if there is no frame.

    The first two sides are as long as the component. All other lines are as long as the distance of the sides
    at their ends.

    Args:
      rows: the direction of the first two sides.
      columns: the other direction of the same component.
    """
    (height, width) = rows.image.shape
    horizontal = _sides(rows, MIN_COVERAGE * width)
    if not horizontal:
        return None
    vertical = _sides(columns, MIN_COVERAGE * _distance(horizontal, width))
    if not vertical:
        return None
    sides = horizontal[0], horizontal[-1], vertical[0], vertical[-1]
    thickest = MAX_WALL_THICKNESS * min(line.thickness for line in sides)
    lengths = _distance(vertical, height), _distance(horizontal, width)
    horizontal, vertical = (
        [
            line for line in lines
            if line in sides or (line.columns >= MIN_WALL_COVERAGE * length and line.thickness <= thickest)
        ]
        for lines, length in zip((horizontal, vertical), lengths, strict=True)
    )  # fmt: skip
    return horizontal, vertical


def _distance(lines: list[StraightLine], width: int) -> float:
    """The distance between the first and the last line, in the middle."""
    return (lines[-1].slope - lines[0].slope) * width / 2 + lines[-1].intercept - lines[0].intercept


def _sides(direction: "_Direction", min_count: float) -> list[StraightLine]:
    """Nearly horizontal lines from top to bottom, if nearly all ink is between the first and the last one."""
    width = direction.image.shape[1]
    lines = sorted(
        _find_lines(direction, min_count), key=lambda line: line.slope * width / 2 + line.intercept
    )
    if len(lines) < 2 or _distance(lines, width) < MIN_EXTENT_PX / 2:
        return []
    if max(lines[0].thickness, lines[-1].thickness) > max(2, MAX_FRAME_THICKNESS * _distance(lines, width)):
        return []
    rows, columns = np.nonzero(direction.image)
    above, below = (rows - line.slope * columns - line.intercept for line in (lines[0], lines[-1]))
    inside = (above >= -lines[0].thickness - 1) & (below <= lines[-1].thickness + 1)
    return lines if inside.mean() >= MIN_INSIDE else []


class _Direction(NamedTuple):
    """A component, and its ink along all nearly horizontal lines.

    Attributes:
      image: the mask of the component.
      slopes: the slopes of the lines.
      counts: for each slope and intercept, the number of columns with ink; intercepts begin at -reach.
      reach: the largest distance that a line moves up or down.
    """

    image: Mask
    slopes: Float[np.ndarray, " slopes"]
    counts: Int[np.ndarray, "slopes intercepts"]
    reach: int

    @classmethod
    def of(cls, image: Mask) -> "_Direction":
        """Counts the ink of a component."""
        rows, columns = np.nonzero(image)
        reach = int(MAX_SLOPE * image.shape[1]) + 1
        slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, min(MAX_SLOPES, 2 * reach + 1))
        size = len(image) + 2 * reach
        counts = [
            np.bincount(np.rint(rows - slope * columns).astype(int) + reach, minlength=size)[:size]
            for slope in slopes
        ]
        return cls(image, slopes, np.stack(counts), reach)


def _find_lines(direction: _Direction, min_count: float) -> Iterator[StraightLine]:
    """The nearly horizontal lines with at least this number of columns, the best covered first."""
    image, slopes, counts, reach = direction
    if counts.max() < min_count:
        return
    counts, width, edges = counts.copy(), image.shape[1], _run_ends(image)
    for _ in range(MAX_LINES):
        if counts.max() < min_count:
            return
        i, j = np.unravel_index(np.argmax(counts), counts.shape)
        line = _centered(float(slopes[i]), float(j - reach), image, edges)
        yield line
        # Lines that cross this one in the middle are the same line with another slope.
        middles = slopes[:, None] * width / 2 + np.arange(counts.shape[1]) - reach
        distance = np.abs(middles - line.slope * width / 2 - line.intercept)
        counts[distance <= max(3, 1.5 * line.thickness)] = 0
        counts[i, j] = 0


def _run_ends(image: Mask) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of ink, the first row of its run in the column, and the row after the last one."""
    row = np.arange(len(image))[:, None]
    starts = np.maximum.accumulate(np.where(image, 0, row + 1), axis=0)
    ends = np.minimum.accumulate(np.where(image, len(image), row)[::-1], axis=0)[::-1]
    return starts, ends


def _centered(
    slope: float, intercept: float, image: Mask, run_ends: tuple[np.ndarray, np.ndarray]
) -> StraightLine:
    """The line through the middles of the runs of ink that a line meets in the columns, by least squares."""
    columns = np.arange(image.shape[1])
    rows = np.rint(slope * columns + intercept).astype(int)
    columns = columns[(rows >= 0) & (rows < image.shape[0])]
    columns = columns[image[rows[columns], columns]]
    start, end = (ends[rows[columns], columns] for ends in run_ends)
    thickness = float(np.median(end - start))
    # Where another stroke meets the line, the run is longer and its middle is elsewhere.
    is_plain = end - start <= 1.5 * thickness
    middles = (start + end - 1)[is_plain] / 2
    distances = columns[is_plain] - columns[is_plain].mean()
    if distances.any():
        slope = float(distances @ middles / (distances @ distances))
    intercept = float(np.median(middles - slope * columns[is_plain]))
    return StraightLine(slope, intercept, thickness, len(columns))


def _along(line: StraightLine, image: Mask) -> Mask:
    """The ink along a line, without strokes that cross it."""
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    half = line.thickness / 2 + 1
    near: Any = image & (np.abs(rows - line.slope * columns - line.intercept) <= max(half, 2))
    rest: Any = image & ~near
    gap = int(2 * max(half, 2)) + 2
    padded: Any = np.pad(rest, ((gap, gap), (0, 0)))
    crossings: Any = scipy.ndimage.binary_closing(padded, np.ones((gap, 1), bool))[gap:-gap]
    return near & ~crossings
