import numpy as np

from experiments.first_network import EXPERIMENT
from experiments.tables import learning_table


def test_every_run_has_every_seed_and_epoch(quick_record):
    record = quick_record(EXPERIMENT)
    correct = {(r["hidden"], r["learning_rate"]): np.array(r["test_correct"]) for r in record["runs"]}
    assert list(correct) == [(30, 3.0), (100, 3.0), (30, 0.001), (30, 100.0)]
    assert {counts.shape for counts in correct.values()} == {(2, 3)}
    assert correct[30, 3.0][:, -1].min() > 0.5 * record["num_test"]
    assert correct[30, 0.001][:, -1].max() < 0.5 * record["num_test"]
    assert all(np.shape(r["recall"]) == (2, 10) for r in record["runs"])


def record_of(book, wide, slow, fast, recall=1.0):
    """A record in which all seeds have the given accuracy, in percent, after the first and last epoch."""
    runs = [
        {"test_correct": 100 * np.array([ends] * 3), "recall": np.full((3, 10), recall), **setting}
        for ends, setting in zip(
            (book, wide, slow, fast),
            ({"hidden": h, "learning_rate": r} for h, r in ((30, 3.0), (100, 3.0), (30, 0.001), (30, 100.0))),
            strict=True,
        )
    ]
    settings = {"dataset": "mnist", "seeds": 3, "epochs": 2, "quick": False, "config": {"batch_size": 10}}
    machine = {"cores": 2, "processor": "P", "versions": {"jax": "0"}}
    return {"num_test": 10_000, "runs": runs, "settings": settings, **machine}


def test_claims_compare_the_books_numbers_with_the_record():
    record = record_of((90.4, 94.9), (70.0, 96.5), (10.0, 25.0), (10.0, 10.0))
    claims = EXPERIMENT.judged_claims(record)
    assert [c.expected for c in claims] == [
        "90.28 %", "94.85 %", "96 % to 97 %", "9.31 % → 25.69 %", "8.92 %"
    ]  # fmt: skip
    assert [c.supported for c in claims] == [True] * 5
    assert claims[1].measured == "94.9 % (94.9 % to 94.9 %, n = 3)"
    worse = record_of((60.0, 93.0), (70.0, 90.0), (10.0, 60.0), (10.0, 80.0), recall=0.1)
    claims = EXPERIMENT.judged_claims(worse)
    assert [c.supported for c in claims] == [False] * 5
    assert "0 of 3 seeds reach 96 %, 3 have a stuck output neuron" in claims[2].measured


def test_the_table_has_the_book_and_our_accuracy_in_percent():
    head, _, first, second, *_ = learning_table(
        record_of((90.4, 94.9), (70.0, 96.5), (10, 25), (10, 10))
    ).splitlines()
    assert head.startswith("| network | η | the book | ours after epoch 1 (median) |")
    assert first == "| [784, 30, 10] | 3 | 90.28 % → 94.85 % | 90.4 % | 94.9 % (94.9 % to 94.9 %) | 3 |"
    assert "| 96 % to 97 % |" in second
