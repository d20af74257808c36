from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import nnjax
from experiments.detector_examples import (
    BLANK_KINDS,
    DAMAGES,
    DIGIT_SCENES,
    HELD_OUT,
    SEED,
    _shown,
    coarse_digit,
    draw_picture,
    examples_of_picture,
    resized,
)
from experiments.digit_detector import balanced
from experiments.letters import letter_images
from experiments.no_digits import KINDS, no_digits
from experiments.photographs import Page
from experiments.real_pictures import EXPERIMENT, QUICK_BLANK_PICTURES, QUICK_PICTURES, num_correct
from experiments.scenes import SCENES, Scene, draw, touching
from nnjax.recognition import NO_DIGIT, digit_probability


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


def test_pictures_of_all_kinds_are_counted(record):
    assert record["blank"].keys() == KINDS.keys()
    assert sum(counts["pictures"] for counts in record["blank"].values()) == QUICK_BLANK_PICTURES
    for counts in record["blank"].values():
        assert 0 <= counts["with_digits"] <= min(counts["pictures"], counts["digits"])


def test_claims_follow_the_record(record):
    perfect = {"digits": 100, "reported": 100, "correct": 100}
    for counts in record["kinds"]:
        counts |= perfect
    record |= {
        "blank": {
            "words": {"pictures": 50, "with_digits": 0, "digits": 0},
            "drawing": {"pictures": 50, "with_digits": 2, "digits": 3},
        },
        "resized": {"pictures": 50, "same": 49},
    }
    assert all(claim.supported for claim in EXPERIMENT.claims(record))
    record["kinds"][3] |= {"reported": 106}  # 94 % precision
    record["blank"]["words"]["with_digits"] = 1
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


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_without_digits_are_reproducible(kind):
    first, again = (no_digits(np.random.default_rng(3), kind) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.ndim == 2


def test_the_detector_learns_from_the_digits_of_a_picture_and_from_other_candidates(digits):
    split = nnjax.Split(digits.train.inputs.reshape(-1, 8, 8), digits.train.targets)
    images, labels = examples_of_picture(0, split)
    _, drawn = draw_picture(np.random.default_rng((SEED, 0)), split, 0)
    assert images.shape == (len(labels), 28, 28, 2)
    assert NO_DIGIT in labels
    found = set(labels) - {NO_DIGIT}
    assert len(found) > 1
    assert found <= {label for label, _ in drawn}
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    shown, overlaps = _shown(boxes, [(7, (20, 0, 30, 10)), (3, (0, 0, 10, 8))])
    assert shown[:2].tolist() == [3, 7]
    np.testing.assert_allclose(overlaps, [0.8, 1, 0])
    for letters_or_words in (2, 3):
        _, labels = examples_of_picture(letters_or_words, split)
        assert len(labels) > 0
        assert (labels == NO_DIGIT).all()


def test_the_detector_does_not_learn_from_what_is_held_out():
    assert set(HELD_OUT) <= SCENES.keys() | KINDS.keys()
    for name in HELD_OUT:
        assert SCENES.get(name) not in DIGIT_SCENES
        assert name not in BLANK_KINDS


def test_damages_change_the_ink_and_keep_most_of_it():
    ink = np.zeros((120, 300))
    for left in range(40, 260, 60):
        ink[35:85, left : left + 9] = 1  # bars
    page = Page(ink, [], [], height=50)
    unchanged, *damages = DAMAGES
    np.testing.assert_array_equal(unchanged(np.random.default_rng(0), page), ink)
    for damage in damages:
        damaged = damage(np.random.default_rng(0), page)
        assert not np.allclose(damaged, ink)
        assert damaged[ink == 1].mean() > damaged[ink == 0].mean() + 0.3


def test_digits_are_as_close_as_asked(digits):
    images, labels = digits.train.inputs[:8].reshape(-1, 8, 8), digits.train.targets[:8]

    def components(max_gap):
        scene = Scene(partial(touching, max_gap=max_gap), height=(80, 80))
        picture, *_ = draw(np.random.default_rng(5), images, labels, scene)
        return ndimage.label(picture < 150, np.ones((3, 3)))[1]

    assert components(0.0) < components(0.3) <= components(2.0) == 8


def test_every_letter_has_ink():
    images = letter_images(np.random.default_rng(0), 300)
    assert images.shape == (300, 28, 28)
    assert images.max(axis=(1, 2)).min() > 127


def test_letters_among_digits_are_no_digits(digits):
    split = nnjax.Split(digits.train.inputs.reshape(-1, 8, 8), digits.train.targets)
    counts = []
    for content in (0, 1, 2):
        pictures = [draw_picture(np.random.default_rng(n), split, content) for n in range(20)]
        counts.append(sum(len(boxes) for _, boxes in pictures))
    assert counts[0] > counts[1] > counts[2] == 0


def test_digits_of_a_resized_picture_are_in_their_boxes():
    picture = np.zeros((100, 200), np.uint8)
    picture[20:60, 30:150] = 255
    larger = smaller = False
    for seed in range(9):
        new, [(label, (left, top, right, bottom))] = resized(
            np.random.default_rng(seed), picture, [(7, (30, 20, 150, 60))]
        )
        assert label == 7
        rows, columns = np.nonzero(new > 127)
        found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        np.testing.assert_allclose((left, top, right, bottom), found, atol=1.5)
        larger, smaller = larger or len(new) > 100, smaller or len(new) < 100
    assert larger
    assert smaller


def test_the_detector_learns_from_as_many_digits_as_others():
    images, labels = np.arange(40), np.repeat([3, NO_DIGIT], [10, 30])
    chosen, chosen_labels = balanced(np.random.default_rng(0), [(images, labels)])
    assert sorted(chosen[chosen_labels == 3]) == list(range(10))
    others = chosen[chosen_labels == NO_DIGIT]
    assert len(set(others)) == len(others) == 10
    assert others.min() >= 10


def test_the_hardest_other_candidates_are_added(digits):
    split = nnjax.Split(digits.train.inputs.reshape(-1, 8, 8), digits.train.targets)
    path = Path(nnjax.recognition.__file__).parent / "digit_detector.safetensors"
    random, _ = examples_of_picture(15, split)
    both, _ = examples_of_picture(15, split, path)
    np.testing.assert_array_equal(both[: len(random)], random)
    hard = both[len(random) :]
    assert len(hard) > 0
    assert digit_probability(hard).min() >= np.median(digit_probability(random))


def test_a_coarse_digit_is_as_high_as_a_digit(digits):
    image = np.kron(digits.train.inputs[0].reshape(8, 8), np.ones((3, 3), np.uint8))
    coarse = coarse_digit(np.random.default_rng(0), image)
    assert coarse.shape == (28, 28)
    assert 18 <= np.flatnonzero(coarse.any(axis=1)).size <= 21
