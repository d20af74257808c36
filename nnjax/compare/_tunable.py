"""An optimizer with its search space, checks of both, and the column of each hyper-parameter in a point."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

import optax

from nnjax.compare._decoupled_decay import Factory, accepts, accepts_any
from nnjax.compare._distributions import LogUniform, is_number, log_uniform
from nnjax.optim.schedules import SCHEDULES
from nnjax.runtime.checks import check_positive_int, lookup

BATCH_MULTIPLIER_COLUMN = 7

# The columns of hyper-parameters that many factories have in common.
COLUMN_OF_NAME = {
    "learning_rate": 0,
    **dict.fromkeys(("b1", "beta", "beta1", "momentum"), 2),
    "weight_decay": 3,
    **dict.fromkeys(("b2", "beta2", "decay"), 4),
    "eps": 5,
}

# The columns of other hyper-parameters, in this order, if they are free. Column 1 is that of the schedule.
EXTRA_COLUMNS = (6, 7, 2, 4, 5)


@dataclass(frozen=True)
class Tunable:
    """An optimizer, and how it is tuned.

    Attributes:
      factory: an optax factory such as `optax.adam`. It gets the hyper-parameters as traced numbers.
      space: the distributions of the hyper-parameters that every budget tunes.
      standard_space: the distributions of the hyper-parameters that only the standard budget tunes. With the
        quick budget, they have their default values.
      schedules: names in `nnjax.optim.SCHEDULES` that replace the schedules of the budget; ("constant",) for
        an optimizer that has no learning rate, or must not have a schedule.
      default: values of the default setting that differ from the factory's defaults.
      cost: the nominal cost of a step, in gradients of a mini-batch; if `freezes`, the smallest one.
      batch_multipliers: factors of the batch size, one of which each trial uses. With a larger batch size, a
        run has fewer steps.
      scales_with_gradient: whether the updates grow with the gradients. If so, the learning rate is
        multiplied by the `learning_rate_scale` of the problem. If None, a probe of the optimizer decides.
      freezes: whether the factory has a parameter `budget`, the number of gradients after which the
        parameters stop changing. Optimizers whose steps have different costs need it.
    """

    factory: Factory
    space: Mapping[str, LogUniform]
    standard_space: Mapping[str, LogUniform] = field(default_factory=dict)
    schedules: tuple[str, ...] | None = None
    default: Mapping[str, float] = field(default_factory=dict)
    cost: float = 1.0
    batch_multipliers: tuple[int, ...] = (1,)
    scales_with_gradient: bool | None = None
    freezes: bool = False


def as_tunable(optimizer: Tunable | Factory, learning_rate: tuple[float, float] = (1e-4, 1.0)) -> Tunable:
    """A `Tunable` unchanged; a factory as a `Tunable` of which only the learning rate is tuned.

    A factory without a parameter `learning_rate` is trained without a schedule, and nothing is tuned.

    Args:
      optimizer: a `Tunable` or an optax factory.
      learning_rate: the bounds of the learning rate of a factory.

    >>> as_tunable(optax.adam).space
    {'learning_rate': LogUniform(low=0.0001, high=1.0, one_minus=False, zero_share=0.0)}
    """
    if isinstance(optimizer, Tunable):
        return optimizer
    if callable(optimizer) and not accepts_any(optimizer) and not accepts(optimizer, "learning_rate"):
        return Tunable(optimizer, {}, schedules=("constant",), scales_with_gradient=False)
    return Tunable(optimizer, {"learning_rate": log_uniform(*learning_rate)})


def columns(tunable: Tunable) -> dict[str, int]:
    """For each tuned hyper-parameter, the column of a point, from 0 to 7, with its quantile.

    The columns belong to the learning rate, the schedule, 1 − β₁, the weight decay, 1 − β₂ and ε; the last
    two belong to other hyper-parameters. If there are several batch multipliers, column 7 selects one.

    Raises:
      ValueError: there are more hyper-parameters than columns.

    >>> columns(Tunable(optax.adam, dict.fromkeys(("learning_rate", "b2", "eps_root"), log_uniform(0.1, 1))))
    {'learning_rate': 0, 'b2': 4, 'eps_root': 6}
    """
    names = [*tunable.space, *tunable.standard_space]
    known: dict[str, int] = {}
    for name in names:
        if name in COLUMN_OF_NAME and COLUMN_OF_NAME[name] not in known.values():
            known[name] = COLUMN_OF_NAME[name]
    others = [name for name in names if name not in known]
    taken = {*known.values(), *([BATCH_MULTIPLIER_COLUMN] if len(tunable.batch_multipliers) > 1 else [])}
    free = [column for column in EXTRA_COLUMNS if column not in taken]
    if len(others) > len(free):
        raise ValueError(
            f"a search space with these hyper-parameters must have at most {len(known) + len(free)}, got "
            f"{len(names)}: {', '.join(names)}"
        )
    of_name = known | dict(zip(others, free, strict=False))
    return {name: of_name[name] for name in names}


def check_tunable(name: str, tunable: Tunable) -> None:
    """Checks a `Tunable` of a user.

    Args:
      name: the optimizer's name, for messages.
      tunable: the optimizer and its search space.

    Raises:
      ValueError: the factory is not callable or does not accept a hyper-parameter, a required hyper-parameter
        is missing, or a distribution, a schedule, the cost or a batch multiplier is wrong.

    >>> check_tunable("mine", Tunable(optax.sgd, {"rate": log_uniform(0.1, 1)}))
    Traceback (most recent call last):
    ValueError: a hyper-parameter in the space of mine must be one of learning_rate, momentum, ...
    """
    _check_factory(name, tunable.factory)
    for key in ("space", "standard_space", "default"):
        if not isinstance(value := getattr(tunable, key), Mapping):
            raise ValueError(f"{key} of {name} must be a mapping such as {{}}, got {value!r}")
    if not isinstance(tunable.schedules, tuple | None):
        raise ValueError(
            f'schedules of {name} must be a tuple such as ("constant",), or None, got {tunable.schedules!r}'
        )
    if tunable.scales_with_gradient not in (True, False, None):
        raise ValueError(
            f"scales_with_gradient of {name} must be True, False or None, got "
            f"{tunable.scales_with_gradient!r}"
        )
    for space in (tunable.space, tunable.standard_space):
        for key, distribution in space.items():
            if not isinstance(distribution, LogUniform):
                raise ValueError(
                    f"{key} in the space of {name} must be a distribution such as "
                    f"nnjax.log_uniform(0.001, 1), got {distribution!r}"
                )
    _check_names(name, tunable)
    for schedule in tunable.schedules or ():
        lookup(f"a schedule of {name}", schedule, SCHEDULES)
    if tunable.schedules == ():
        raise ValueError(f"schedules of {name} must have at least one name, or be None, got ()")
    if not is_number(tunable.cost) or not 0 < tunable.cost < math.inf:
        raise ValueError(f"cost of {name} must be positive and finite, got {tunable.cost!r}")
    if not isinstance(tunable.batch_multipliers, tuple) or not tunable.batch_multipliers:
        raise ValueError(
            f"batch_multipliers of {name} must be a tuple such as (1, 4), got {tunable.batch_multipliers!r}"
        )
    for multiplier in tunable.batch_multipliers:
        check_positive_int(f"a batch multiplier of {name}", multiplier)
    columns(tunable)


def _check_factory(name: str, factory: Any) -> None:
    if isinstance(factory, optax.GradientTransformation):
        raise ValueError(
            f"{name} must be a function that returns an optax optimizer, got an optimizer: write "
            f"def {name}(learning_rate): return ..."
        )
    if not callable(factory):
        raise ValueError(f"{name} must be a function that returns an optax optimizer, got {factory!r}")


def _check_names(name: str, tunable: Tunable) -> None:
    """Checks that the factory accepts the names of the spaces, and needs no others."""
    parameters = signature(tunable.factory).parameters
    tuned = [*tunable.space, *tunable.standard_space]
    if not accepts_any(tunable.factory):
        for key in [*tuned, *(["budget"] if tunable.freezes else [])]:
            lookup(f"a hyper-parameter in the space of {name}", key, parameters)
    if len(set(tuned)) < len(tuned):
        repeated = next(key for key in tuned if tuned.count(key) > 1)
        raise ValueError(f"{repeated} must be in space or in standard_space of {name}, got both")
    for key, value in tunable.default.items():
        lookup(f"a name in default of {name}", key, dict.fromkeys(tuned))
        if not is_number(value) or not math.isfinite(value):
            raise ValueError(f"the default {key} of {name} must be a finite number, got {value!r}")
    for key, parameter in parameters.items():
        is_required = parameter.default is Parameter.empty
        if is_required and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            _check_required(name, key, parameter, tuned)


def _check_required(name: str, key: str, parameter: Parameter, tuned: list[str]) -> None:
    if parameter.kind is Parameter.POSITIONAL_ONLY:
        raise ValueError(f"{name} must accept {key} as a keyword, got a positional-only parameter")
    if key not in tuned:
        raise ValueError(
            f"the parameter {key} of {name} must have a default value, or a distribution in the space of a "
            "Tunable, got neither"
        )
