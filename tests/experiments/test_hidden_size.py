import numpy as np

from experiments.hidden_size import EXPERIMENT


def test_more_neurons_read_more_digits_and_cost_more(quick_record):
    record = quick_record(EXPERIMENT)
    assert record["hidden"] == [5, 10, 15, 20, 30]
    right = np.array(record["test_correct"])
    assert right.shape == (5, 2, 5)
    assert right[-1, :, -1].mean() > right[0, :, -1].mean()
    assert np.all(np.array(record["seconds_per_epoch_alone"]) > 0)


def test_the_claim_of_thirty_neurons_is_judged_by_the_record(quick_record):
    record = quick_record(EXPERIMENT)
    n = record["test_examples"]
    for right, holds in [(0.95 * n, True), (0.9 * n, False)]:
        changed = record | {"test_correct": np.full((5, 2, 5), right)}
        assert EXPERIMENT.claims(changed)[0].holds is holds
