"""The steps of the ladder: what each changes in the configuration, and which candidates it tries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import nnjax
from nnjax.compare import protocol

BEST = nnjax.configs["best-cpu"]
NO_DROPOUT: dict[str, Any] = {"dropout": None, "input_dropout": 0.0}
FIRST_CONFIG = replace(nnjax.configs["book"], learning_rate=3.0)


@dataclass(frozen=True)
class LadderStep:
    """One idea.

    Attributes:
      name: for tables and figure.
      changes: fields of the `TrainConfig` that differ from the step before.
      candidates: further changes, of which validation selects one; () if there is nothing to select.
      ensemble_size: networks whose probabilities are averaged.
      in_quick_run: whether a quick run trains it; the others only change the configuration.
    """

    name: str
    changes: Mapping[str, Any]
    candidates: Sequence[Mapping[str, Any]] = ()
    ensemble_size: int = 1
    in_quick_run: bool = False


def _rates(*rates: float) -> list[dict[str, float]]:
    return [{"learning_rate": rate} for rate in rates]


STEPS = (
    LadderStep("the book's network", {}, in_quick_run=True),
    LadderStep("cross-entropy", {"cost": "softmax_cross_entropy"}, _rates(0.1, 0.2, 0.5), in_quick_run=True),
    LadderStep("LeCun's initial weights", {"initial_weights": "lecun"}, _rates(0.1, 0.2, 0.5)),
    LadderStep(
        "weight penalty",
        {},
        [{"l2": rate} for rate in (3e-5, 1e-4, 3e-4)] + [{"l1": rate} for rate in (3e-6, 1e-5, 3e-5)],
    ),
    LadderStep("more neurons", {}, [{"hidden": (n,)} for n in (100, 300)]),
    LadderStep(
        "Adam, cosine schedule",
        {"optimizer": "adam", "schedule": "cosine", "batch_size": 50},
        _rates(0.0005, 0.001, 0.002),
    ),
    LadderStep("ReLU", {"activation": "relu", "initial_weights": "he"}, _rates(0.0005, 0.001, 0.002)),
    LadderStep(
        "dropout",
        {"dropout": 0.5, "input_dropout": 0.2, "hidden": (1000,), "l1": 0.0, "l2": 0.0, "batch_size": 100}
        | {"epochs": 40},
        [*_rates(0.001, 0.002), {"learning_rate": 0.002} | NO_DROPOUT],
    ),
    LadderStep("augmentation", NO_DROPOUT | {"augment": {}}),
    LadderStep("two hidden layers", {"hidden": (800, 800)}),
    LadderStep(
        "convolution",
        {name: getattr(BEST, name) for name in ("channels", "hidden", "batch_size", "learning_rate")}
        | {"epochs": 12},
    ),
    LadderStep("weight averaging", {"ema_decay": BEST.ema_decay}),
    LadderStep("label smoothing", {"label_smoothing": 0.1}),
    LadderStep("ensemble of five", {}, ensemble_size=5, in_quick_run=True),
)


def changes_to_json(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of a configuration as JSON values.

    >>> changes_to_json({"hidden": (100,), "activation": nnjax.relu})
    {'hidden': [100], 'activation': 'relu'}
    """
    values = replace(nnjax.TrainConfig(), **changes).to_json()
    return {name: values[name] for name in changes}


def select_candidate(results: Sequence[Mapping[str, Any]]) -> int:
    """The index of the candidate with the best mean on validation, of equal ones that with the lowest rate.

    Args:
      results: for each candidate, its `changes` and its `validation_correct`, one count for each seed.

    >>> select_candidate([{"changes": {}, "validation_correct": counts} for counts in ([8, 9], [9, 9])])
    1
    """
    selection = [-float(np.mean(result["validation_correct"])) for result in results]
    return protocol.select(selection, [result["changes"].get("learning_rate", 0.0) for result in results])
