from copy import deepcopy
from dataclasses import fields, replace

import jax
import numpy as np
import pytest

import nnjax
from experiments import tables
from experiments.experiment import RunContext
from experiments.ladder import (
    EXPERIMENT,
    QUICK_ENSEMBLES,
    TUNING_SEEDS,
    Goal,
    LadderRunner,
    analyse_errors,
)
from experiments.ladder_figure import PUBLISHED
from experiments.ladder_steps import FIRST_CONFIG, STEPS, LadderStep, select_candidate
from experiments.records import read_record

QUICK_STEPS = [step for step in STEPS if step.in_quick_run]


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def made_up(test_correct=9850, seconds=60.0):
    """A record of all steps on MNIST, whose networks all have the same number of correct predictions."""
    steps = [
        {
            "name": step.name,
            "config": FIRST_CONFIG.to_json(),
            "ensemble_size": step.ensemble_size,
            "validation_correct": [9800, 9810],
            "test_correct": [test_correct] * 2,
            "num_parameters": 1000,
            "seconds": seconds,
            "candidates": [
                {"changes": {"l2": 0.1}, "validation_correct": [9800 + i]}
                for i, _ in enumerate(step.candidates)
            ],
        }
        for step in STEPS
    ]
    last = {
        "confusion": np.diag([5] * 10).tolist(),
        "calibration": [{"images": 10, "confidence": 0.9, "correct": 9}],
        "misclassified": [],
    }
    machine = {"cores": 2, "processor": "P", "versions": {"jax": "0"}, "seconds": 7200.0}
    settings = {"dataset": "mnist", "quick": False}
    sizes = {"num_validation": 10_000, "num_test": 10_000}
    return {"settings": settings, "steps": steps, "last_step": last, **sizes, **machine}


def test_each_step_changes_the_configuration_of_the_step_before():
    config = FIRST_CONFIG
    for step in STEPS:
        after = replace(config, **step.changes)
        after = replace(after, **step.candidates[0]) if step.candidates else after
        assert step is STEPS[0] or step.ensemble_size > 1 or after != config, step.name
        config = after
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_the_last_network_is_the_best_configuration_with_more_epochs_and_label_smoothing():
    config = FIRST_CONFIG
    for step in STEPS:
        config = replace(config, **step.changes)
    config = replace(config, learning_rate=0.002, label_smoothing=0.0, epochs=8)
    assert config == nnjax.configs["best-cpu"]


@pytest.mark.slow
def test_validation_selects_the_candidate_and_no_test_image_is_evaluated(digits, monkeypatch):
    runner = LadderRunner(RunContext("digits", 2, 1, quick=False), digits)
    calls, train = [], LadderRunner.train

    def watched(self, key, config, seeds):
        grid = train(self, key, config, seeds)
        calls.append((key, grid.test_correct))
        return grid

    monkeypatch.setattr(LadderRunner, "train", watched)
    step = LadderStep("rate", {}, [{"learning_rate": 1e-4}, {"learning_rate": 3.0}])
    config, candidates = runner.select(5, step, replace(FIRST_CONFIG, epochs=2))
    assert config.learning_rate == 3.0
    assert [c["changes"] for c in candidates] == [{"learning_rate": 1e-4}, {"learning_rate": 3.0}]
    assert all(len(c["validation_correct"]) == TUNING_SEEDS for c in candidates)
    assert calls == [(5, None), (5, None)]


def test_the_selection_is_that_of_the_committed_record():
    steps = [step for step in read_record("ladder")["steps"] if step["candidates"]]
    assert len(steps) > 5
    for step in steps:
        changes = step["candidates"][select_candidate(step["candidates"])]["changes"]
        assert {name: step["config"][name] for name in changes} == changes, step["name"]


def test_of_equal_candidates_the_one_with_the_lowest_learning_rate_is_selected():
    results = [{"changes": {"learning_rate": rate}, "validation_correct": [90, 92]} for rate in (0.3, 0.1)]
    assert select_candidate(results) == 1
    same = [{"changes": {"l2": l2}, "validation_correct": [90, 92]} for l2 in (0.3, 0.1)]
    assert select_candidate(same) == 0


@pytest.mark.slow
def test_an_ensemble_predicts_by_the_mean_of_its_probabilities(digits):
    runner = LadderRunner(RunContext("digits", 1, 1, quick=False), digits)
    config = replace(FIRST_CONFIG, epochs=1)
    grid = runner.train(3, config, 4)
    single, pairs = (runner.probabilities(grid, config, size) for size in (1, 2))
    assert single.shape == (4, len(digits.test.targets), 10)
    means = [(single[0] + single[1]) / 2, (single[2] + single[3]) / 2]
    np.testing.assert_allclose(pairs, means, atol=1e-6)
    row = runner.row(STEPS[0], config, grid, single)
    counts = [nnjax.count_correct(grid.params(seed=i), *digits.test) for i in range(4)]
    np.testing.assert_array_equal(row["test_correct"], counts)
    assert row["num_parameters"] == 64 * 30 + 30 + 30 * 10 + 10
    assert row["config"] == config.to_json()


def test_the_errors_are_counted_by_label_and_by_confidence():
    p = np.full((4, 10), 0.01)
    p[[0, 1, 2, 3], [3, 5, 5, 7]] = [0.91, 0.61, 0.81, 0.999]
    test = nnjax.Split(np.arange(16, dtype=np.uint8).reshape(4, 4), np.array([3, 5, 6, 1]))
    errors = analyse_errors(p, test)
    wrong = [(m["index"], m["label"], m["prediction"]) for m in errors["misclassified"]]
    assert wrong == [(3, 1, 7), (2, 6, 5)]
    assert errors["confusion"][6][5] == errors["confusion"][5][5] == 1
    assert np.sum(errors["confusion"]) == 4
    assert [(c["images"], c["correct"]) for c in errors["calibration"]] == [(1, 1), (1, 0), (1, 1), (1, 0)]


def test_a_quick_run_trains_its_steps(record):
    assert [r["name"] for r in record["steps"]] == [step.name for step in QUICK_STEPS]
    for step, row in zip(QUICK_STEPS, record["steps"], strict=True):
        assert len(row["test_correct"]) == (2 if step.ensemble_size == 1 else QUICK_ENSEMBLES)
        assert len(row["candidates"]) == len(step.candidates)
        assert set(row["config"]) == {field.name for field in fields(nnjax.TrainConfig)}
    assert np.sum(record["last_step"]["confusion"]) == record["num_test"]
    assert record["steps"][-1]["config"]["channels"] == [16, 32]


def test_claims_and_tables_follow_the_record():
    def supported(record):
        return [claim.supported for claim in EXPERIMENT.judged_claims(record)]

    assert supported(made_up(9850)) == [False] * 6 + [None]
    assert supported(made_up(9966)) == [True] * 5 + [False, None]
    assert supported(made_up(9966, 1201)) == [True] * 3 + [False, True, False, None]
    table = tables.ladder_table(made_up(9966))
    assert "| 1. the book's network | 99.66 (99.66 to 99.66, n = 2) |  | 1,000 | 30 | 60 s |  |" in table
    candidates = tables.candidates_table(made_up())
    assert candidates.count("**") == 2 * sum(len(step.candidates) > 0 for step in STEPS)
    assert "| cross-entropy | **l2 0.1** | 98.02 |" in candidates
    assert "| 94.85 | the chapter's program, 30 neurons |" in tables.published_table(made_up())


def test_the_table_of_steps_names_what_changed():
    record = made_up()
    record["steps"][1]["config"] = FIRST_CONFIG.to_json() | {"augment": {}, "l1": 0.1, "epochs": 40}
    rows = tables.ladder_table(record).splitlines()
    assert rows[3].endswith("| 40 | 60 s | l1 0.1, augment with its defaults |")
    assert rows[4].endswith("| 30 | 60 s | l1 0.0, augment none |")


def test_a_goal_is_judged_by_the_step_with_the_best_validation():
    record, goal = made_up(), Goal("99 %", 99, ("dropout", "convolution"))
    rows = {row["name"]: row for row in record["steps"]}
    for name, validation, test in (("dropout", 90, 9950), ("convolution", 91, 9850)):
        rows[name] |= {"validation_correct": [validation], "test_correct": [test] * 2}
    assert goal.claim(record).supported is False
    rows["dropout"]["validation_correct"] = [92]
    assert goal.claim(record).supported is True
    assert Goal("never run", 99, ("no such step",)).claim(record) is None


def test_published_results_are_marked_in_the_figure():
    from matplotlib import pyplot

    record = made_up()
    for i, row in enumerate(record["steps"]):
        row["test_correct"] = [9700 + i, 9705 + i]
    figure = EXPERIMENT.plot(record)
    axis = figure.axes[0]
    texts = {text.get_text() for text in axis.texts}
    places = sorted(line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":")
    labels = [label.get_text() for label in axis.get_yticklabels()]
    pyplot.close(figure)
    assert {f"{result.accuracy} %: {result.method}" for result in PUBLISHED} <= texts
    assert places == pytest.approx(sorted(100 - result.accuracy for result in PUBLISHED))
    assert labels == [f"{i}. {step.name}" for i, step in enumerate(STEPS, 1)]


@pytest.mark.parametrize("conv", [False, True])
def test_the_penalty_is_of_weights_and_not_of_biases(conv, digits):
    channels = (2,) if conv else ()
    config = nnjax.TrainConfig(hidden=(4,), channels=channels, l1=0.5, l2=0.25)
    params = config.init_fn(digits)(jax.random.key(0))
    w = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params) if x.ndim == 2])
    expected = 0.5 * np.abs(w).sum() + 0.125 * (w**2).sum()
    assert float(config.objective(digits).penalty(params)) == pytest.approx(expected, rel=1e-5)
