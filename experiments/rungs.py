"""The rungs of the ladder: what each changes of the recipe before it, and what is tried of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

import nnjax
from nnjax.config import TrainConfig, configs
from nnjax.nn.conv import all_layers

BEST = configs["best-cpu"]
ADAM = nnjax.Falling(optax.adam)
NO_DROPOUT: dict[str, Any] = {"dropout": None, "input_dropout": 0.0}


def l1(rate: Any, params: Any) -> jax.Array:
    """λ Σ|w|, of the weights alone."""
    return rate * sum(jnp.sum(jnp.abs(layer.w)) for layer in all_layers(params))


def l2(rate: Any, params: Any) -> jax.Array:
    """λ/2 Σw², of the weights alone: the book's equation 87, whose λ/n is this λ."""
    return rate / 2 * sum(jnp.sum(layer.w**2) for layer in all_layers(params))


def penalty(of: Any, rate: float) -> Any:
    """A penalty whose λ is a number of the objective."""
    return jax.tree_util.Partial(of, rate)


def varied(recipe: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """The recipe with other parts; what is no part of a recipe is a hyper-parameter of its optimizer."""
    parts = {field.name for field in fields(TrainConfig)}
    numbers = {name: value for name, value in changes.items() if name not in parts}
    own = {name: value for name, value in changes.items() if name in parts}
    return replace(recipe, **own, hyperparameters={**recipe.hyperparameters, **numbers})


@dataclass(frozen=True)
class Rung:
    """One idea: what it changes of the recipe below, and what is tried, of which validation chooses.

    Attributes:
      name: for the figure.
      changes: parts of a `Recipe`, and hyper-parameters.
      choices: changes more, each tried with seeds of their own; () where nothing is left to choose.
      members: networks that answer together.
    """

    name: str
    changes: Mapping[str, Any]
    choices: Sequence[Mapping[str, Any]] = ()
    members: int = 1


def _rates(*rates: float) -> list[dict[str, float]]:
    return [{"learning_rate": rate} for rate in rates]


RUNGS = (
    Rung("the book's network", {}),
    Rung("cross-entropy", {"cost": nnjax.softmax_cross_entropy}, _rates(0.1, 0.2, 0.5)),
    Rung("scaled weights", {"initial_weights": nnjax.lecun}, _rates(0.1, 0.2, 0.5)),
    Rung(
        "a penalty on weights",
        {},
        [{"penalty": penalty(l2, rate)} for rate in (3e-5, 1e-4, 3e-4)]
        + [{"penalty": penalty(l1, rate)} for rate in (3e-6, 1e-5, 3e-5)],
    ),
    Rung("more neurons", {}, [{"hidden": (n,)} for n in (100, 300)]),
    Rung("Adam, falling rate", {"optimizer": ADAM, "batch_size": 50}, _rates(0.0005, 0.001, 0.002)),
    Rung(
        "rectified neurons",
        {"activation": nnjax.relu, "initial_weights": nnjax.he},
        _rates(0.0005, 0.001, 0.002),
    ),
    Rung(
        "dropout",
        {"dropout": 0.5, "input_dropout": 0.2, "hidden": (1000,), "penalty": None, "batch_size": 100}
        | {"epochs": 40},
        [*_rates(0.001, 0.002), {"learning_rate": 0.002} | NO_DROPOUT],
    ),
    Rung("distorted images", NO_DROPOUT | {"distorted": {}}),
    Rung("two hidden layers", {"hidden": (800, 800)}),
    Rung(
        "convolution",
        {name: getattr(BEST, name) for name in ("channels", "hidden", "batch_size")}
        | {**BEST.hyperparameters, "epochs": 12},
    ),
    Rung("averaged weights", {"optimizer": BEST.optimizer}),
    Rung("smoothed labels", {"code": nnjax.LabelSmoothing(0.1)}),
    Rung("five networks together", {}, members=5),
)
