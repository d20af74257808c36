import numpy as np
import pytest

from experiments import gradient_descent_variants as variants
from experiments.gradient_descent_variants import EXPERIMENT


def test_every_variant_has_seven_settings_and_the_chosen_one_is_of_validation(quick_record):
    record = quick_record(EXPERIMENT)
    assert [run["name"] for run in record["runs"]] == ["SGD", "momentum", "Gauss-Newton"]
    for run in record["runs"]:
        assert len(run["grid"]) == len(run["validation_by_setting"]) == 7
        assert run["chosen"] == run["grid"][int(np.argmax(run["validation_by_setting"]))]
        assert np.shape(run["test_correct"]) == (2, 5)


def test_all_variants_of_the_full_run_are_tuned_alike():
    assert len(variants.VARIANTS) == 13
    for variant in variants.VARIANTS.values():
        assert len(variant.grid) == 7
        steps = np.diff(np.log(variant.grid))
        assert steps.min() > 0
        assert variant.tuned == "batch_size" or np.ptp(steps) < 0.1


def record_of(**final):
    """A record in which every seed of a variant has the given course of percentages."""
    runs = [
        {"name": name, "tuned": "learning_rate", "chosen": 1.0, "seconds_per_epoch": 0.5,
         "test_correct": np.array(course) * 10, "validation_correct": np.array(course) * 10}
        for name, course in final.items()
    ]  # fmt: skip
    return {"test_examples": 1000, "validation_examples": 1000, "runs": runs}


def test_the_summary_counts_epochs_and_tests_in_pairs():
    rng = np.random.default_rng(0)
    base = np.stack([[90.0, 95.0, 95.5]] * 20) + rng.normal(0, 0.2, (20, 3))
    rows = {
        row["name"]: row
        for row in variants.summary(record_of(SGD=base, better=base + 0.5, same=base[::-1], never=base - 10))
    }
    assert [rows[name]["p"] is None for name in ("SGD", "better")] == [True, False]
    assert rows["better"]["p"] < 0.001
    assert rows["better"]["better"]
    assert rows["same"]["p"] > 0.05
    assert rows["better"]["epochs"] == {95: 2.0, 96: pytest.approx(3.0), 97: None}
    assert rows["better"]["seconds"][95] == 1.0
    assert rows["never"]["epochs"] == {95: None, 96: None, 97: None}
    low, high = rows["SGD"]["interval"]
    assert low < rows["SGD"]["mean"] < high
    assert [name for name in rows if name in ("better", "never")] == ["better", "never"]


def test_what_does_not_matter_is_said():
    base = np.stack([[90.0, 95.0, 95.5]] * 20) + np.random.default_rng(0).normal(0, 0.2, (20, 3))
    *rows, alike = EXPERIMENT.claims(record_of(SGD=base, better=base + 0.5, same=base[::-1]))
    assert {row.says for row in rows} == {"better", "SGD", "same"}
    assert alike.ours == "same"
