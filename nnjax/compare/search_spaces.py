"""The settings of an optimizer at points of its search space.

A point is 8 quantiles between 0 and 1. Each tuned hyper-parameter is computed from the quantile in its
column. The learning rates of all optimizers have the same column, their momenta have the same column, and so
on. So all optimizers share the quantiles of these hyper-parameters.
"""

import inspect
from collections.abc import Sequence
from typing import NamedTuple

from nnjax.compare._decoupled_decay import Factory, accepts, with_decoupled_decay
from nnjax.compare._distributions import LogUniform, is_number, log_uniform, one_minus_log_uniform
from nnjax.compare._gradient_scale import grows_with_gradient
from nnjax.compare._tunable import BATCH_MULTIPLIER_COLUMN, Tunable, as_tunable, check_tunable, columns

__all__ = [
    "LogUniform",
    "Setting",
    "Tunable",
    "as_tunable",
    "check_tunable",
    "columns",
    "factory_for",
    "log_uniform",
    "one_minus_log_uniform",
    "scales_with_gradient",
    "setting",
    "tuned_space",
    "with_decoupled_decay",
]

SCHEDULE_COLUMN = 1
WEIGHT_DECAY_COLUMN = 3

# The distribution of the weight decay on problems that tune it, unless the optimizer's space has another one.
WEIGHT_DECAY = LogUniform(1e-3, 10, zero_share=0.25)

DEFAULT_SCHEDULE = "warmup_linear"


class Setting(NamedTuple):
    """The hyper-parameters of one run, the name of its schedule, and the factor of its batch size."""

    hyperparameters: dict[str, float]
    schedule: str
    batch_multiplier: int


def tuned_space(
    tunable: Tunable,
    *,
    learning_rate_scale: float,
    has_weight_decay: bool,
    is_standard: bool,
    widened: tuple[int, int] = (0, 0),
) -> dict[str, LogUniform]:
    """The distributions of the hyper-parameters that are tuned on a problem.

    Args:
      tunable: the optimizer and its search space.
      learning_rate_scale: multiplies the learning rates of an optimizer that scales with gradients.
      has_weight_decay: whether the problem tunes weight decay. If it does, `weight_decay` is tuned for every
        factory that accepts it. If not, it is not tuned.
      is_standard: whether the standard space is tuned too.
      widened: decades by which the range of the learning rate is wider, below and above.

    >>> import optax
    >>> tunable = as_tunable(optax.sgd)
    >>> tuned_space(tunable, learning_rate_scale=10, has_weight_decay=False, is_standard=False)
    {'learning_rate': LogUniform(low=0.001, high=10.0, one_minus=False, zero_share=0.0)}
    """
    fixed = set() if is_standard else {*tunable.standard_space} - {"weight_decay"}
    if not has_weight_decay:
        fixed.add("weight_decay")
    return {
        name: distribution.widened(*widened) if name == "learning_rate" else distribution
        for name, distribution in _distributions(tunable, learning_rate_scale, has_weight_decay).items()
        if name not in fixed
    }


def setting(
    tunable: Tunable,
    point: Sequence[float] | None,
    *,
    learning_rate_scale: float,
    has_weight_decay: bool,
    schedules: Sequence[str],
    is_standard: bool,
    widened: tuple[int, int] = (0, 0),
) -> Setting:
    """The setting at a point of the search space.

    All settings of one optimizer have the same hyper-parameters, so that one compiled program trains them.
    Hyper-parameters that are not tuned have their default values: those of `tunable.default`, else those of
    the factory, else the median of the distribution. The weight decay is an exception: it is 0 if the search
    space has it and the problem does not tune it.

    Args:
      tunable: the optimizer and its search space.
      point: 8 quantiles, at least 0 and less than 1; None for the default setting.
      schedules: the names of the budget's schedules.
      learning_rate_scale, has_weight_decay, is_standard, widened: as in `tuned_space`.

    >>> import optax
    >>> adam = Tunable(optax.adam, {"learning_rate": log_uniform(1e-4, 1)}, scales_with_gradient=False)
    >>> setting(adam, (0.25,) * 8, learning_rate_scale=1, has_weight_decay=False,
    ...         schedules=("warmup_linear",), is_standard=False)
    Setting(hyperparameters={'learning_rate': 0.001}, schedule='warmup_linear', batch_multiplier=1)
    """
    tuned = tuned_space(
        tunable, learning_rate_scale=learning_rate_scale, has_weight_decay=has_weight_decay,
        is_standard=is_standard, widened=widened,
    )  # fmt: skip
    column_of = {"weight_decay": WEIGHT_DECAY_COLUMN} | columns(tunable)
    values: dict[str, float] = {}
    for name, distribution in _distributions(tunable, learning_rate_scale, has_weight_decay).items():
        if name == "weight_decay" and not has_weight_decay:
            values[name] = 0.0
        elif point is not None and name in tuned:
            values[name] = tuned[name].at(point[column_of[name]])
        else:
            values[name] = _default(tunable, name, distribution)
    own_schedules = tunable.schedules or tuple(schedules)
    if point is None:
        schedule = DEFAULT_SCHEDULE if DEFAULT_SCHEDULE in own_schedules else own_schedules[0]
        return Setting(values, schedule, tunable.batch_multipliers[0])
    multiplier = _choice(tunable.batch_multipliers, point[BATCH_MULTIPLIER_COLUMN])
    return Setting(values, _choice(own_schedules, point[SCHEDULE_COLUMN]), multiplier)


def _distributions(
    tunable: Tunable, learning_rate_scale: float, has_weight_decay: bool
) -> dict[str, LogUniform]:
    """The distributions of all hyper-parameters on a problem, also of those that a budget does not tune."""
    spaces = {**tunable.space, **tunable.standard_space}
    if has_weight_decay and accepts(factory_for(tunable, has_weight_decay), "weight_decay"):
        spaces.setdefault("weight_decay", WEIGHT_DECAY)
    if "learning_rate" in spaces:
        factor = _rate_factor(tunable, learning_rate_scale)
        spaces["learning_rate"] = spaces["learning_rate"].scaled(factor)
    return spaces


def _choice(options: Sequence, u: float):
    """The option at the quantile u, if all have equal probability."""
    return options[int(u * len(options))]


def _rate_factor(tunable: Tunable, learning_rate_scale: float) -> float:
    """The problem's scale if the optimizer scales with gradients, else 1."""
    if learning_rate_scale == 1:  # no probe is needed
        return 1.0
    return learning_rate_scale if scales_with_gradient(tunable) else 1.0


def _default(tunable: Tunable, name: str, distribution: LogUniform) -> float:
    """The value of a hyper-parameter in the default setting."""
    parameter = inspect.signature(tunable.factory).parameters.get(name)
    if name == "weight_decay" and parameter is None:
        return 0.0  # the factory itself has no weight decay
    if name in tunable.default:
        return float(tunable.default[name])
    if parameter is not None and is_number(parameter.default):
        return float(parameter.default)
    return distribution.median


def scales_with_gradient(tunable: Tunable) -> bool:
    """Whether the updates of an optimizer grow with its gradients.

    If the `Tunable` does not declare it, a probe finds it out. A probe compiles a small program, so call this
    function once for each optimizer, and store the result in the `Tunable`.

    >>> import optax
    >>> scales_with_gradient(as_tunable(optax.sgd)), scales_with_gradient(as_tunable(optax.adam))
    (True, False)
    """
    if tunable.scales_with_gradient is not None:
        return tunable.scales_with_gradient
    default = setting(
        tunable, None, learning_rate_scale=1, has_weight_decay=False, schedules=("constant",),
        is_standard=False,
    )  # fmt: skip
    return grows_with_gradient(tunable.factory, default.hyperparameters)


def factory_for(tunable: Tunable, has_weight_decay: bool) -> Factory:
    """The factory to train with, which has decoupled weight decay if the problem has weight decay.

    A factory that has `weight_decay`, or that has no `learning_rate`, is not changed.

    >>> import optax
    >>> factory_for(as_tunable(optax.sgd), has_weight_decay=True) == with_decoupled_decay(optax.sgd)
    True
    """
    factory = tunable.factory
    has_own = accepts(factory, "weight_decay") or "weight_decay" in {
        *tunable.space, *tunable.standard_space
    }  # fmt: skip
    if has_weight_decay and not has_own and accepts(factory, "learning_rate"):
        return with_decoupled_decay(factory)
    return factory
