"""Seams: where a line of writing might be cut, from its top row to its bottom row.

A seam has a place in each row: what is left of it belongs to one digit, what is right of it to the
next. From row to row it may go aside. What it costs is the ink that it parts, in pairs of
neighbouring pixels, one on either side. Cheapest seams are found by dynamic programming, as in
Avidan and Shamir, *Seam Carving for Content-Aware Image Resizing*, 2007.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from scipy import ndimage

# In tenths of a pair, so that sums are exact:
PAIR = 10
STEP = 1  # a column aside from a row to the next, and
LEAP = 5  # each, where they are more

# In heights of the digits:
ROWS = 0.2  # between rows through every place of which seams are tried
NEAR = 0.05  # either way, of the seams through these places of a row the cheapest are taken,
ASUNDER = 0.07  # of places this far from each other, which cost at most
DEAREST = 0.5  # as many pairs

MOST_ROWS = 100  # of such rows, about

Mask = Int[np.ndarray, "rows columns"]  # 1 where there is ink, else 0


class Seams(NamedTuple):
    """Seams from left to right, all of which part the ink differently.

    Attributes:
      begins: of each seam in each row, the first inked column to the right of it, or the mask's width.
      ends: of each seam in each row, the column after the last inked one to the left of it, or 0.
      cost: of each seam, how many pairs of inked neighbours it parts.
    """

    begins: Int[np.ndarray, "n rows"]
    ends: Int[np.ndarray, "n rows"]
    cost: Int[np.ndarray, " n"]


def find_seams(mask: Mask, height: float) -> Seams:
    """Where a line whose digits are of this height might be cut; first and last, its two ends.

    Through each place of a row there is a cheapest seam. Several rows are looked at: where strokes
    meet aslant or one below another, seams through the middle row alone would miss it.

    >>> two_strokes = np.zeros((20, 20), int)
    >>> two_strokes[:, 4:8] = two_strokes[:, 12:16] = two_strokes[-3:] = 1
    >>> find_seams(two_strokes, 20).cost
    array([0, 3, 3, 3, 3, 3, 0])
    """
    rows, columns = mask.shape
    ends = np.array([[0], [columns]]) * np.ones(rows, int)
    (down, from_above), (up, from_below), across = _cheapest(mask), _cheapest(mask[::-1]), _across(mask)
    places, apart = [ends], max(1, int(ROWS * height), rows // MOST_ROWS)
    for row in range(min(apart, rows // 2), rows, apart):
        below = rows - 1 - row
        chosen = _chosen(down[row] + up[below] - PAIR * across[row], height)
        ways = _back(from_above, row, chosen)[::-1], _back(from_below, below, chosen)[1:]
        places.append(np.concatenate(ways).T)
    return _distinct(np.concatenate(places), mask)


def _across(mask: Mask) -> Int[np.ndarray, "rows columns+1"]:
    """Of each place of a row, whether there is ink on both sides."""
    padded = np.pad(mask, ((0, 0), (1, 1)))
    return padded[:, :-1] * padded[:, 1:]


def _along(mask: Mask) -> Int[np.ndarray, "rows columns+1"]:
    """How many pairs a seam parts that goes from the first place to each as it enters a row."""
    both = np.pad(mask[1:] * mask[:-1], ((1, 0), (1, 0)))
    return np.cumsum(both, axis=1)


def _cheapest(mask: Mask) -> tuple[Int[np.ndarray, "rows columns+1"], Int[np.ndarray, "rows columns+1"]]:
    """What the cheapest way from the first row to each place costs, and where it was in the row before.

    Of equal ways the straightest is taken, of these the one from the left: costs are multiplied by
    the number n of places, so that how far aside it goes can be added.
    """
    total, along = PAIR * _across(mask), PAIR * _along(mask)
    n = total.shape[1]
    places = np.arange(n)
    came = np.tile(places, (len(total), 1))
    for row in range(1, len(total)):
        above, aside = n * total[row - 1], n * along[row] + (n * LEAP + 1) * places
        step = n * (np.diff(along[row]) + STEP) + 1
        left = np.minimum.accumulate(above - aside) + aside
        right = np.minimum.accumulate((above + aside)[::-1])[::-1] - aside
        left[1:] = np.minimum(left[1:], above[:-1] + step)
        right[:-1] = np.minimum(right[:-1], above[1:] + step)
        best = np.minimum(left, right)
        total[row] += best // n
        came[row] = places + np.where(left <= right, -1, 1) * (best % n)
    return total, came


def _back(
    came: Int[np.ndarray, "rows columns+1"], row: int, places: Sequence[int]
) -> Int[np.ndarray, "rows n"]:
    """The cheapest ways to these places of a row, from there to the first row."""
    way = [np.asarray(places, int)]
    for r in range(row, 0, -1):
        way.append(came[r, way[-1]])
    return np.stack(way)


def _chosen(total: Int[np.ndarray, " places"], height: float) -> list[int]:
    """The places of a row at which a cut is tried: the cheapest among those near them."""
    near, asunder = max(1, int(NEAR * height)), max(1, int(ASUNDER * height))
    lowest = ndimage.minimum_filter1d(total, 2 * near + 1, mode="nearest")
    chosen: list[int] = []
    for x in np.flatnonzero((total == lowest) & (total <= PAIR * DEAREST * height)).tolist():
        if not chosen or x - chosen[-1] >= asunder:
            chosen.append(x)
    return chosen


def _distinct(places: Int[np.ndarray, "n rows"], mask: Mask) -> Seams:
    """Of seams that part the ink in the same way the cheapest, from left to right."""
    (rows, columns), row = mask.shape, np.arange(mask.shape[0])
    across, along = _across(mask), _along(mask)
    cost = np.sum(across[row, places], axis=1)
    cost += np.sum(np.abs(along[row[1:], places[:, 1:]] - along[row[1:], places[:, :-1]]), axis=1)
    at = np.arange(columns)
    next_ink = np.full((rows, columns + 1), columns)
    next_ink[:, :-1] = np.minimum.accumulate(np.where(mask, at, columns)[:, ::-1], axis=1)[:, ::-1]
    last_ink = np.zeros((rows, columns + 1), int)
    last_ink[:, 1:] = np.maximum.accumulate(np.where(mask, at + 1, 0), axis=1)
    cheap = np.argsort(cost, kind="stable")
    begins, first = np.unique(next_ink[row, places[cheap]], axis=0, return_index=True)
    kept = cheap[first[np.argsort(begins.sum(axis=1), kind="stable")]]
    return Seams(next_ink[row, places[kept]], last_ink[row, places[kept]], cost[kept])
