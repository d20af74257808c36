from copy import deepcopy

import numpy as np
import pytest

import nnjax
from experiments.digit_detector import coarse_digit, crops_of_picture
from experiments.no_digits import no_digits
from experiments.real_pictures import EXPERIMENT, QUICK_PICTURES, num_correct
from experiments.scenes import SCENES, draw


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def test_every_picture_counts_once(record):
    kinds = record["kinds"]
    assert [counts["name"] for counts in kinds] == list(SCENES)
    assert sum(counts["pictures"] for counts in kinds) == QUICK_PICTURES
    for counts in kinds:
        assert 0 <= counts["correct"] <= min(counts["digits"], counts["reported"])
        assert 0 <= counts["correct_strings"] <= counts["pictures"]


def test_claims_follow_the_record(record):
    perfect = {"digits": 100, "reported": 100, "correct": 100}
    for counts in record["kinds"]:
        counts |= perfect
    record |= {
        "blank": {"pictures": 100, "with_digits": 2, "digits": 2},
        "resized": {"pictures": 50, "same": 49},
    }
    assert all(claim.supported for claim in EXPERIMENT.claims(record))
    record["kinds"][3] |= {"reported": 106}  # 94 % precision
    record["blank"]["with_digits"] = 3
    record["resized"]["same"] = 48
    supported = [claim.supported for claim in EXPERIMENT.claims(record)]
    assert supported == [i not in (3, len(SCENES), len(SCENES) + 1) for i in range(len(SCENES) + 2)]


@pytest.mark.parametrize("scene", SCENES)
def test_the_digits_of_a_scene_are_in_their_boxes(digits, scene):
    images, labels = digits.test.inputs[:5].reshape(-1, 8, 8), digits.test.targets[:5]
    first, again = (draw(np.random.default_rng(2), images, labels, SCENES[scene]) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    picture, boxes, text = first
    assert [label for label, _ in boxes] == labels.tolist()
    assert text.replace("\n", "") == "".join(map(str, labels))
    for _, (left, top, right, bottom) in boxes:
        assert 0 <= left < right <= picture.shape[1]
        assert 0 <= top < bottom <= picture.shape[0]
        inside = picture[int(top) : int(bottom), int(left) : int(right)]
        assert np.ptp(inside) > 20  # ink and paper


def test_each_digit_is_found_at_most_once():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 9, 9], [50, 0, 60, 10]])
    reading = nnjax.Reading("777", np.ones(3), boxes, np.zeros((3, 28, 28), np.uint8))
    assert num_correct(reading, [(7, (0, 0, 10, 10)), (7, (20, 0, 30, 10))]) == 1


@pytest.mark.parametrize("number", range(4))
def test_pictures_without_digits_are_reproducible(number):
    first, again = (no_digits(np.random.default_rng(3), number) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.ndim == 2


def test_the_detector_learns_from_the_digits_of_a_picture_and_from_other_candidates(digits):
    split = nnjax.Split(digits.train.inputs.reshape(-1, 8, 8), digits.train.targets)
    positive, negative = crops_of_picture(split, 0)
    assert len(positive) > 0
    assert len(negative) > 0
    assert positive.shape[1:] == negative.shape[1:] == (28, 28)
    without, others = crops_of_picture(split, 3)
    assert len(without) == 0
    assert len(others) > 0


def test_a_coarse_digit_is_as_high_as_a_digit(digits):
    image = np.kron(digits.train.inputs[0].reshape(8, 8), np.ones((3, 3), np.uint8))
    coarse = coarse_digit(np.random.default_rng(0), image)
    assert coarse.shape == (28, 28)
    assert 18 <= np.flatnonzero(coarse.any(axis=1)).size <= 21
