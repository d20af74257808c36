"""Cuts between digits: candidates are tried, and the surest reading of the whole line decides.

The chapter's hint: "try cuts, and let the classifier's confidence say whether a cut is good". Each
mark is cut wherever it might be, into atoms; a digit is a run of atoms, of one mark or of several.
The reading of a line is the sequence of digits with the greatest sum of ln p, less what its cuts
and joins cost, found by dynamic programming.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from nnjax.images.marks import Box, Pixels, around, box_around

# In units of ln p; lengths are in heights of the line. Chosen on pictures of validation digits.
CUT = 0.4  # for each cut, and
THROUGH = 2.0  # for each height of ink that it goes through
APART = 1.5  # for each height of blank between the pieces of one digit
WIDE = 9.0  # for each height that a digit is wider than
WIDEST = 0.95  # heights, and
LOW = 2.0  # for each height that a digit is lower than the half
ODD = 0.7  # for each standard deviation of strangeness, from
USUAL = -3.0  # on

ASIDE = 0.1  # for each column that a seam goes aside, in pixels of ink
PIECES = 10  # atoms of a digit, at most


class Atom(NamedTuple):
    """A piece of ink that no candidate cuts further, and what it costs to cut it off on its right."""

    pixels: Pixels
    box: Box
    cut: float


class Candidate(NamedTuple):
    """A digit that may be: atoms `first` to `last` - 1 of a line.

    `apart` is the blank between its pieces, and `cut` the cost of the cut on its right.
    """

    first: int
    last: int
    pixels: Pixels
    box: Box
    apart: float
    cut: float

    def cost(self, height: float, strangeness: float) -> float:
        """What taking it for a digit costs in a line of this height, but for the network's doubt."""
        tall = max(height, self.box.height)
        return (
            self.cut
            + APART * self.apart / height
            + WIDE * max(0.0, self.box.width / tall - WIDEST)
            + LOW * max(0.0, 0.5 - self.box.height / height)
            + ODD * max(0.0, strangeness - USUAL)
        )


def atoms_of(marks: Sequence[Pixels], height: float) -> list[Atom]:
    """The marks of a line, cut wherever they might be, from left to right."""
    atoms = [atom for mark in marks for atom in _cut(mark, height)]
    return sorted(atoms, key=lambda atom: atom.box.left + atom.box.right)


def _cut(mark: Pixels, height: float) -> list[Atom]:
    seams, through = candidate_cuts(mark, height)
    rows, columns = mark
    part = np.sum(columns >= seams[:, rows - rows.min()], axis=0)
    pieces = [mark[:, part == i] for i in range(len(seams) + 1)]
    costs = [*(CUT + THROUGH * through / height), 0.0]
    return [Atom(p, box_around(p), cost) for p, cost in zip(pieces, costs, strict=True) if p.size]


def candidate_cuts(mark: Pixels, height: float) -> tuple[Int[np.ndarray, "n rows"], Float[np.ndarray, " n"]]:
    """Where a mark might be cut: seams from its top to its bottom row, and the ink that each goes through.

    A seam is the column, in each row, from which on all is to the right of it; from row to row it
    moves by a column at most. Through each column of the middle row there is one with the least
    ink; candidates are the least of these among their neighbours.
    """
    box = box_around(mark)
    mask = np.zeros((box.height, box.width))
    mask[mark[0] - box.top, mark[1] - box.left] = 1
    middle, margin, reach = box.height // 2, max(2, int(height / 12)), max(1, int(height / 16))
    down, up = _least(mask[: middle + 1]), _least(mask[middle:][::-1])
    through = down[-1] + up[-1] - mask[middle]
    smooth = ndimage.uniform_filter1d(through, 3, mode="nearest")  # the middle of a valley
    lowest = ndimage.minimum_filter1d(smooth, 2 * reach + 1, mode="nearest")
    chosen: list[int] = []
    for x in range(margin, box.width - margin):
        if smooth[x] <= lowest[x] + 1e-9 and through[x] <= height / 2 and x - (chosen or [0])[-1] >= margin:
            chosen.append(x)
    seams = np.concatenate([_back(down, chosen)[::-1], _back(up, chosen)[1:]]).T + box.left
    return seams, through[chosen]


def _least(mask: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows width"]:
    """The least ink on the way from the first row to each pixel, a column at most aside in each row."""
    total = mask.copy()
    for row in range(1, len(mask)):
        total[row] += np.min(_aside(total[row - 1]), axis=0)
    return total


def _aside(row: Float[np.ndarray, " width"]) -> Float[np.ndarray, "3 width"]:
    """What lies straight ahead, then left and right, of which going aside costs a little."""
    padded = np.pad(row, 1, constant_values=np.inf)
    return np.stack([padded[1:-1], padded[:-2] + ASIDE, padded[2:] + ASIDE])


def _back(total: Float[np.ndarray, "rows width"], columns: Sequence[int]) -> Int[np.ndarray, "rows n"]:
    """The ways of `_least` to these columns of the last row, from there to the first row."""
    at = np.asarray(columns, int)
    way = [at]
    for row in total[-2::-1]:
        at = at + np.array([0, -1, 1])[np.argmin(_aside(row)[:, at], axis=0)]
        way.append(at)
    return np.stack(way)


def candidates_of(atoms: Sequence[Atom], height: float) -> list[Candidate]:
    """All runs of atoms that may be a digit, with what each costs but for the network's doubt."""
    found = []
    for first in range(len(atoms)):
        box, apart = atoms[first].box, 0.0
        for last in range(first + 1, min(first + PIECES, len(atoms)) + 1):
            new = atoms[last - 1].box
            apart += max(0, new.left - box.right)
            box = around(box, new)
            if last > first + 1 and box.width > 1.6 * max(height, box.height):
                break
            pixels = np.concatenate([atom.pixels for atom in atoms[first:last]], axis=1)
            found.append(Candidate(first, last, pixels, box, apart, atoms[last - 1].cut))
    return found


def best_reading(candidates: Sequence[Candidate], scores: Sequence[float], count: int) -> list[int]:
    """The candidates, by place, that cover all `count` atoms in order with the greatest sum of scores.

    >>> nowhere = np.zeros((2, 1), int), Box(0, 0, 1, 1), 0.0, 0.0
    >>> whole, left, right = (Candidate(i, j, *nowhere) for i, j in ((0, 2), (0, 1), (1, 2)))
    >>> best_reading([whole, left, right], [-3.0, -1.0, -1.0], 2)
    [1, 2]
    """
    best, by = np.full(count + 1, -np.inf), np.zeros(count + 1, int)
    best[0] = 0
    for i in sorted(range(len(candidates)), key=lambda i: candidates[i].first):
        first, last = candidates[i][:2]
        if (total := best[first] + scores[i]) > best[last]:
            best[last], by[last] = total, i
    chosen, at = [], count
    while at:
        chosen.append(int(by[at]))
        at = candidates[by[at]].first
    return chosen[::-1]
