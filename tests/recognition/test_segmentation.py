"""Seams, the candidates between them, and the reading that is best of all."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from scipy.sparse import coo_array, csgraph

import nnjax
from experiments.corruptions import CORRUPTIONS, draw
from nnjax.recognition._seams import LEAP, PAIR, STEP, _cheapest, find_seams
from nnjax.recognition.components import Box
from nnjax.recognition.segmentation import Candidate, best_reading, candidates_of

masks = arrays(
    np.int64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7), elements=st.integers(0, 1)
)


def shortest(mask):
    """What the shortest way from the first row to each place costs, by Dijkstra's algorithm."""
    (rows, columns), pad = mask.shape, np.pad(mask, ((0, 0), (1, 1)))
    enter = PAIR * pad[:, :-1] * pad[:, 1:]
    node = 1 + np.arange(rows * (columns + 1)).reshape(rows, -1)
    edges = [
        (0, node[0, x], enter[0, x] + 1) for x in range(columns + 1)
    ]  # a 0 would be no edge: each 1 more
    for r, x, to in itertools.product(range(1, rows), range(columns + 1), range(columns + 1)):
        crossed = PAIR * int(np.sum(mask[r - 1, min(x, to) : max(x, to)] * mask[r, min(x, to) : max(x, to)]))
        aside = STEP if abs(to - x) == 1 else LEAP * abs(to - x)
        edges.append((node[r - 1, x], node[r, to], crossed + aside + enter[r, to] + 1))
    start, end, cost = np.array(edges).T
    graph = coo_array((cost, (start, end)), shape=(node.max() + 1,) * 2).tocsr()
    return csgraph.dijkstra(graph, indices=0)[1:].reshape(rows, -1) - np.arange(1, rows + 1)[:, None]


@settings(deadline=None)
@given(masks)
def test_the_cheapest_ways_are_the_shortest_of_a_graph(mask):
    total, came = _cheapest(mask)
    np.testing.assert_array_equal(total, shortest(mask))
    places = range(mask.shape[1] + 1)

    def way(row, x, before):
        """What coming from there costs, how far aside it is, and where: the order of preference."""
        passed = slice(min(x, before), max(x, before))
        aside = STEP if abs(x - before) == 1 else LEAP * abs(x - before)
        parted = PAIR * np.sum(mask[row - 1, passed] * mask[row, passed])
        return total[row - 1, before] + aside + parted, abs(x - before), before

    for row, x in itertools.product(range(1, len(mask)), places):
        assert came[row, x] == min(way(row, x, before) for before in places)[-1]


@pytest.mark.parametrize("seed", range(20))
def test_a_seam_costs_the_pairs_of_inked_neighbours_that_it_parts(seed):
    mask = (np.random.default_rng(seed).random((20, 30)) < 0.75).astype(int)
    seams = find_seams(mask, 20)
    assert len(seams.cost) > 3
    assert len({tuple(begins) for begins in seams.begins}) == len(seams.begins)
    for begins, cost in zip(seams.begins, seams.cost, strict=True):
        left = np.arange(mask.shape[1]) < begins[:, None]
        parted = sum(
            np.sum(
                (np.roll(mask, -1, axis) * mask * (np.roll(left, -1, axis) != left)).take(range(n - 1), axis)
            )
            for axis, n in enumerate(mask.shape)
        )
        assert cost == parted


def test_two_discs_that_touch_are_cut_at_the_neck():
    rows, columns = np.indices((60, 110))
    discs = np.hypot(rows - 30, columns - 30) < 26, np.hypot(rows - 30, columns - 80) < 26
    neck = np.min(np.sum(discs[0] | discs[1], axis=0)[40:70])
    seams = find_seams((discs[0] | discs[1]).astype(int), 52)
    cut = 1 + np.argmin(seams.cost[1:-1])
    assert seams.cost[cut] == neck
    left = columns < seams.begins[cut][:, None]
    assert np.mean(left[discs[0]]) > 0.98
    assert np.mean(left[discs[1]]) < 0.02


def test_a_bar_above_its_neighbour_is_parted_from_it():
    """As of a 5 that reaches over the next digit: no straight line is between the two, and no cut needed."""
    mask = np.zeros((40, 60), int)
    mask[2:6, 5:30] = mask[:, 5:9] = 1
    mask[12:, 20:24] = mask[12:16, 20:50] = 1
    seams = find_seams(mask, 40)
    (free,) = np.flatnonzero(seams.cost[1:-1] == 0)
    left = np.arange(60) < seams.begins[1 + free][:, None]
    np.testing.assert_array_equal(mask * left, ndimage.label(mask)[0] == 1)


def test_a_cut_is_found_where_another_one_nearby_is_cheaper():
    """An arm of one digit meets the next: seams through the middle row all cut it where it is thin."""
    mask = np.zeros((40, 40), int)
    mask[:, 5:9] = mask[6:10, 9:25] = mask[:, 25:29] = 1
    mask[6:8, 12:14] = 0
    seams = find_seams(mask, 40)
    first_digit = np.sum(mask[:, :25])
    parted = np.array([np.sum(mask * (np.arange(40) < begins[:, None])) for begins in seams.begins])
    assert np.min(np.abs(parted - first_digit)) <= 4  # a column of the arm


def blobs(seed):
    blob = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 200)), 4) > 0.01
    labels, count = ndimage.label(blob, np.ones((3, 3)))
    return blob, [np.stack(np.nonzero(labels == i)) for i in range(1, count + 1)]


@pytest.mark.parametrize("seed", range(5))
def test_what_no_seam_parts_holds_all_the_ink_and_none_of_it_twice(seed):
    blob, marks = blobs(seed)
    narrowest = {}
    for candidate, pixels in candidates_of(marks, 40):
        narrowest.setdefault(candidate.first, (candidate.last, pixels))
    chain, at = [], 0
    while at in narrowest:
        at, pixels = narrowest[at]
        chain.append(pixels.T)
    assert len(chain) > 3
    pixels = sorted(map(tuple, np.concatenate(chain)))
    assert pixels == sorted(zip(*np.nonzero(blob), strict=True))


def test_what_no_seam_parts_is_one_however_wide():
    ((candidate, pixels),) = candidates_of([np.stack(np.nonzero(np.ones((40, 200))))], 40)
    assert (candidate.first, candidate.last, candidate.box) == (0, 1, Box(0, 0, 40, 200))
    assert pixels.shape == (2, 8000)


@pytest.mark.parametrize("seed", range(5))
def test_every_candidate_is_between_its_seams(seed):
    blob, marks = blobs(seed)
    place = [np.flatnonzero(blob.any(axis=axis))[[0, -1]] + [0, 1] for axis in (1, 0)]
    seams = find_seams(blob[slice(*place[0]), slice(*place[1])].astype(int), 40)
    for c, pixels in candidates_of(marks, 40):
        rows, columns = pixels - [[place[0][0]], [place[1][0]]]
        assert (columns >= seams.begins[c.first, rows]).all()
        assert (columns < seams.begins[c.last, rows]).all()
        assert c.box == (*pixels.min(axis=1), *(pixels.max(axis=1) + 1))


@settings(deadline=None)
@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_best_reading_is_the_best_of_all(count, random):
    runs = [
        (i, j) for i, j in itertools.combinations(range(count + 1), 2) if random.random() < 0.8 or j == i + 1
    ]
    candidates = [Candidate(i, j, Box(0, 0, 1, 1), 0, 0) for i, j in runs]
    scores = [random.uniform(-9, 0) for _ in runs]

    def readings(at):
        if at == count:
            yield []
        for k, (i, j) in enumerate(runs):
            if i == at:
                yield from ([k, *rest] for rest in readings(j))

    best = max(sum(scores[k] for k in reading) for reading in readings(0))
    found = best_reading(candidates, scores)
    assert sum(scores[k] for k in found) == pytest.approx(best)
    assert [runs[k][0] for k in found] == [0, *(runs[k][1] for k in found[:-1])]


@pytest.mark.slow
@pytest.mark.parametrize(("trouble", "count", "least"), [("touching", 2, 0.75), ("in pieces", 1, 0.9)])
def test_digits_that_touch_are_cut_and_pieces_joined(mnist, tmp_path, trouble, count, least):
    """Forty pictures of test digits, of which as many are read as two digits, or one."""
    params = nnjax.init(jax.random.key(0), (784, 30, 10), nnjax.lecun)
    params = nnjax.fit(jax.random.key(1), params, mnist, learning_rate=1.0, epochs=5).params
    nnjax.save_model(tmp_path / "m.safetensors", params, nnjax.Objective(), mnist)
    model = nnjax.load_model(tmp_path / "m.safetensors")
    images, read = mnist.test.inputs.reshape(-1, 28, 28), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(images), count)
        picture, _ = draw(rng, images[chosen], mnist.test.targets[chosen], CORRUPTIONS[trouble])
        read.append(len(nnjax.read_picture(picture, model).text))
    assert np.mean(np.array(read) == count) >= least
