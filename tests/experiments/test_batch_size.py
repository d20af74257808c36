import numpy as np

from experiments.batch_size import EXPERIMENT


def test_every_size_has_its_best_rate_of_validation(quick_record):
    record = quick_record(EXPERIMENT)
    runs = record["runs"]
    assert [run["batch_size"] for run in runs] == [1, 10, 100, 1000, 1204]
    for run in runs:
        best = int(np.argmax(run["validation_by_rate"]))
        assert record["learning_rates"][best] == run["learning_rate"]
        assert np.shape(run["test_correct"]) == (2, 5)
        final = np.array(run["validation_correct"])[:, -1]
        assert np.median(final) == run["validation_by_rate"][best]


def test_batch_descent_has_hardly_begun(quick_record):
    mini_batches, on_line = EXPERIMENT.claims(quick_record(EXPERIMENT))
    assert mini_batches.holds
    assert on_line.holds
