from types import SimpleNamespace

import jax
import numpy as np
import pytest
import xarray

import nnjax
from experiments import gradient_descent_variants as variants_experiment
from experiments import variants
from experiments.gradient_descent_variants import EXPERIMENT


def test_every_variant_has_seven_settings_and_the_chosen_one_is_of_validation(quick_record):
    record = quick_record(EXPERIMENT)
    assert [run["name"] for run in record["runs"]] == list(variants.QUICK)
    for run in record["runs"]:
        assert len(run["grid"]) == len(run["validation_by_setting"]) == 7
        assert run["seconds_per_epoch_alone"] > 0
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
    settings = {"tuned": "learning_rate", "chosen": 1.0, "at_the_edge": True, "seconds_per_epoch_alone": 0.5}
    runs = [
        {"name": name, "test_correct": 10 * course, "validation_correct": 10 * course, **settings}
        for name, course in final.items()
    ]
    return {"test_examples": 1000, "validation_examples": 1000, "runs": runs}


def test_the_summary_counts_epochs_and_tests_in_pairs():
    rng = np.random.default_rng(0)
    base = np.stack([[90.0, 95.0, 95.5]] * 20) + rng.normal(0, 0.2, (20, 3))
    rows = {
        row["name"]: row
        for row in variants_experiment.summary(
            record_of(SGD=base, better=base + 0.5, same=base[::-1], never=base - 10)
        )
    }
    assert [rows[name]["p"] is None for name in ("SGD", "better")] == [True, False]
    assert rows["better"]["p"] < 0.001
    assert min(rows["better"]["gain"]) > 0.4
    assert rows["same"]["p"] > 0.05
    assert rows["better"]["epochs"] == {95: 2.0, 96: pytest.approx(3.0), 97: None}
    assert rows["better"]["seconds"][95] == 1.0
    assert rows["never"]["epochs"] == {95: None, 96: None, 97: None}
    low, high = rows["SGD"]["interval"]
    assert low < rows["SGD"]["mean"] < high
    assert [name for name in rows if name in ("better", "never")] == ["better", "never"]


def test_what_matters_what_does_not_and_what_is_undecided():
    rng = np.random.default_rng(0)
    base = np.stack([[90.0, 95.0, 95.5]] * 20) + rng.normal(0, 0.2, (20, 3))
    record = record_of(SGD=base, better=base + 0.5, near=base + rng.normal(0.01, 0.05, (20, 3)),
                       wild=base + rng.normal(0, 3, (20, 3)))  # fmt: skip
    *rows, better, worse, alike, undecided = EXPERIMENT.claims(record)
    assert {row.says for row in rows} == {"SGD", "better", "near", "wild"}
    assert (better.ours, worse.ours, alike.ours, undecided.ours) == ("better", "none", "near", "wild")
    assert not any(claim.of_the_chapter for claim in EXPERIMENT.claims(record))
    assert all("edge of its grid" in row.ours for row in rows)


def test_two_seeds_decide_nothing():
    base = np.array([[90.0], [91.0]])
    *_, alike, undecided = EXPERIMENT.claims(record_of(SGD=base, lost=base - 80))
    assert (alike.ours, undecided.ours) == ("none", "lost")


def test_settings_are_chosen_on_validation_and_test_is_only_reported(digits):
    """Of a grid whose test and validation disagree, the one best on validation is trained anew."""

    class Fake:
        seeds, epochs, asked = 2, 1, []

        def sweep(self, key, data, seeds, *, learning_rate, shared_batches=True, **more):
            self.asked.append((key, learning_rate, shared_batches))
            shape = (*np.shape(learning_rate), seeds, 1)
            counts = np.zeros(shape, int)
            if key == variants_experiment.TUNING_KEY:
                counts[2] = 7
            dims = ("learning_rate", "seed", "epoch")[-counts.ndim :]
            right, wrong = (xarray.DataArray(c, dims=dims) for c in (counts, 7 - counts))
            keys = jax.random.split(jax.random.key(0))
            return SimpleNamespace(validation_correct=right, test_correct=wrong, keys=lambda seed: keys)

    variant = variants.VARIANTS["SGD"]
    found = variants_experiment.measure(Fake(), digits, variant)
    assert found["chosen"] == variant.grid[2]
    # Seeds that are reported share no order of the images, which intervals over seeds would leave out.
    assert Fake.asked[-1] == (variants_experiment.KEY, variant.grid[2], False)
    assert not found["at_the_edge"]


@pytest.mark.slow
@pytest.mark.parametrize("name", variants.VARIANTS)
def test_every_variant_learns(digits, name):
    variant = variants.VARIANTS[name]
    n = len(digits.train.targets)
    tuned = 200 if variant.tuned == "batch_size" else variants.grid_of(variant, n)[3]
    given = variants.arguments(variant, tuned, n, epochs=3)
    grid = nnjax.sweep(jax.random.key(0), digits, hidden=10, initial_weights=nnjax.lecun, epochs=3, **given)
    assert (grid.train_cost.isel(epoch=-1) < grid.train_cost.isel(epoch=0)).all()


def test_a_mini_batch_is_never_tried_twice():
    sizes = variants.grid_of(variants.VARIANTS["L-BFGS"], 1500)
    assert sizes == [200, 500, 1000, 1500]
