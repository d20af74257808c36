import numpy as np
import pytest

from experiments.perceptron_decision import EXPERIMENT


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


@pytest.fixture
def truth(record):
    """What each network answers: a list of its output's bits, a string for each input."""
    return {
        d["name"]: dict(
            zip(
                ("".join(map(str, x)) for x in d["x"]),
                ("".join(map(str, a)) for a in d["decided"]),
                strict=True,
            )
        )
        for d in record["decisions"]
    }


def test_the_weekend_is_decided_by_counting_weights(truth):
    # weather, company, transport; 6w + 2c + 2t > threshold
    assert [x for x, go in truth["threshold 5"].items() if go == "1"] == ["100", "101", "110", "111"]
    assert [x for x, go in truth["threshold 3"].items() if go == "1"] == ["011", "100", "101", "110", "111"]
    assert len(truth["threshold 5"]) == len(truth["threshold 3"]) == 8


def test_the_gates_have_their_truth_tables(truth):
    assert truth["nand"] == {"00": "1", "01": "1", "10": "1", "11": "0"}
    assert truth["xor"] == {"00": "0", "01": "1", "10": "1", "11": "0"}
    assert truth["half adder"] == {"00": "00", "01": "10", "10": "10", "11": "01"}


def test_one_sigmoid_layer_is_off_by_the_closed_form(record):
    # The nearest z to 0 of the single layers is 1, so that c takes the answer to σ(±c).
    c = np.array(record["sharpness"])
    for d in record["decisions"]:
        if d["layers"] == 1:
            np.testing.assert_allclose(d["furthest"], 1 / (1 + np.exp(c)), rtol=5e-3)


def test_a_claim_fails_where_a_decision_is_wrong(record):
    assert all(c.holds for c in EXPERIMENT.claims(record))
    decisions = [dict(d) for d in record["decisions"]]
    decisions[3]["decided"] = [[1 - a for a in row] for row in decisions[3]["decided"]]
    told = EXPERIMENT.claims({**record, "decisions": decisions})
    assert [c.holds for c in told] == [True, True, True, False, True, True]
    assert told[3].ours.startswith("0 of 4")
