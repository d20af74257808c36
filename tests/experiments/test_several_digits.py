from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from experiments.corruptions import CORRUPTIONS, draw, grow_strokes
from experiments.several_digits import EXPERIMENT, QUICK_PICTURES, SEPARATE, TOUCHING, edit_distance
from nnjax.recognition.ink import find_ink


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def test_every_picture_counts_once(record):
    corruptions = record["corruptions"]
    assert [counts["name"] for counts in corruptions] == list(CORRUPTIONS)
    assert sum(counts["pictures"] for counts in corruptions) == QUICK_PICTURES
    for counts in corruptions:
        assert 0 <= counts["correct_digits"] <= counts["digits"] <= 8 * counts["pictures"]
        assert 0 <= counts["correct_strings"] <= counts["pictures"]
    uncertain = record["uncertain"]
    assert uncertain["correct"] + uncertain["correct_of_others"] == record["single_correct"]
    digits, correct = (sum(counts[name] for counts in corruptions) for name in ("digits", "correct_digits"))
    assert correct > 0.3 * digits


def test_claims_follow_the_record(record):
    def supported():
        return [claim.supported for claim in EXPERIMENT.claims(record)][:-1]

    for counts in record["corruptions"]:
        counts |= {"digits": 9, "correct_digits": 9}
    assert supported() == [True] * len(CORRUPTIONS)
    for counts in record["corruptions"]:
        counts["correct_digits"] = 3
    record["corruptions"][0]["correct_digits"] = 9
    assert supported() == [True] + [False] * (len(CORRUPTIONS) - 1)


def test_uncertain_digits_are_compared_with_the_others(record):
    record |= {"num_test": 100, "uncertain": {"images": 20, "correct": 10, "correct_of_others": 76}}
    claim = EXPERIMENT.claims(record)[-1]
    assert claim.measured.startswith("20.0 % of the single test digits are uncertain; 50.0 % of these")
    assert "95.0 % of the others" in claim.measured
    assert claim.supported


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_seed_draws_the_same_picture_again(digits, corruption):
    images, labels = digits.test.inputs[:7].reshape(-1, 8, 8), digits.test.targets[:7]
    first, again = (draw(np.random.default_rng(5), images, labels, CORRUPTIONS[corruption]) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[0].dtype == np.uint8
    assert first[0].ndim == 3
    assert first[1].replace("\n", "") == "".join(map(str, labels))
    assert first[1].count("\n") == CORRUPTIONS[corruption].lines - 1


@pytest.mark.parametrize(("pixels", "width"), [(-2, 1), (-1, 3), (0, 5), (1, 7), (3, 11)])
def test_strokes_grow_on_both_sides(pixels, width):
    bar = np.zeros((31, 31))
    bar[:, 13:18] = 1
    np.testing.assert_array_equal(
        grow_strokes(bar, pixels)[15].nonzero()[0], 15 + np.arange(width) - width // 2
    )


@pytest.mark.parametrize("seed", range(10))
def test_touching_digits_touch_and_separate_ones_do_not(seed):
    rows, columns = np.indices((28, 28)) - 13.5
    discs = [
        255 * (np.hypot(rows / tall, columns / wide) < 1).astype(np.uint8) for tall, wide in ((10, 5), (9, 9))
    ]
    images = np.stack(discs * 2)
    for corruption, pieces in ((TOUCHING, 1), (SEPARATE, 4)):
        picture, _ = draw(np.random.default_rng(seed), images, [0, 0, 0, 0], CORRUPTIONS[corruption])
        assert ndimage.label(find_ink(picture[..., 0] / 255, 61) > 0.45, np.ones((3, 3)))[1] == pieces


words = st.text("0123", max_size=6)


@given(words, words, words)
def test_the_distance_is_a_metric(a, b, c):
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))
