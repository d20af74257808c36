"""Cuts between digits: candidates are tried, and the surest reading of the whole line decides.

The chapter's hint: "try cuts, and let the classifier's confidence say whether a cut is good". A line
is cut at every seam where it might be; a digit is what lies between any two of them, be it a part of
a mark or several. The reading of a line is the sequence of digits with the greatest sum of ln p, less
what its cuts and shapes cost, found by dynamic programming.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nnjax.recognition._seams import Mask, Seams, find_seams
from nnjax.recognition.components import Box, Pixels, box_around

# In units of ln p; lengths are in heights of the line. Chosen on pictures of validation digits.
CUT = 1.0  # for each cut, and
THROUGH = 4.0  # for each height of ink that it parts
APART = 4.0  # for each height of blank between the pieces of one digit
WIDE = 12.0  # for each height that a digit is wider than
WIDEST = 0.97  # heights, and
LOW = 20.0  # for each height that a digit is lower than
LOWEST = 0.5
ODD = 1.0  # for each standard deviation of strangeness, from
USUAL = -1.8  # on

MOST_WIDE = 1.6  # heights: what is wider and can be cut is not one digit
NEXT = 60  # seams after one, among which that is sought which ends the digit


class Candidate(NamedTuple):
    """A digit that may be: what is between two of a line's seams.

    Attributes:
      first, last: the seams, by place, on its left and on its right.
      box: in the picture.
      apart: how many columns between its pieces are blank.
      cut: what the seam on its right costs, in pairs of inked pixels.
    """

    first: int
    last: int
    box: Box
    apart: int
    cut: int

    def cost(self, height: float, strangeness: float) -> float:
        """What taking it for a digit costs in a line of this height, but for the network's doubt."""
        tall = max(height, self.box.height)
        return (
            (self.cut > 0) * CUT
            + THROUGH * self.cut / height
            + APART * self.apart / height
            + WIDE * max(0.0, self.box.width / tall - WIDEST)
            + LOW * max(0.0, LOWEST - self.box.height / height)
            + ODD * max(0.0, strangeness - USUAL)
        )


def candidates_of(line: Sequence[Pixels], height: float) -> Iterator[tuple[Candidate, Pixels]]:
    """All that may be a digit in a line of marks, with its pixels: between two seams and not too wide.

    What no seam parts further is one however wide, so that there always is a reading.
    """
    pixels = np.concatenate(line, axis=1)
    place = box_around(pixels)
    mask = np.zeros((place.height, place.width), int)
    mask[pixels[0] - place.top, pixels[1] - place.left] = 1
    seams = find_seams(mask, height)
    for i in range(len(seams.cost) - 1):
        narrowest = True
        for j, box in _to_the_right(i, seams):
            if narrowest or box.width <= MOST_WIDE * max(height, box.height):
                own = _between(i, j, seams, mask, box)
                apart = box.width - np.unique(own[1]).size
                in_picture = Box(*np.add(box, (place.top, place.left) * 2).tolist())
                candidate = Candidate(i, j, in_picture, apart, int(seams.cost[j]))
                yield candidate, own + np.array([[place.top], [place.left]])
            narrowest = False


def _to_the_right(i: int, seams: Seams) -> Iterator[tuple[int, Box]]:
    """Seams to the right of seam i, of the next ones and the last, and boxes around what is between."""
    end = len(seams.cost) - 1
    others = np.r_[i + 1 : min(i + 1 + NEXT, end), end]
    more = seams.begins[others] - seams.begins[i]
    inked = more > 0
    left = np.where(inked, seams.begins[i], seams.begins.max()).min(axis=1)
    right = np.where(inked, seams.ends[others], 0).max(axis=1)
    top, bottom = inked.argmax(axis=1), inked.shape[1] - inked[:, ::-1].argmax(axis=1)
    for k in np.flatnonzero((more >= 0).all(axis=1)).tolist():
        yield int(others[k]), Box(int(top[k]), int(left[k]), int(bottom[k]), int(right[k]))


def _between(i: int, j: int, seams: Seams, mask: Mask, box: Box) -> Pixels:
    """The inked pixels between seams i and j, all of them in this box of the mask."""
    rows, columns = np.nonzero(mask[box.top : box.bottom, box.left : box.right])
    rows, columns = rows + box.top, columns + box.left
    kept = (columns >= seams.begins[i, rows]) & (columns < seams.begins[j, rows])
    return np.stack([rows[kept], columns[kept]])


def best_reading(candidates: Sequence[Candidate], scores: Sequence[float]) -> list[int]:
    """The candidates, by place, that lead from the first seam to the last with the greatest sum of scores.

    >>> nowhere = Box(0, 0, 1, 1), 0, 0
    >>> whole, left, right = (Candidate(i, j, *nowhere) for i, j in ((0, 2), (0, 1), (1, 2)))
    >>> best_reading([whole, left, right], [-3.0, -1.0, -1.0])
    [1, 2]
    """
    end = max(candidate.last for candidate in candidates)
    best, by = np.full(end + 1, -np.inf), np.zeros(end + 1, int)
    best[0] = 0
    for i in sorted(range(len(candidates)), key=lambda i: candidates[i].first):
        first, last = candidates[i][:2]
        if (total := best[first] + scores[i]) > best[last]:
            best[last], by[last] = total, i
    chosen, at = [], end
    while at:
        chosen.append(int(by[at]))
        at = candidates[by[at]].first
    return chosen[::-1]
