from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from experiments.pictures import TROUBLES, draw
from experiments.several_digits import EXPERIMENT, QUICK_PICTURES, SEPARATE, TOUCHING, distance
from nnjax.recognition.ink import find_ink


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def test_every_picture_counts_once(record):
    troubles = record["troubles"]
    assert [found["trouble"] for found in troubles] == list(TROUBLES)
    assert sum(found["pictures"] for found in troubles) == QUICK_PICTURES
    for found in troubles:
        assert 0 <= found["digits_right"] <= found["digits"] <= 8 * found["pictures"]
        assert 0 <= found["strings_right"] <= found["pictures"]
    assert record["doubt"]["right_doubted"] + record["doubt"]["right_sure"] == record["single_correct"]
    assert sum(f["digits_right"] for f in troubles) > 0.5 * sum(f["digits"] for f in troubles)


def test_claims_follow_the_record(record):
    for found in record["troubles"]:
        found["digits_right"] = found["digits"]
    assert [c.holds for c in EXPERIMENT.claims(record)][:-1] == [True] * len(TROUBLES)
    for found in record["troubles"]:
        found["digits_right"] = found["digits"] // 3
    record["troubles"][0]["digits_right"] = record["troubles"][0]["digits"]
    assert [c.holds for c in EXPERIMENT.claims(record)][:-1] == [True] + [False] * (len(TROUBLES) - 1)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_seed_makes_the_same_picture_again(digits, trouble):
    images, labels = digits.test.inputs[:7].reshape(-1, 8, 8), digits.test.targets[:7]
    first, again = (draw(np.random.default_rng(5), images, labels, TROUBLES[trouble]) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[0].dtype == np.uint8
    assert first[0].ndim == 3
    assert first[1].replace("\n", "") == "".join(map(str, labels))
    assert first[1].count("\n") == TROUBLES[trouble].lines - 1


@pytest.mark.parametrize("seed", range(10))
def test_touching_digits_touch_and_separate_ones_do_not(seed):
    rows, columns = np.indices((28, 28)) - 13.5
    discs = [
        255 * (np.hypot(rows / tall, columns / wide) < 1).astype(np.uint8) for tall, wide in ((10, 5), (9, 9))
    ]
    images = np.stack(discs * 2)
    for trouble, pieces in ((TOUCHING, 1), (SEPARATE, 4)):
        picture, _ = draw(np.random.default_rng(seed), images, [0, 0, 0, 0], TROUBLES[trouble])
        assert ndimage.label(find_ink(picture[..., 0] / 255) > 0.45, np.ones((3, 3)))[1] == pieces


words = st.text("0123", max_size=6)


@given(words, words, words)
def test_the_distance_is_a_metric(a, b, c):
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))
