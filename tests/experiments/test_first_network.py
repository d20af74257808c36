import numpy as np

from experiments.first_network import EXPERIMENT


def test_every_run_has_every_seed_and_epoch(quick_record):
    record = quick_record(EXPERIMENT)
    right = {(r["hidden"], r["learning_rate"]): np.array(r["test_correct"]) for r in record["runs"]}
    assert {counts.shape for counts in right.values()} == {(2, 5)}
    assert right[30, 3.0][:, -1].min() > 0.75 * record["test_examples"]
    assert right[30, 0.001][:, -1].max() < 0.5 * record["test_examples"]
    assert all(np.shape(r["recall"]) == (2, 10) for r in record["runs"])


def test_it_tells_every_number_of_the_chapter(quick_record):
    told = EXPERIMENT.claims(quick_record(EXPERIMENT))
    assert [c.book for c in told] == ["90.28 %", "94.85 %", "96 % to 97 %", "9.31 % → 25.69 %", "8.92 %"]
    assert told[-1].holds
