"""The plan of a comparison: its arguments, problems and notes."""

from dataclasses import replace

import jax.numpy as jnp
import optax
import pytest

import nnjax
from nnjax.compare import Tunable, compare, log_uniform, runner
from nnjax.compare.plan import make_plan
from small_comparison import SMALL, TINY, cost, report_of, sgd, tuned


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizers": {}}, "optimizers must have at least one optimizer, got none"),
        ({"against": ("adamww",)}, "against must be one of .* did you mean 'adamw'"),
        ({"optimizers": sgd}, "optimizers must be a mapping such as {'mine': my_factory}, got <function sgd"),
        ({"optimizers": {"mine": "adamww"}}, "optimizers must be one of .*'adamw'"),
        ({"against": ()}, "against must name at least one baseline, got none"),
        ({"against": "adamww"}, r"against must be one of"),
        ({"against": ("sgd", "sgd")}, "against must have different names, got 'sgd' twice"),
        ({"problems": (SMALL, replace(SMALL))}, "problems must have different names, got 'small' twice"),
        ({"problems": (replace(SMALL, name="bigram"), "quick")}, "problems must have different names"),
        ({"optimizers": {"adamw": sgd}}, "optimizers must have one that is not in against, got only adamw"),
        ({"problems": "quik"}, "problems must be one of .* did you mean 'quick'"),
        ({"problems": ()}, "problems must have at least one problem or suite, got none"),
        ({"problems": 5}, "problems must be a problem, a suite, or a sequence of these, got 5"),
        ({"against": None}, "against must be the name of a baseline, or several names, got None"),
        ({"budget": "large"}, "budget must be one of quick, standard, got 'large'"),
        ({"optimizers": {"mine": optax.sgd(0.1)}}, "mine must be a function that returns an optax optimizer"),
        (
            {"optimizers": {"mine": Tunable(sgd, None)}},
            "^space of mine must be a mapping such as {}, got",
        ),
        ({"optimizers": {"mine": Tunable(sgd, {}, [])}}, "standard_space of mine must be a mapping"),
        ({"optimizers": {"mine": Tunable(sgd, {}, default=None)}}, "default of mine must be a mapping"),
        (
            {"optimizers": {"mine": Tunable(sgd, {}, schedules="constant")}},
            r'schedules of mine must be a tuple such as \("constant",\), or None, got \'constant\'',
        ),
        (
            {"optimizers": {"mine": Tunable(sgd, {}, scales_with_gradient="yes")}},
            "scales_with_gradient of mine must be True, False or None, got 'yes'",
        ),
        ({"learning_rate": (1, 1e-4)}, "low and high must be finite numbers with 0 < low < high"),
    ],
)
def test_wrong_arguments(settings, message):
    arguments = {"optimizers": {"mine": sgd}, "problems": "bigram", "budget": TINY} | settings
    with pytest.raises(ValueError, match=message):
        compare(arguments.pop("optimizers"), **arguments)


def with_cost(function, **changes):
    return replace(SMALL, objective=replace(SMALL.objective, cost=function), **changes)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (with_cost(lambda theta, x: x[9] / None), "evaluation of small raised TypeError: "),
        (
            with_cost(lambda theta, x: cost(theta, x) - 1e6),
            r"small must have .* got -.* on validation",
        ),
        (with_cost(lambda theta, x: jnp.nan * theta[0]), "small must have a positive and finite metric"),
        (replace(SMALL, floor=lambda data, split: 1e6), "small must have a positive and finite metric"),
        (replace(SMALL, load=lambda: {}["a"]), "load of small raised KeyError: 'a'"),
        (replace(SMALL, load=lambda: 3), "load of small must be a function that returns a Dataset, got 3"),
        (
            replace(nnjax.problems["modular_addition"], target_accuracy=1e-6),
            "got 0 on validation: the initial parameters must not reach target_accuracy",
        ),
    ],
)
def test_a_problem_without_a_positive_metric_is_an_error_before_training(problem, message, monkeypatch):
    monkeypatch.setattr(runner.Runner, "run", lambda *a: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        report_of(sgd, problem=problem)


def test_an_optimizer_of_a_user_that_is_called_adam_does_not_coincide_with_adamw():
    plan = make_plan({"adam": tuned(sgd)}, ("adamw",), SMALL, TINY, (1e-4, 1.0))
    assert not any("coincide" in note for note in plan.notes)


def test_an_optimizer_with_fewer_tuned_hyperparameters_is_a_note():
    momentum = {"momentum": log_uniform(0.1, 0.9)}
    optimizers = {"one": tuned(sgd), "two": tuned(optax.sgd, **momentum)}
    plan = make_plan(optimizers, ("two", "sgd"), SMALL, TINY, (1e-4, 1.0))
    (note,) = plan.notes
    assert note.startswith("two tunes 2 hyper-parameters, and one tunes 1. With few trials, fewer")


def test_an_optimizer_can_be_compared_with_another_one_of_the_user():
    plan = make_plan({"mine": tuned(sgd), "plain": tuned(sgd)}, ("plain", "sgd"), SMALL, TINY, (1e-4, 1.0))
    assert (plan.candidates, plan.baselines) == (("mine",), ("plain", "sgd"))
    assert sorted(task.optimizer for task in plan.tasks) == ["mine", "plain", "sgd"]
    report = compare({"mine": tuned(sgd), "plain": tuned(sgd)}, against="plain", problems=SMALL, budget=TINY)
    (row,) = report.verdicts.to_dict("records")
    assert (row["optimizer"], row["baseline"], row["effect"]) == ("mine", "plain", 0.0)


def test_an_optimizer_whose_space_is_empty_is_a_note():
    rates = {"learning_rate": log_uniform(0.1, 1)}
    optimizers = {
        "fixed": lambda: optax.sgd(0.1),
        "empty": Tunable(optax.sgd, {"learning_rate": log_uniform(0.1, 1)}),
        "standard_only": Tunable(optax.sgd, {}, rates, default={"learning_rate": 0.1}),
        "decay_only": Tunable(optax.adamw, {"weight_decay": log_uniform(0.1, 1)}, rates),
    }
    plan = make_plan(optimizers, "adamw", SMALL, TINY, (1e-4, 1.0))
    noted = ["fixed", "standard_only", "decay_only"]
    assert untuned(plan) == [f"No hyper-parameter of {name}" for name in noted]
    with_decay = make_plan(
        {"mine": optimizers["decay_only"]}, "adamw", [SMALL, "modular_addition"], TINY, (1e-4, 1.0)
    )
    assert untuned(with_decay) == []
    standard = make_plan(
        {"mine": optimizers["standard_only"]}, "adamw", SMALL, replace(TINY, is_standard=True), (1e-4, 1.0)
    )
    assert untuned(standard) == []


def untuned(plan):
    return [note.split(" is tuned")[0] for note in plan.notes if note.startswith("No hyper-parameter")]
