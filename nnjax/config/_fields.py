"""The fields of `TrainConfig`: registered names, limits, checks and JSON values."""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Array

from nnjax.nn import ACTIVATIONS, CODES, COSTS, INITIAL_WEIGHTS
from nnjax.optim import OPTIMIZERS, SCHEDULES, Factory
from nnjax.runtime.checks import check_positive_int, check_range

FACTORIES: dict[str, Factory] = {name: default.factory for name, default in OPTIMIZERS.items()}

# For each field that may be a registered name: the word for error messages, and the functions by name.
REGISTRIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "activation": ("activation", ACTIVATIONS),
    "initial_weights": ("initial weights", INITIAL_WEIGHTS),
    "cost": ("cost", COSTS),
    "output_code": ("output code", CODES),
    "optimizer": ("optimizer", FACTORIES),
    "schedule": ("schedule", SCHEDULES),
}

# The fields that may be None, and the maxima of the fields that are numbers.
OPTIONAL_FIELDS = {"dropout", "augment", "learning_rate", "ema_decay"}
MAXIMA = {
    **dict.fromkeys(("l1", "l2", "learning_rate"), math.inf),
    **dict.fromkeys(("dropout", "input_dropout", "label_smoothing", "ema_decay"), 1.0),
}

# The fields that can become axes of a sweep.
SWEEP_ARGUMENTS = {"hidden", "initial_weights", "learning_rate", "schedule", "ema_decay", "batch_size"}


def check_not_fields(arguments: Mapping[str, Any], names: set[str]) -> None:
    """Raises ValueError if an argument of `TrainConfig.fit` or `sweep` is a field that they do not vary."""
    if fixed := sorted(names & set(arguments)):
        raise ValueError(
            f"{', '.join(fixed)} must be set with dataclasses.replace, got an argument; only "
            f"{', '.join(sorted(SWEEP_ARGUMENTS))} and hyper-parameters can be axes of a sweep"
        )


def with_length(kwargs: dict[str, Any], runtime: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `fit` with `runtime`, in which `steps` replaces `epochs`."""
    return kwargs | ({} if runtime.get("steps") is None else {"epochs": None}) | dict(runtime)


def as_name(value: Any) -> str:
    """A name to look up: `value` if it is a string, else its repr, which the error message shows."""
    return value if isinstance(value, str) else repr(value)


def checked_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Positive integers as a tuple; raises ValueError for anything else."""
    if isinstance(sizes, str | Mapping) or not isinstance(sizes, Iterable):
        raise ValueError(f"{name} must be a sequence of positive integers, such as (30,), got {sizes!r}")
    return tuple(check_positive_int(f"each number in {name}", size) for size in sizes)


def check_finite_number(name: str, value: Any, maximum: float = math.inf) -> None:
    """Raises ValueError unless `value` is a finite number from 0 to `maximum`; arrays pass."""
    if value is None or isinstance(value, bool | str | list | tuple | Mapping):
        raise ValueError(f"{name} must be a number, got {value!r}")
    check_range(name, value, 0, maximum)
    if isinstance(value, numbers.Real) and math.isinf(value):
        raise ValueError(f"{name} must be finite, got {value}")


def config_repr(config: Any) -> str:
    """A configuration as text, with functions by their registered names."""
    shown = []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        _, registry = REGISTRIES.get(f.name, ("", {}))
        name = next((name for name, function in registry.items() if function == value), value)
        shown.append(f"{f.name}={name!r}")
    return f"TrainConfig({', '.join(shown)})"


def json_value(name: str, value: Any) -> Any:
    """`value` as a JSON value; raises ValueError for functions and other objects."""
    if isinstance(value, Mapping):
        return {key: json_value(f"{name} {key}", v) for key, v in value.items()}
    if isinstance(value, tuple):
        return [json_value(name, v) for v in value]
    if isinstance(value, np.generic | np.ndarray | Array) and np.ndim(value) == 0:
        return value.item()
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError(f"{name} must be a number or a string to be saved, got {value!r}")
    return value
