from copy import deepcopy
from dataclasses import replace

import jax
import numpy as np
import pytest

import nnjax
from experiments import tables
from experiments.evidence import Settings
from experiments.ladder import EXPERIMENT, GROUPS, TRIED, Climb, Goal, looked_at
from experiments.ladder_figure import MARKS
from experiments.rungs import RUNGS, Rung, l1, l2, penalty, varied
from nnjax.config import TrainConfig
from nnjax.nn.conv import ConvNet


@pytest.fixture
def record(quick_record):
    return deepcopy(quick_record(EXPERIMENT))


def test_each_rung_changes_the_recipe_of_the_one_below_it():
    recipe, seen = TrainConfig(), []
    for rung in RUNGS:
        above = varied(recipe, rung.changes)
        above = varied(above, rung.choices[0]) if rung.choices else above
        assert rung is RUNGS[0] or rung.members > 1 or above != recipe, rung.name
        recipe = above
        seen.append(rung.name)
    assert len(set(seen)) == len(RUNGS)


def test_what_is_no_part_of_a_recipe_is_a_hyperparameter():
    recipe = varied(TrainConfig(), {"hidden": (3,), "learning_rate": 0.1, "b1": 0.8})
    assert recipe == replace(TrainConfig(), hidden=(3,), hyperparameters={"learning_rate": 0.1, "b1": 0.8})


@pytest.mark.parametrize("conv", [False, True])
def test_penalties_are_of_weights_and_not_of_biases(conv):
    key = jax.random.key(0)
    params = ConvNet((8, 8), 3).init(key, (2,), (10,)) if conv else nnjax.init(key, (5, 4, 3))
    w = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params) if x.ndim == 2])
    assert float(penalty(l1, 0.5)(params)) == pytest.approx(0.5 * np.abs(w).sum(), rel=1e-5)
    assert float(penalty(l2, 0.5)(params)) == pytest.approx(0.25 * (w**2).sum(), rel=1e-5)


@pytest.mark.slow
def test_validation_chooses_and_the_test_images_are_not_seen(digits, monkeypatch):
    climb = Climb(Settings("digits", 2, 1, quick=False), digits)
    seen = []
    trained = Climb.trained

    def watched(self, key, recipe, seeds):
        grid = trained(self, key, recipe, seeds)
        seen.append((key, grid.test_correct.max().item()))
        return grid

    monkeypatch.setattr(Climb, "trained", watched)
    rung = Rung("rate", {}, [{"learning_rate": 1e-4}, {"learning_rate": 3.0}])
    recipe, tried = climb.chosen(5, rung, replace(TrainConfig(), epochs=2))
    assert recipe.hyperparameters == {"learning_rate": 3.0}
    assert [t["learning_rate"] for t in tried] == [1e-4, 3.0]
    assert all(len(t["validation_correct"]) == TRIED for t in tried)
    assert seen == [(5, 0), (5, 0)]


def test_members_answer_by_their_mean(digits):
    climb, recipe = Climb(Settings("digits", 1, 1, quick=False), digits), replace(TrainConfig(), epochs=1)
    grid = climb.trained(3, recipe, 4)
    alone, pairs = (climb.probabilities(grid, recipe, members) for members in (1, 2))
    assert alone.shape == (4, len(digits.test.targets), 10)
    np.testing.assert_allclose(pairs, [(alone[0] + alone[1]) / 2, (alone[2] + alone[3]) / 2], atol=1e-6)
    row = climb.row(RUNGS[0], recipe, grid, alone)
    told = [nnjax.count_correct(grid.params(seed=i), *digits.test) for i in range(4)]
    np.testing.assert_array_equal(row["test_correct"], told)
    assert row["parameters"] == 64 * 30 + 30 + 30 * 10 + 10


def test_a_closer_look_counts_what_is_misread():
    p = np.full((4, 10), 0.01)
    p[[0, 1, 2, 3], [3, 5, 5, 7]] = [0.91, 0.61, 0.81, 0.999]
    test = nnjax.Split(np.arange(16, dtype=np.uint8).reshape(4, 4), np.array([3, 5, 6, 1]))
    told = looked_at(p, test)
    assert [(m["index"], m["label"], m["answer"]) for m in told["misread"]] == [(3, 1, 7), (2, 6, 5)]
    assert told["confusion"][6][5] == told["confusion"][5][5] == 1
    assert np.sum(told["confusion"]) == 4
    assert [(c["images"], c["right"]) for c in told["calibration"]] == [(1, 1), (1, 0), (1, 1), (1, 0)]


def test_every_rung_is_measured(record):
    assert [r["name"] for r in record["rungs"]] == [r.name for r in RUNGS]
    for rung, row in zip(RUNGS, record["rungs"], strict=True):
        assert len(row["test_correct"]) == (2 if rung.members == 1 else GROUPS)
        assert len(row["tried"]) == (len(rung.choices) if len(rung.choices) > 1 else 0)
    assert np.sum(record["best"]["confusion"]) == record["test_examples"]
    assert record["rungs"][1]["test_correct"][0] > 0.5 * record["test_examples"]


def test_claims_and_tables_follow_the_record(record):
    record["settings"] |= {"dataset": "mnist", "quick": False}
    record["test_examples"] = 10_000
    for row in record["rungs"]:
        row["test_correct"] = [9850] * len(row["test_correct"])
    holds = [claim.holds for claim in EXPERIMENT.verdicts(record)]
    assert holds == [False] * 6 + [None]
    for row in record["rungs"]:
        row["test_correct"] = [9966] * len(row["test_correct"])
    assert [claim.holds for claim in EXPERIMENT.verdicts(record)] == [True] * 5 + [False, None]
    for row in record["rungs"]:
        row["seconds"] = 1201
    assert [claim.holds for claim in EXPERIMENT.verdicts(record)] == [True] * 3 + [False, True, False, None]
    assert "| 1. the book's network | 99.66 (99.66 to 99.66, n = 2) |  |" in tables.ladder_table(record)
    assert tables.choices_table(record).count("**") == 2 * sum(len(r.choices) > 1 for r in RUNGS)


def test_a_goal_is_judged_by_the_rung_that_validation_prefers(record):
    record["test_examples"] = 10_000
    rows = {row["name"]: row for row in record["rungs"]}
    goal = Goal("99 %", 99, ("dropout", "convolution"))
    for name, validation, test in (("dropout", 90, 9950), ("convolution", 91, 9850)):
        rows[name] |= {"validation_correct": [validation], "test_correct": [test] * 2}
    assert goal.claim(record).holds is False
    rows["dropout"]["validation_correct"] = [92]
    assert goal.claim(record).holds is True


def test_the_marks_of_others_stand_beside_the_rungs(record):
    record["settings"]["dataset"] = "mnist"
    axis = EXPERIMENT.plot(record).axes[0]
    told = [text.get_text() for text in axis.texts]
    assert all(f"{mark.right} %: {mark.by}" in told for mark in MARKS)
    places = sorted(line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":")
    assert places == pytest.approx(sorted(100 - mark.right for mark in MARKS))
