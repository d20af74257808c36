import numpy as np

from experiments.batch_size import EXPERIMENT, RATES


def test_the_rate_of_every_size_is_selected_on_validation(quick_record):
    record = quick_record(EXPERIMENT)
    assert [run["batch_size"] for run in record["runs"]] == [1, 10, 1204]
    for run in record["runs"]:
        best = int(np.argmax(np.mean(run["validation_correct_by_rate"], axis=1)))
        assert RATES[best] == run["learning_rate"]
        assert np.shape(run["test_correct"]) == (2, 3)
        assert np.shape(run["seconds"]) == (3,)


def test_batch_descent_takes_too_few_steps_to_learn(quick_record):
    mini_batches, on_line = EXPERIMENT.claims(quick_record(EXPERIMENT))
    assert mini_batches.supported
    assert on_line.supported
