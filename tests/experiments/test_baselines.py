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
    """The quick record with counts as of MNIST."""
    correct = dict(zip(record["methods"], ([1000] * 20, [2225], [9435], [9790], [9850]), strict=True))
    return record | {
        "settings": record["settings"] | {"dataset": "mnist"},
        "num_test": 10_000,
        "methods": {m: record["methods"][m] | {"correct": c} for m, c in correct.items()},
        "network_test_correct": [9400, 9500, 9510],
    }


def test_every_method_has_counts_and_seconds(record):
    methods = record["methods"]
    assert [len(m["correct"]) for m in methods.values()] == [2, 1, 1, 1, 1]
    assert all(0 < c <= 296 for m in methods.values() for c in m["correct"])
    assert all(s > 0 for m in methods.values() for s in m["fit_seconds"] + m["predict_seconds"])


def test_the_counts_are_those_of_estimators_fitted_here(record, digits):
    tuning = record["tuning"]
    ours = [average_darkness(), svm("auto"), svm("scale"), svm(tuning["gamma"], tuning["C"])]
    train, test = (split.inputs.reshape(-1, 64) for split in (digits.train, digits.test))
    correct = [np.sum(e.fit(train, digits.train.targets).predict(test) == digits.test.targets) for e in ours]
    assert [m["correct"][0] for m in record["methods"].values()][1:] == correct


def test_the_selected_settings_are_the_best_on_validation(record):
    table = np.array(record["tuning"]["validation_correct"])
    i, j = baselines.CS.index(record["tuning"]["C"]), baselines.GAMMAS.index(record["tuning"]["gamma"])
    assert table.shape == (3, 4)
    assert table[i, j] == table.max()
    assert 0.9 * 297 < table.min() <= table.max() <= 297


def test_the_chapters_network_is_trained_too(record):
    assert len(record["network_test_correct"]) == 2
    assert all(0.3 * 296 < correct <= 296 for correct in record["network_test_correct"])


def test_claims_about_mnist_are_not_judged_on_other_images(record):
    claims = EXPERIMENT.judged_claims(record)
    assert [c.supported for c in claims if c.expected] == [None] * 6


def test_claims_follow_the_counts(on_mnist):
    claims = EXPERIMENT.claims(on_mnist)
    assert [c.supported for c in claims] == [True] * 5 + [None] * 2
    assert claims[-1].measured == "see Ladder; the best of these methods reaches 98.50 %"
    assert claims[0].measured == "10.00 % (10.00 % to 10.00 %, n = 20)"
    assert claims[2].measured == "94.35 %"
    wrong = ([1100] * 20, [2230], [9200], [9250], [9830])
    on_mnist["methods"] = {m: {"correct": c} for m, c in zip(on_mnist["methods"], wrong, strict=True)}
    assert [c.supported for c in EXPERIMENT.claims(on_mnist)] == [False] * 5 + [None] * 2


def test_the_accuracy_of_methods_and_network_is_drawn(on_mnist):
    from matplotlib import pyplot

    figure = EXPERIMENT.plot(on_mnist)
    bars = figure.axes[0]
    legend = bars.get_legend().get_texts()[0].get_text()
    texts = [text.get_text() for text in bars.texts]
    pyplot.close(figure)
    assert legend == "network with 30 hidden\nneurons: 95.00 %"
    assert texts == ["10.00 %", "22.25 %", "94.35 %", "97.90 %", "98.50 %"]
