import jax
import numpy as np
import pytest

import nnjax
from experiments.recurrent import EXPERIMENT, FEEDFORWARD, GATED, HIDDEN, QUICK, RATES, TANH, by_row, network
from nnjax.nn import Recurrent


def test_all_networks_have_about_as_many_parameters():
    images = np.zeros((10, 28, 28), np.uint8)
    data = nnjax.Dataset.from_arrays((images, np.arange(10)))
    shapes = {name: jax.eval_shape(network(name, data)[0], jax.random.key(0)) for name in HIDDEN}
    sizes = [sum(p.size for p in jax.tree.leaves(params)) for params in shapes.values()]
    assert max(sizes) < 1.02 * min(sizes)


def test_after_the_last_row_the_prediction_is_that_of_the_network(digits):
    params = Recurrent("gru").init(jax.random.key(0), 8, 16, 10)
    correct = by_row("gru", params, digits.test)
    assert correct.shape == (8,)
    assert correct[-1] == nnjax.count_correct(params, *digits.test, nnjax.Objective(Recurrent("gru")))


def test_the_rate_of_every_network_is_selected_on_validation(quick_record):
    record = quick_record(EXPERIMENT)
    assert [run["network"] for run in record["runs"]] == list(QUICK)
    for run in record["runs"]:
        best = int(np.argmax(np.mean(run["validation_correct_by_rate"], axis=1)))
        assert RATES[best] == run["learning_rate"]
        assert np.shape(run["test_correct"]) == (2, 3)
        assert np.shape(run["seconds_alone"]) == (3,)
        rows = run["test_correct_by_row"]
        assert rows is None if run["network"] == FEEDFORWARD else np.shape(rows) == (8,)


@pytest.mark.parametrize(
    ("correct", "seconds", "supported"),
    [
        ({FEEDFORWARD: 95, TANH: 94, "gru": 98, "lstm": 97}, 180, "yes yes yes yes no yes yes"),
        ({FEEDFORWARD: 95, TANH: 96, "gru": 96, "lstm": 97}, 181, "no no no yes yes yes yes"),
        ({FEEDFORWARD: 95, "gru": 97}, 10, "yes yes"),
    ],
)
def test_claims_follow_the_record(correct, seconds, supported):
    runs = [
        {"network": name, "learning_rate": RATES[1], "test_correct": [[0, n], [0, n]],
         "seconds_alone": [seconds - 1, 1]}
        for name, n in correct.items()
    ]  # fmt: skip
    claims = EXPERIMENT.claims({"num_test": 100, "runs": runs})
    assert ["yes" if claim.supported else "no" for claim in claims] == supported.split()


def test_one_seed_below_the_others_shows_no_difference():
    runs = [
        {"network": name, "learning_rate": RATES[1], "test_correct": correct, "seconds_alone": [1]}
        for name, correct in ((FEEDFORWARD, [[95], [96]]), (GATED[0], [[95], [99]]))
    ]
    goal, better = EXPERIMENT.claims({"num_test": 100, "runs": runs})
    assert goal.supported
    assert not better.supported
