import numpy as np

from experiments.hidden_size_by_learning_rate import EXPERIMENT, RATES


def test_the_grid_is_full_and_its_best_rate_is_of_validation(quick_record):
    record = quick_record(EXPERIMENT)
    validation = np.array(record["validation_correct"])
    assert validation.shape == np.shape(record["test_correct"]) == (3, 9, 2)
    assert validation[2, RATES.index(3.0)].mean() > 2 * validation[2, RATES.index(0.01)].mean()
    favoured = validation.copy()
    favoured[:, 0] = 10_000
    choice, near = EXPERIMENT.claims(record | {"validation_correct": favoured})
    assert "5: 0.001, 15: 0.001, 30: 0.001" in choice.ours
    assert (choice.holds, near.holds) == (False, True)
    favoured[0, 0], favoured[0, -1] = 0, 10_000
    assert EXPERIMENT.claims(record | {"validation_correct": favoured})[1].holds is False
