import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import gradient_descent_variants
from experiments.experiment import RunContext
from experiments.gradient_descent_variants import (
    BASE,
    BUDGET,
    EVALUATED,
    EXPERIMENT,
    QUICK_VARIANTS,
    VARIANTS,
    book_network,
    describe,
    variant_records,
)
from nnjax.compare.report import Report
from nnjax.compare.verdicts import ALPHA, smallest_p
from nnjax.storage.records import record_json
from synthetic_comparison import STUDIES, TRIALS, synthetic_comparison

PROBLEM = "digits_rnn"


def report(**change):
    """A report of made-up results: sgd is worse than adamw and mine, by about the factor 2."""
    runs, problems, verdicts, about = synthetic_comparison((PROBLEM,), **change)
    return Report(verdicts, runs, runs, problems, about)


def record(**change):
    """The record of made-up results, as it is read from its file."""
    return json.loads(record_json({"metric": "training cost", "variants": variant_records(report(**change))}))


@pytest.fixture
def row():
    return {
        "cost": [1.0, 1.0], "validation_error": [0.1, 0.1], "verdict": None, "settings": [{}, {}],
        "bounded_sides": [False, False], "seconds_alone": None,
    }  # fmt: skip


def test_a_quick_run_compares_its_variants_with_sgd(quick_record):
    variants = quick_record(EXPERIMENT)["variants"]
    assert {row["name"] for row in variants} == {BASE, *QUICK_VARIANTS}
    assert [row["verdict"] is None for row in variants] == [row["name"] == BASE for row in variants]
    for row in variants:
        assert len(row["cost"]) == len(row["validation_error"]) == len(row["settings"]) == 2
        assert row["curve"]["budget"][-1] == 1
        assert row["curve"]["median"][-1] < row["curve"]["median"][0]


def test_the_problem_reports_the_training_cost_and_the_validation_error(digits):
    problem = book_network(digits, steps=40)
    data = problem.load()
    assert problem.load() is data
    assert problem.metric_name == "training cost"
    assert problem.select_on == problem.report_on == "validation"
    assert problem.num_params == 64 * 30 + 30 + 30 * 10 + 10
    assert len(data.train.targets) == len(digits.train.targets)
    for split, source in ((data.validation, digits.train), (data.test, digits.validation)):
        for part, whole in zip(split, source, strict=True):
            np.testing.assert_array_equal(part, whole[:EVALUATED])


def test_the_full_run_tunes_every_variant_and_can_decide(digits, monkeypatch):
    calls = []

    def compare(optimizers, **arguments):
        calls.append((optimizers, arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(gradient_descent_variants, "compare", compare)
    monkeypatch.setattr(RunContext, "load", lambda self: digits)
    with pytest.raises(KeyboardInterrupt):
        EXPERIMENT.run(RunContext("mnist", EXPERIMENT.seeds, 1, quick=False))
    ((optimizers, arguments),) = calls
    assert optimizers == {name: name for name in VARIANTS}
    assert (arguments["against"], arguments["budget"]) == ((BASE,), BUDGET)
    assert len(VARIANTS) * smallest_p(BUDGET.studies) < ALPHA


def test_a_variant_that_fails_raises_its_message(digits, monkeypatch):
    made = report()
    failed = replace(made, about=made.about | {"notes": ["momentum failed: too slow."]})
    monkeypatch.setattr(gradient_descent_variants, "compare", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="momentum failed: too slow"):
        EXPERIMENT.run(RunContext("digits", 2, 1, quick=True))


def test_the_record_has_the_results_of_the_studies_the_smallest_cost_first():
    runs, variants = report().runs, record()["variants"]
    assert [row["name"] for row in variants] == ["mine", "adamw", "sgd"]
    for row in variants:
        part = runs[runs.optimizer == row["name"]]
        fresh = part[part.kind == "fresh"]
        np.testing.assert_allclose(row["cost"], fresh.metric)
        np.testing.assert_allclose(row["validation_error"], fresh.error)
        assert row["settings"] == [json.loads(settings) for settings in fresh.settings]
        assert np.shape(row["trial_cost"]) == (TRIALS, STUDIES)
        first = part[(part.kind == "trial") & (part["quantile"] < 1 / TRIALS)].sort_values("study")
        np.testing.assert_allclose(row["trial_cost"][0], first.metric)


def test_the_verdicts_are_corrected_for_the_number_of_variants():
    made = report()
    alone = made.runs[made.runs.optimizer != "adamw"]
    several, one = variant_records(made), variant_records(replace(made, runs=alone))
    p_of_several, p_of_one = (
        next(row["verdict"]["p"] for row in rows if row["name"] == "mine") for rows in (several, one)
    )
    assert p_of_one == smallest_p(STUDIES)
    assert p_of_several == 2 * p_of_one


def test_claims_have_a_row_for_each_variant_and_then_a_row_for_each_verdict():
    claims = EXPERIMENT.claims(record())
    *rows, better, worse, equal, undecided = claims
    assert [row.statement for row in rows] == ["mine", "adamw", "sgd"]
    measured = [claim.measured for claim in (better, worse, equal, undecided)]
    assert measured == ["mine, adamw", "none", "none", "none"]
    assert not any(claim.from_book for claim in claims)


def test_a_variant_is_described_with_its_interval_verdict_and_learning_rate(row):
    assert describe(row) == (
        "training cost 1 (1 to 1, n = 2); validation error 10.00 % (10.00 to 10.00, n = 2)"
    )
    verdict = {"effect": np.log(0.8), "low": np.log(0.7), "high": np.log(0.9), "p": 0.01}
    row |= {"verdict": verdict | {"verdict": "better"}, "seconds_alone": 0.52}
    row |= {"settings": [{"learning_rate": 0.1}, {"learning_rate": 0.3}], "bounded_sides": [True, False]}
    assert describe(row).split("; ")[2:] == [
        "cost -20.0 % (-30.0 % to -10.0 %) compared with sgd, p = 0.01: better",
        "learning rate 0.2 (0.1 to 0.3, n = 2), at the low end of its range",
        "0.5 s alone",
    ]


def test_the_figure_has_a_line_for_each_variant_and_none_for_the_rate_of_one_without_rate():
    from matplotlib import pyplot

    made = record()
    for settings in made["variants"][1]["settings"]:
        del settings["learning_rate"]
    figure = EXPERIMENT.plot(made)
    curves, final, tuning = figure.axes
    labels = [[line.get_label() for line in axis.get_lines()] for axis in (curves, tuning)]
    names = [label.get_text() for label in final.get_yticklabels()]
    ends = {line.get_label(): line.get_ydata()[-1] for line in curves.get_lines()}
    pyplot.close(figure)
    assert labels == [["mine", "adamw", "sgd"], ["mine", "sgd"]]
    assert names == ["mine", "adamw", "sgd"]
    for row in made["variants"]:
        assert ends[row["name"]] == row["curve"]["median"][-1]
