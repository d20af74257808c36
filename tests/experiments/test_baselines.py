import numpy as np
import pytest

from experiments import baselines
from experiments.baselines import EXPERIMENT
from nnjax.baselines import average_darkness, svm


@pytest.fixture
def record(quick_record):
    return quick_record(EXPERIMENT)


@pytest.fixture
def on_mnist(record):
    """A record as MNIST might leave it, from the quick one."""
    correct = dict(zip(record["methods"], ([1000] * 20, [2225], [9435], [9790], [9850]), strict=True))
    return record | {
        "settings": record["settings"] | {"dataset": "mnist"},
        "test_examples": 10_000,
        "methods": {m: record["methods"][m] | {"correct": c} for m, c in correct.items()},
        "network_correct": [9400, 9500, 9510],
    }


def test_every_method_has_counts_and_seconds(record):
    methods = record["methods"]
    assert [len(m["correct"]) for m in methods.values()] == [2, 1, 1, 1, 1]
    assert all(0 < c <= 296 for m in methods.values() for c in m["correct"])
    assert all(s > 0 for m in methods.values() for s in m["fit_seconds"] + m["predict_seconds"])


def test_the_counts_are_those_of_estimators_fitted_here(record, digits):
    tuning = record["tuning"]
    ours = [average_darkness(), svm("auto"), svm("scale"), svm(tuning["gamma"], tuning["C"])]
    right = [np.sum(e.fit(*digits.train).predict(digits.test.inputs) == digits.test.targets) for e in ours]
    assert [m["correct"][0] for m in record["methods"].values()][1:] == right


def test_the_choice_is_the_best_on_validation(record):
    table = np.array(record["tuning"]["validation_correct"])
    i, j = baselines.CS.index(record["tuning"]["C"]), baselines.GAMMAS.index(record["tuning"]["gamma"])
    assert table.shape == (3, 4)
    assert table[i, j] == table.max()
    assert 0.9 * 297 < table.min() <= table.max() <= 297


def test_the_chapters_network_is_trained_on_the_same_images(record):
    assert len(record["network_correct"]) == 2
    assert all(0.4 * 296 < right <= 296 for right in record["network_correct"])


def test_claims_about_mnist_are_open_on_other_images(record):
    told = EXPERIMENT.verdicts(record)
    assert [c.holds for c in told if c.book] == [None] * 6


def test_claims_follow_the_counts(on_mnist):
    told = EXPERIMENT.claims(on_mnist)
    assert [c.holds for c in told] == [True] * 5 + [None] * 2
    assert told[-1].ours == "tried by the ladder; the best of these is 9,850 of 10,000"
    assert told[0].ours == "10.00 % (10.00 % to 10.00 %, n = 20)"
    assert told[2].ours == "94.35 %"
    wrong = ([1100] * 20, [2230], [9200], [9250], [9830])
    on_mnist["methods"] = {m: {"correct": c} for m, c in zip(on_mnist["methods"], wrong, strict=True)}
    assert [c.holds for c in EXPERIMENT.claims(on_mnist)] == [False] * 5 + [None] * 2


def test_the_networks_median_is_drawn(on_mnist):
    assert "95.00 %" in _words(on_mnist)


def _words(record):
    from matplotlib import pyplot

    figure = EXPERIMENT.plot(record)
    words = [t.get_text() for axis in figure.axes for t in axis.texts]
    words += [line for axis in figure.axes[:1] if axis.get_legend()
              for t in axis.get_legend().get_texts() for line in t.get_text().split("\n")]  # fmt: skip
    pyplot.close(figure)
    return words
