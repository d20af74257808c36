import numpy as np
import pytest

from experiments.perceptron_decision import EXPERIMENT


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


@pytest.fixture
def truth(record):
    """The output bits of each network for each input, as strings."""
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


def test_the_distance_of_one_sigmoid_layer_has_a_closed_form(record):
    # The smallest |z| of the single layers is 1, so the worst output is σ(±c).
    c = np.array(record["sharpness"])
    for d in record["decisions"]:
        if d["layers"] == 1:
            np.testing.assert_allclose(d["max_distance"], 1 / (1 + np.exp(c)), rtol=5e-3)


def test_a_claim_is_not_supported_if_a_decision_is_wrong(record):
    assert all(c.supported for c in EXPERIMENT.claims(record))
    decisions = [dict(d) for d in record["decisions"]]
    decisions[3]["decided"] = [[1 - a for a in row] for row in decisions[3]["decided"]]
    claims = EXPERIMENT.claims({**record, "decisions": decisions})
    assert [c.supported for c in claims] == [True, True, True, False, True, True]
    assert claims[3].measured.startswith("0 of 4")
