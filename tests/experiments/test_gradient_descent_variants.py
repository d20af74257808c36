from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import xarray

from experiments import gradient_descent_variants, variants
from experiments.gradient_descent_variants import EXPERIMENT, summarize
from experiments.variants import VARIANTS


def test_every_variant_tries_its_settings_and_validation_selects_one(quick_record):
    record = quick_record(EXPERIMENT)
    assert [run["name"] for run in record["runs"]] == list(variants.QUICK)
    for run in record["runs"]:
        assert len(run["grid"]) == len(run["mean_validation_correct"]) == 7
        assert run["seconds_per_epoch_alone"] > 0
        assert run["selected"] == run["grid"][int(np.argmax(run["mean_validation_correct"]))]
        assert np.shape(run["test_correct"]) == (2, 3)


def test_all_variants_of_the_full_run_have_seven_settings_at_equal_ratios():
    assert len(VARIANTS) == 13
    for variant in VARIANTS.values():
        assert len(variant.grid) == 7
        steps = np.diff(np.log(variant.grid))
        assert steps.min() > 0
        assert variant.tuned == "batch_size" or np.ptp(steps) < 0.1


def record_of(**curves):
    """A record in which the seeds of each variant have the given learning curves, in percent."""
    settings = {"tuned": "learning_rate", "selected": 1.0, "at_edge": True, "seconds_per_epoch_alone": 0.5}
    runs = [
        {"name": name, "test_correct": 10 * curve, "validation_correct": 10 * curve, **settings}
        for name, curve in curves.items()
    ]
    return {"num_test": 1000, "num_validation": 1000, "runs": runs}


def base_curves():
    rng = np.random.default_rng(0)
    return rng, np.stack([[90.0, 95.0, 95.5]] * 20) + rng.normal(0, 0.2, (20, 3))


def test_the_summary_counts_epochs_and_tests_in_pairs():
    _, base = base_curves()
    record = record_of(SGD=base, better=base + 0.5, same=base[::-1], never=base - 10)
    summary = summarize(record)
    assert [row["name"] for row in summary if row["name"] in ("better", "never")] == ["better", "never"]
    rows = {row["name"]: row for row in summary}
    assert [rows[name]["p"] is None for name in ("SGD", "better")] == [True, False]
    assert rows["better"]["p"] < 0.001
    np.testing.assert_allclose(rows["better"]["gain"], (0.5, 0.5))
    assert rows["same"]["p"] > 0.05
    assert rows["better"]["epochs"] == {95: 2.0, 96: pytest.approx(3.0), 97: None}
    assert rows["better"]["seconds"][95] == 1.0
    assert rows["never"]["epochs"] == {95: None, 96: None, 97: None}


def test_variants_are_better_worse_equal_or_undecided():
    rng, base = base_curves()
    record = record_of(SGD=base, better=base + 0.5, near=base + rng.normal(0.01, 0.05, (20, 3)),
                       wild=base + rng.normal(0, 3, (20, 3)))  # fmt: skip
    *rows, better, worse, equal, undecided = EXPERIMENT.claims(record)
    assert {row.statement for row in rows} == {"SGD", "better", "near", "wild"}
    assert (better.measured, worse.measured, equal.measured, undecided.measured) == (
        "better", "none", "near", "wild"
    )  # fmt: skip
    assert not any(claim.from_book for claim in EXPERIMENT.claims(record))
    assert all("edge of its grid" in row.measured for row in rows)


def test_with_two_seeds_all_variants_are_undecided():
    base = np.array([[90.0], [91.0]])
    *_, equal, undecided = EXPERIMENT.claims(record_of(SGD=base, much_worse=base - 80))
    assert (equal.measured, undecided.measured) == ("none", "much_worse")


def test_validation_selects_the_setting_and_fresh_seeds_are_reported(digits, monkeypatch):
    """Test and validation disagree in this grid; the setting with the best validation is trained again."""

    class Context:
        seeds, calls = 2, []

        def sweep(self, key, config, data, seeds=None, *, shared_batches=True, **axes):
            self.calls.append((key, config.learning_rate, shared_batches, axes))
            counts = np.zeros((7, 2, 1) if axes else (2, 1), int)
            if axes:
                counts[2] = 7
            dims = ("learning_rate", "seed", "epoch")[-counts.ndim :]
            validation, test = (xarray.DataArray(c, dims=dims) for c in (counts, 7 - counts))
            keys = jax.random.split(jax.random.key(0))
            return SimpleNamespace(
                validation_correct=validation, test_correct=test, rng_keys=lambda seed: keys
            )

    monkeypatch.setattr(gradient_descent_variants, "seconds_per_epoch_alone", lambda *_: 1.0)
    variant = VARIANTS["SGD"]
    result = gradient_descent_variants.measure(Context(), digits, variant)
    assert result["selected"] == variant.grid[2]
    assert not result["at_edge"]
    first, second = Context.calls
    assert first == (gradient_descent_variants.TUNING_KEY, None, True, {"learning_rate": list(variant.grid)})
    # With a shared order of the images, intervals over seeds would leave out its variance.
    assert second == (gradient_descent_variants.KEY, variant.grid[2], False, {})


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns(digits, name):
    variant, n = VARIANTS[name], len(digits.train.targets)
    setting = 200 if variant.tuned == "batch_size" else variant.settings(n)[3]
    config = replace(variant.with_setting(setting, n), epochs=3)
    grid = config.sweep(jax.random.key(0), digits, hidden=10)
    assert (grid.train_cost.isel(epoch=2) < grid.train_cost.isel(epoch=0)).all()


def test_no_batch_size_is_tried_twice():
    assert VARIANTS["L-BFGS"].settings(1500) == [200, 500, 1000, 1500]


def test_the_tuned_setting_is_part_of_the_configuration():
    assert VARIANTS["L-BFGS"].with_setting(200, 1500).batch_size == 200
    assert VARIANTS["Gauss-Newton"].with_setting(0.1, 1500).hyperparameters == {"damping": 0.1}
    config = VARIANTS["batch descent"].with_setting(3.0, 1500)
    assert (config.batch_size, config.learning_rate) == (1500, 3.0)
