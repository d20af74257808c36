from copy import deepcopy

import numpy as np
import pytest

from experiments.output_code import EXPERIMENT, RATES, nines


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def test_nines_are_recall_and_false_alarms_of_the_last_class():
    matrix = np.zeros((10, 10), int)
    matrix[9, 9], matrix[9, 4], matrix[4, 9], matrix[4, 4] = 30, 10, 5, 45
    assert nines(matrix) == (0.75, 0.1)
    always_no = np.array([[90, 0], [10, 0]])
    assert nines(always_no) == (0, 0)


def test_every_code_is_trained_at_every_rate(record):
    shapes = {name: np.shape(code["test_correct"]) for name, code in record["codes"].items()}
    assert shapes == dict.fromkeys(("ten", "four", "one"), (5, 2, 3))


def test_the_rate_is_selected_on_validation(record):
    for code in record["codes"].values():
        means = np.mean(np.array(code["validation_correct"])[:, :, -1], axis=1)
        assert means[code["selected"]] == means.max()


def test_correct_predictions_of_one_neuron_follow_from_recall_and_false_alarms(record, digits):
    n_nines = np.sum(digits.test.targets == 9)
    n_others = len(digits.test.targets) - n_nines
    one = record["codes"]["one"]
    recall, alarms = np.moveaxis(np.array(one["nines"]), -1, 0)
    correct = recall * n_nines + (1 - alarms) * n_others
    np.testing.assert_allclose(correct, np.array(one["test_correct"])[:, :, -1], rtol=1e-6)


def test_a_claim_is_supported_only_if_ten_are_better_than_four(record):
    book = RATES.index(3.0)
    ten, four = (np.array(record["codes"][name]["test_correct"]) for name in ("ten", "four"))
    less = np.minimum(ten, four).tolist()
    more = (np.minimum(ten, four) + 1).tolist()  # by as much for each seed, so that the interval excludes 0
    for name in ("ten", "four"):
        record["codes"][name]["selected"] = book
    for tens, fours, expected in ((more, less, True), (less, more, False), (more, more, False)):
        record["codes"]["ten"]["test_correct"], record["codes"]["four"]["test_correct"] = tens, fours
        assert [claim.supported for claim in EXPERIMENT.claims(record)[:2]] == [expected, expected]


def test_a_rate_at_the_edge_of_the_grid_has_a_note(record):
    record["codes"]["ten"]["selected"], record["codes"]["four"]["selected"] = 0, 2
    statement = EXPERIMENT.claims(record)[1].statement
    assert "0.3 (edge of its grid) for ten, 3 for four)" in statement


def test_the_claim_is_not_supported_if_the_answer_is_always_no(record):
    record["codes"]["one"]["nines"] = np.zeros((5, 2, 2)).tolist()
    assert EXPERIMENT.claims(record)[-1].supported is False
