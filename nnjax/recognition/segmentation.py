"""Segmentation of a line of writing into digits, guided by the confidence of the network.

The book's hint: "try cuts, and let the classifier's confidence say whether a cut is good". A line is cut at
seams. A seam has a position in every row: ink to its left belongs to one digit, ink to its right to the next.
Its cost is the number of pairs of neighboring ink pixels that it separates. The cheapest seams are computed
by dynamic programming, as in Avidan and Shamir, *Seam Carving for Content-Aware Image Resizing*
(2007).

The ink between any two seams is a candidate for a digit: a part of a component, or several components. The
result for a line is the sequence of candidates with the largest sum of ln p minus penalties for cuts and
shapes. It is computed by dynamic programming, too.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Int

from nnjax.recognition.components import Box, Pixels, bounding_box

# Costs of a seam in tenths of a pair of ink pixels, so that sums are exact integers.
PAIR_COST = 10  # for each pair of neighboring ink pixels that it separates
STEP_COST = 1  # for moving one column sideways from one row to the next
JUMP_COST = 5  # for each column, if it moves sideways by more than one

# In heights of the line, except MAX_SEAM_ROWS.
SEAM_ROW_SPACING = 0.2  # seams are computed through every position of rows at this distance,
MAX_SEAM_ROWS = 100  # of about this many rows at most
SEAM_WINDOW = 0.05  # a seam must be the cheapest among positions this far to the left and right
MIN_SEAM_DISTANCE = 0.07  # between positions of the same row that are used
MAX_SEAM_PAIRS = 0.5  # pairs of pixels that a seam may separate
MAX_DIGIT_WIDTH = 1.6  # a wider candidate is not a digit, unless no seam divides it

MAX_SEAMS_PER_DIGIT = 60  # maximum of last - first of a candidate, unless it ends the line

# Penalties in units of ln p, lengths in heights of the line. Tuned on pictures of validation digits.
CUT_LENGTH_PENALTY = 8.0  # for each height of ink that a seam separates
GAP_PENALTY = 4.0  # for each height of blank columns inside a digit
WIDTH_PENALTY = 12.0  # for each height that a digit is wider than MAX_FREE_WIDTH
MAX_FREE_WIDTH = 0.92
HEIGHT_PENALTY = 20.0  # for each height that a digit is lower than MIN_FREE_HEIGHT
MIN_FREE_HEIGHT = 0.5

Mask = Int[np.ndarray, "rows columns"]  # 1 for ink, 0 for paper
Positions = Int[np.ndarray, "rows columns+1"]  # position x is to the left of column x


class Seams(NamedTuple):
    """Different seams from left to right.

    Attributes:
      next_ink: for each seam and row, the first column with ink to the right, or the mask's width.
      previous_end: for each seam and row, the column after the last one with ink to the left, or 0.
      cut_pairs: for each seam, the number of pairs of neighboring ink pixels that it separates.
    """

    next_ink: Int[np.ndarray, "n rows"]
    previous_end: Int[np.ndarray, "n rows"]
    cut_pairs: Int[np.ndarray, " n"]


class Candidate(NamedTuple):
    """A candidate for a digit: the ink between two seams of a line.

    Attributes:
      first, last: the indices of the seams on its left and on its right.
      box: its box in the picture.
      blank_columns: the number of blank columns inside the box.
      cut_pairs: the `cut_pairs` of the seam on its right.
    """

    first: int
    last: int
    box: Box
    blank_columns: int
    cut_pairs: int

    def penalty(self, height: float) -> float:
        """The penalty for this candidate in a line of this height, without the network's ln p."""
        reference = max(height, self.box.height)
        return (
            CUT_LENGTH_PENALTY * self.cut_pairs / height
            + GAP_PENALTY * self.blank_columns / height
            + WIDTH_PENALTY * max(0.0, self.box.width / reference - MAX_FREE_WIDTH)
            + HEIGHT_PENALTY * max(0.0, MIN_FREE_HEIGHT - self.box.height / height)
        )


class Segmentation(NamedTuple):
    """The ink of a part of a line, its seams, and the candidates between them.

    Attributes:
      mask: 1 for ink, 0 for paper.
      corner: the row and the column of the picture where the mask begins.
      seams: the seams of the mask.
      candidates: the ink between two seams if it is not too wide. The ink between two neighboring seams is
        always a candidate, so a sequence from the first seam to the last exists.
    """

    mask: Mask
    corner: tuple[int, int]
    seams: Seams
    candidates: list[Candidate]

    def pixels(self, candidate: Candidate) -> Pixels:
        """The pixels of a candidate in the picture."""
        first, last, box, *_ = candidate
        top, left = self.corner
        inside = _between(first, last, self.seams, self.mask, box.moved(-top, -left))
        return np.stack(np.nonzero(inside)) + np.array([[box.top], [box.left]])


def segment(components: Sequence[Pixels], height: float) -> Segmentation:
    """All candidates for digits in a part of a line.

    Args:
      components: the pixels of the components.
      height: the height of the digits, in pixels.
    """
    pixels = np.concatenate(components, axis=1)
    origin = bounding_box(pixels)
    corner = top, left = origin.top, origin.left
    mask = np.zeros((origin.height, origin.width), int)
    mask[pixels[0] - top, pixels[1] - left] = 1
    seams, candidates = find_seams(mask, height), []
    for i in range(len(seams.cut_pairs) - 1):
        for k, (j, box) in enumerate(_boxes_right_of(i, seams)):
            if k == 0 or box.width <= MAX_DIGIT_WIDTH * max(height, box.height):
                has_ink = _between(i, j, seams, mask, box).any(axis=0)
                blank_columns = box.width - int(has_ink.sum())
                candidates.append(Candidate(i, j, box.moved(*corner), blank_columns, int(seams.cut_pairs[j])))
    return Segmentation(mask, corner, seams, candidates)


def _boxes_right_of(i: int, seams: Seams) -> Iterator[tuple[int, Box]]:
    """Each seam to the right of seam i that may end a digit, with the box around the ink between them."""
    end = len(seams.cut_pairs) - 1
    others = np.r_[i + 1 : min(i + 1 + MAX_SEAMS_PER_DIGIT, end), end]
    widths = seams.next_ink[others] - seams.next_ink[i]
    has_ink = widths > 0
    left = np.where(has_ink, seams.next_ink[i], seams.next_ink.max()).min(axis=1)
    right = np.where(has_ink, seams.previous_end[others], 0).max(axis=1)
    top, bottom = has_ink.argmax(axis=1), has_ink.shape[1] - has_ink[:, ::-1].argmax(axis=1)
    for k in np.flatnonzero((widths >= 0).all(axis=1)).tolist():
        yield int(others[k]), Box(int(top[k]), int(left[k]), int(bottom[k]), int(right[k]))


def _between(i: int, j: int, seams: Seams, mask: Mask, box: Box) -> Bool[np.ndarray, "h w"]:
    """Whether each pixel of a box is ink between seams i and j."""
    rows, columns = slice(box.top, box.bottom), np.arange(box.left, box.right)
    inside = (columns >= seams.next_ink[i, rows, None]) & (columns < seams.next_ink[j, rows, None])
    return inside & (mask[rows, box.left : box.right] > 0)


def best_sequence(candidates: Sequence[Candidate], scores: Sequence[float]) -> list[int]:
    """The indices of the candidates that lead from the first seam to the last with the largest sum of scores.

    >>> shape = Box(0, 0, 1, 1), 0, 0
    >>> both, left, right = (Candidate(i, j, *shape) for i, j in ((0, 2), (0, 1), (1, 2)))
    >>> best_sequence([both, left, right], [-3.0, -1.0, -1.0])
    [1, 2]
    """
    end = max(candidate.last for candidate in candidates)
    best, reached_by = np.full(end + 1, -np.inf), np.zeros(end + 1, int)
    best[0] = 0
    for i in sorted(range(len(candidates)), key=lambda i: candidates[i].first):
        first, last = candidates[i][:2]
        if (total := best[first] + scores[i]) > best[last]:
            best[last], reached_by[last] = total, i
    sequence, seam = [], end
    while seam:
        sequence.append(int(reached_by[seam]))
        seam = candidates[reached_by[seam]].first
    return sequence[::-1]


def find_seams(mask: Mask, height: float) -> Seams:
    """The seams at which a line may be cut; the first and the last one are its ends.

    The cheapest seam through each position of a row is a candidate. Several rows are used, because seams
    through the middle row alone miss cuts where strokes meet at an angle or below each other.

    Args:
      mask: the ink of the line.
      height: the height of its digits in pixels.

    >>> two_strokes = np.zeros((20, 20), int)
    >>> two_strokes[:, 4:8] = two_strokes[:, 12:16] = two_strokes[-3:] = 1
    >>> find_seams(two_strokes, 20).cut_pairs
    array([0, 3, 3, 3, 3, 3, 0])
    """
    rows, columns = mask.shape
    ends = np.array([[0], [columns]]) * np.ones(rows, int)
    (from_top, above), (from_bottom, below) = _cheapest_paths(mask), _cheapest_paths(mask[::-1])
    row_cost = PAIR_COST * _pairs_in_rows(mask)  # both directions count it
    seams, spacing = [ends], max(1, int(SEAM_ROW_SPACING * height), rows // MAX_SEAM_ROWS)
    for row in range(min(spacing, rows // 2), rows, spacing):
        mirrored = rows - 1 - row
        cost = from_top[row] + from_bottom[mirrored] - row_cost[row]
        positions = _local_minima(cost, height)
        up, down = _trace_back(above, row, positions), _trace_back(below, mirrored, positions)
        seams.append(np.concatenate([up[::-1], down[1:]]).T)
    return _distinct_seams(np.concatenate(seams), mask)


def _pairs_in_rows(mask: Mask) -> Positions:
    """Whether each position separates a pair of ink pixels of its row."""
    padded = np.pad(mask, ((0, 0), (1, 1)))
    return padded[:, :-1] * padded[:, 1:]


def _pairs_between_rows(mask: Mask) -> Positions:
    """The number of vertical pairs that a seam separates if it moves from 0 to each position of a row."""
    pairs = np.pad(mask[1:] * mask[:-1], ((1, 0), (1, 0)))
    return np.cumsum(pairs, axis=1)


def _cheapest_paths(mask: Mask) -> tuple[Positions, Positions]:
    """The cost of the cheapest path from the first row to each position, and its position in the row above.

    Among equally cheap paths it is the one that moves sideways least, and among these the one from the
    left. To compare both at once, costs are multiplied by the number n of positions, and the distance is
    added.
    """
    total, vertical = PAIR_COST * _pairs_in_rows(mask), PAIR_COST * _pairs_between_rows(mask)
    n = total.shape[1]
    positions = np.arange(n)
    previous = np.tile(positions, (len(total), 1))
    for row in range(1, len(total)):
        above, jumps = n * total[row - 1], n * vertical[row] + (n * JUMP_COST + 1) * positions
        step = n * (np.diff(vertical[row]) + STEP_COST) + 1
        from_left = np.minimum.accumulate(above - jumps) + jumps
        from_right = np.minimum.accumulate((above + jumps)[::-1])[::-1] - jumps
        from_left[1:] = np.minimum(from_left[1:], above[:-1] + step)
        from_right[:-1] = np.minimum(from_right[:-1], above[1:] + step)
        best = np.minimum(from_left, from_right)
        total[row] += best // n
        previous[row] = positions + np.where(from_left <= from_right, -1, 1) * (best % n)
    return total, previous


def _trace_back(previous: Positions, row: int, positions: Sequence[int]) -> Int[np.ndarray, "rows n"]:
    """The cheapest paths to these positions of a row, from there back to the first row."""
    path = [np.asarray(positions, int)]
    for r in range(row, 0, -1):
        path.append(previous[r, path[-1]])
    return np.stack(path)


def _local_minima(cost: Int[np.ndarray, " positions"], height: float) -> list[int]:
    """The positions of a row that are cheap enough, cheapest in their window and not too close."""
    window, distance = max(1, int(SEAM_WINDOW * height)), max(1, int(MIN_SEAM_DISTANCE * height))
    lowest = scipy.ndimage.minimum_filter1d(cost, 2 * window + 1, mode="nearest")
    minima: list[int] = []
    for x in np.flatnonzero((cost == lowest) & (cost <= PAIR_COST * MAX_SEAM_PAIRS * height)).tolist():
        if not minima or x - minima[-1] >= distance:
            minima.append(x)
    return minima


def _distinct_seams(seams: Int[np.ndarray, "n rows"], mask: Mask) -> Seams:
    """The seams from left to right; of those that separate the ink in the same way, the cheapest."""
    (rows, columns), row = mask.shape, np.arange(mask.shape[0])
    in_row, between = _pairs_in_rows(mask), _pairs_between_rows(mask)
    cut_pairs = np.sum(in_row[row, seams], axis=1)
    cut_pairs += np.sum(np.abs(between[row[1:], seams[:, 1:]] - between[row[1:], seams[:, :-1]]), axis=1)
    column = np.arange(columns)
    next_ink = np.full((rows, columns + 1), columns)
    next_ink[:, :-1] = np.minimum.accumulate(np.where(mask, column, columns)[:, ::-1], axis=1)[:, ::-1]
    previous_end = np.zeros((rows, columns + 1), int)
    previous_end[:, 1:] = np.maximum.accumulate(np.where(mask, column + 1, 0), axis=1)
    by_cost = np.argsort(cut_pairs, kind="stable")
    split, index = np.unique(next_ink[row, seams[by_cost]], axis=0, return_index=True)
    chosen = by_cost[index[np.argsort(split.sum(axis=1), kind="stable")]]
    return Seams(next_ink[row, seams[chosen]], previous_end[row, seams[chosen]], cut_pairs[chosen])
