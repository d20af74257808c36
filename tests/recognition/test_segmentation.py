"""Seams, the candidates between them, and the best sequence of candidates."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from scipy.sparse import coo_array, csgraph

import nnjax
from experiments.corruptions import CORRUPTIONS, draw
from nnjax.recognition.components import Box
from nnjax.recognition.segmentation import (
    JUMP_COST,
    PAIR_COST,
    STEP_COST,
    Candidate,
    _cheapest_paths,
    best_sequence,
    find_seams,
    segment,
)

masks = arrays(
    np.int64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7), elements=st.integers(0, 1)
)


def sideways_cost(distance):
    return STEP_COST if distance == 1 else JUMP_COST * distance


def pairs_crossed(mask, row, x, to):
    """The number of vertical pairs between a row and the one above from position x to another."""
    passed = slice(min(x, to), max(x, to))
    return int(np.sum(mask[row - 1, passed] * mask[row, passed]))


def dijkstra_costs(mask):
    """The cost of the cheapest path from the first row to each position, by Dijkstra's algorithm."""
    (rows, columns), padded = mask.shape, np.pad(mask, ((0, 0), (1, 1)))
    in_row = PAIR_COST * padded[:, :-1] * padded[:, 1:]
    node = 1 + np.arange(rows * (columns + 1)).reshape(rows, -1)
    # A cost of 0 would not be an edge of a sparse graph, so each edge costs 1 more.
    edges = [(0, node[0, x], in_row[0, x] + 1) for x in range(columns + 1)]
    for r, x, to in itertools.product(range(1, rows), range(columns + 1), range(columns + 1)):
        cost = PAIR_COST * pairs_crossed(mask, r, x, to) + sideways_cost(abs(to - x)) + in_row[r, to]
        edges.append((node[r - 1, x], node[r, to], cost + 1))
    start, end, cost = np.array(edges).T
    graph = coo_array((cost, (start, end)), shape=(node.max() + 1,) * 2).tocsr()
    return csgraph.dijkstra(graph, indices=0)[1:].reshape(rows, -1) - np.arange(1, rows + 1)[:, None]


@settings(deadline=None)
@given(masks)
def test_cheapest_paths_cost_as_much_as_dijkstra_s(mask):
    total, previous = _cheapest_paths(mask)
    np.testing.assert_array_equal(total, dijkstra_costs(mask))
    positions = range(mask.shape[1] + 1)

    def preference(row, x, start):
        """The cost of a path through `start` in the row above, then its distance, then its position."""
        cost = sideways_cost(abs(x - start)) + PAIR_COST * pairs_crossed(mask, row, x, start)
        return total[row - 1, start] + cost, abs(x - start), start

    for row, x in itertools.product(range(1, len(mask)), positions):
        assert previous[row, x] == min(preference(row, x, start) for start in positions)[-1]


@pytest.mark.parametrize("seed", range(20))
def test_cut_pairs_are_the_neighboring_ink_pixels_that_a_seam_separates(seed):
    mask = (np.random.default_rng(seed).random((20, 30)) < 0.75).astype(int)
    seams = find_seams(mask, 20)
    assert len(seams.cut_pairs) > 3
    assert len({tuple(next_ink) for next_ink in seams.next_ink}) == len(seams.next_ink)
    for next_ink, cut_pairs in zip(seams.next_ink, seams.cut_pairs, strict=True):
        is_left = np.arange(mask.shape[1]) < next_ink[:, None]
        separated = 0
        for axis, n in enumerate(mask.shape):
            differs = np.roll(is_left, -1, axis) != is_left
            pairs = np.roll(mask, -1, axis) * mask * differs
            separated += np.sum(pairs.take(range(n - 1), axis))
        assert cut_pairs == separated


def test_two_discs_that_touch_are_cut_at_the_neck():
    rows, columns = np.indices((60, 110))
    discs = np.hypot(rows - 30, columns - 30) < 26, np.hypot(rows - 30, columns - 80) < 26
    neck = np.min(np.sum(discs[0] | discs[1], axis=0)[40:70])
    seams = find_seams((discs[0] | discs[1]).astype(int), 52)
    cut = 1 + np.argmin(seams.cut_pairs[1:-1])
    assert seams.cut_pairs[cut] == neck
    is_left = columns < seams.next_ink[cut][:, None]
    assert np.mean(is_left[discs[0]]) > 0.98
    assert np.mean(is_left[discs[1]]) < 0.02


def test_a_bar_that_reaches_over_the_next_digit_is_separated_without_a_cut():
    """As with a 5 whose bar is above the next digit: no straight line separates the two."""
    mask = np.zeros((40, 60), int)
    mask[2:6, 5:30] = mask[:, 5:9] = 1
    mask[12:, 20:24] = mask[12:16, 20:50] = 1
    seams = find_seams(mask, 40)
    (free,) = np.flatnonzero(seams.cut_pairs[1:-1] == 0)
    is_left = np.arange(60) < seams.next_ink[1 + free][:, None]
    np.testing.assert_array_equal(mask * is_left, ndimage.label(mask)[0] == 1)


def test_a_cut_is_found_even_if_another_one_nearby_is_cheaper():
    """An arm of one digit meets the next: seams through the middle row all cut the arm where it is thin."""
    mask = np.zeros((40, 40), int)
    mask[:, 5:9] = mask[6:10, 9:25] = mask[:, 25:29] = 1
    mask[6:8, 12:14] = 0
    seams = find_seams(mask, 40)
    first_digit = np.sum(mask[:, :25])
    left_of = np.array([np.sum(mask * (np.arange(40) < next_ink[:, None])) for next_ink in seams.next_ink])
    assert np.min(np.abs(left_of - first_digit)) <= 4  # a column of the arm


def blobs(seed):
    """A random mask of blobs, and its components."""
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 200)), 4) > 0.01
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return mask, [np.stack(np.nonzero(labels == i)) for i in range(1, count + 1)]


@pytest.mark.parametrize("seed", range(5))
def test_the_narrowest_candidates_contain_every_ink_pixel_exactly_once(seed):
    mask, components = blobs(seed)
    narrowest = {}
    segmentation = segment(components, 40)
    for candidate in segmentation.candidates:
        narrowest.setdefault(candidate.first, (candidate.last, segmentation.pixels(candidate)))
    chain, seam = [], 0
    while seam in narrowest:
        seam, pixels = narrowest[seam]
        chain.append(pixels.T)
    assert len(chain) > 3
    assert sorted(map(tuple, np.concatenate(chain))) == sorted(zip(*np.nonzero(mask), strict=True))


def test_a_block_that_no_seam_divides_is_one_candidate_however_wide():
    segmentation = segment([np.stack(np.nonzero(np.ones((40, 200))))], 40)
    (candidate,) = segmentation.candidates
    assert (candidate.first, candidate.last, candidate.box) == (0, 1, Box(0, 0, 40, 200))
    assert segmentation.pixels(candidate).shape == (2, 8000)


@pytest.mark.parametrize("seed", range(5))
def test_every_candidate_is_between_its_seams(seed):
    mask, components = blobs(seed)
    extent = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] + [0, 1] for axis in (1, 0)]
    seams = find_seams(mask[slice(*extent[0]), slice(*extent[1])].astype(int), 40)
    segmentation = segment(components, 40)
    for c in segmentation.candidates:
        pixels = segmentation.pixels(c)
        rows, columns = pixels - [[extent[0][0]], [extent[1][0]]]
        assert (columns >= seams.next_ink[c.first, rows]).all()
        assert (columns < seams.next_ink[c.last, rows]).all()
        assert c.box == (*pixels.min(axis=1), *(pixels.max(axis=1) + 1))


@settings(deadline=None)
@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_best_sequence_has_the_largest_sum_of_all_sequences(count, random):
    pairs = itertools.combinations(range(count + 1), 2)
    ranges = [(i, j) for i, j in pairs if random.random() < 0.8 or j == i + 1]
    candidates = [Candidate(i, j, Box(0, 0, 1, 1), 0, 0) for i, j in ranges]
    scores = [random.uniform(-9, 0) for _ in ranges]

    def sequences(seam):
        if seam == count:
            yield []
        for k, (i, j) in enumerate(ranges):
            if i == seam:
                yield from ([k, *rest] for rest in sequences(j))

    largest = max(sum(scores[k] for k in sequence) for sequence in sequences(0))
    best = best_sequence(candidates, scores)
    assert sum(scores[k] for k in best) == pytest.approx(largest)
    assert [ranges[k][0] for k in best] == [0, *(ranges[k][1] for k in best[:-1])]


@pytest.mark.slow
@pytest.mark.parametrize(("corruption", "count", "minimum"), [("touching", 2, 0.75), ("in pieces", 1, 0.9)])
def test_digits_that_touch_are_cut_and_fragments_are_joined(mnist, mnist_model, corruption, count, minimum):
    """The fraction of 40 pictures of test digits in which the right number of digits is recognized."""
    images, counts = mnist.test.inputs.reshape(-1, 28, 28), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(images), count)
        picture, _ = draw(rng, images[chosen], mnist.test.targets[chosen], CORRUPTIONS[corruption])
        counts.append(len(nnjax.read_picture(picture, mnist_model).text))
    assert np.mean(np.array(counts) == count) >= minimum
