"""Variants of gradient descent: a registry of optax factories, and a pytree for an optimizer."""

import inspect
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nnjax.optim.ema import with_ema
from nnjax.optim.extra_args import accept_extra_args
from nnjax.optim.gauss_newton import gauss_newton
from nnjax.optim.schedules import SCHEDULES, Schedule, choose, constant, is_named, of_step, with_schedule
from nnjax.runtime.checks import check_range, lookup

Factory = Callable[..., optax.GradientTransformation]


def momentum(learning_rate: float, momentum: float = 0.9) -> optax.GradientTransformation:
    """v → μv + ∇C, w → w − ηv: the velocity v accumulates gradients (Polyak, 1964)."""
    return optax.sgd(learning_rate, momentum)


def nesterov(learning_rate: float, momentum: float = 0.9) -> optax.GradientTransformation:
    """Momentum with the gradient at the point w − ημv, where the velocity would lead (Nesterov, 1983)."""
    return optax.sgd(learning_rate, momentum, nesterov=True)


class OptimizerDefaults(NamedTuple):
    """An optimizer's factory, and its default learning rate for the book's network on MNIST.

    A learning rate of None leaves it to the factory: L-BFGS has a line search.
    """

    factory: Factory
    learning_rate: float | None


OPTIMIZERS: dict[str, OptimizerDefaults] = {
    "sgd": OptimizerDefaults(optax.sgd, 3.0),
    "momentum": OptimizerDefaults(momentum, 0.1),
    "nesterov": OptimizerDefaults(nesterov, 0.1),
    "adagrad": OptimizerDefaults(optax.adagrad, 1.0),
    "rmsprop": OptimizerDefaults(optax.rmsprop, 0.003),
    "adam": OptimizerDefaults(optax.adam, 0.003),
    "adamw": OptimizerDefaults(optax.adamw, 0.003),
    "lion": OptimizerDefaults(optax.lion, 0.0003),
    "muon": OptimizerDefaults(optax.contrib.muon, 0.003),
    "lbfgs": OptimizerDefaults(optax.lbfgs, None),
    "gauss_newton": OptimizerDefaults(gauss_newton, 1.0),
}


def mask_gradients(mask: Any, grads: Any) -> Any:
    """The gradients, with zeros where the mask is False; the mask is broadcast to their shapes."""
    return jax.tree.map(lambda keep, g: jnp.where(keep, g, jnp.zeros_like(g)), mask, grads)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Optimizer:
    """A factory and its hyper-parameters as a pytree; the leaves are the hyper-parameters that are numbers.

    The optax transformation is built inside the compiled step, from traced numbers. So a new learning rate
    does not recompile, and a sweep can `vmap` over it.

    Attributes:
      factory: an optax factory, or a ready `optax.GradientTransformation`.
      static_args: hyper-parameters that are not traced, as pairs of name and value.
      schedules: one of these schedules multiplies the learning rate; the others belong to other networks of
        the same program.
      hyperparams: traced hyper-parameters by name.
      schedule_index: the index in `schedules` of the one that is used; None if there is only one.
      num_steps: the total number of steps; None if no schedule needs it.
      ema_decay: the decay of the average that evaluation uses; None for no averaging.
    """

    factory: Factory | optax.GradientTransformation = field(metadata={"static": True})
    static_args: tuple[tuple[str, Any], ...] = field(metadata={"static": True})
    schedules: tuple[Schedule, ...] = field(metadata={"static": True})
    hyperparams: dict[str, float]
    schedule_index: int | None = None
    num_steps: float | None = None
    ema_decay: float | None = None

    @property
    def is_plain_sgd(self) -> bool:
        """Whether a step is exactly w → w − η∇C, with a constant η."""
        only_rate = list(self.hyperparams) == ["learning_rate"] and not self.static_args
        return self.factory is optax.sgd and only_rate and self.has_constant_rate and self.ema_decay is None

    @property
    def has_constant_rate(self) -> bool:
        """Whether no schedule changes the learning rate."""
        return self.schedules == (constant,)

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        if isinstance(self.factory, optax.GradientTransformation):
            transformation = self.factory
        elif self.has_constant_rate:
            transformation = self.factory(**dict(self.static_args), **self.hyperparams)
        else:
            rest = dict(self.hyperparams)
            learning_rate = rest.pop("learning_rate")
            factory = partial(_with_learning_rate, self.factory, dict(self.static_args) | rest)
            schedules = [of_step(schedule, self.num_steps) for schedule in self.schedules]
            transformation = with_schedule(factory, learning_rate, choose(schedules, self.schedule_index))
        if self.ema_decay is not None:
            transformation = with_ema(transformation, self.ema_decay)
        return accept_extra_args(transformation)

    # Some optax optimizers mix dtypes, which raises an error under strict dtype promotion.

    def init(self, params: Any) -> optax.OptState:
        """The optimizer's state before the first step."""
        with jax.numpy_dtype_promotion("standard"):
            return self._transformation().init(params)

    def apply(
        self, grads: Any, opt_state: optax.OptState, params: Any, **extra: Any
    ) -> tuple[Any, optax.OptState, Any]:
        """Takes one step: returns the new parameters, the new optimizer state and the updates.

        The updates were added to the parameters. `extra` is for line searches and curvature.
        """
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = self._transformation().update(grads, opt_state, params, **extra)
            _check_shapes(updates, params)
            return optax.apply_updates(params, updates), opt_state, updates


def _check_shapes(updates: Any, params: Any) -> None:
    """Raises ValueError if an optimizer returns updates that do not fit the parameters."""
    rule = "updates must have the shapes of the parameters"
    if jax.tree.structure(updates) != jax.tree.structure(params):
        raise ValueError(f"{rule}, got the containers {jax.tree.structure(updates)}")
    for (path, leaf), update in zip(jax.tree.leaves_with_path(params), jax.tree.leaves(updates), strict=True):
        if jnp.shape(update) != jnp.shape(leaf):
            where = f" at {jax.tree_util.keystr(path)}" if path else ""
            raise ValueError(f"{rule}, got {jnp.shape(update)} instead of {jnp.shape(leaf)}{where}")


def _with_learning_rate(factory: Factory, rest: dict[str, Any], learning_rate: Any):
    return factory(learning_rate=learning_rate, **rest)


def make_optimizer(
    factory: Factory | optax.GradientTransformation,
    hyperparameters: dict[str, Any],
    schedule: str | Schedule = constant,
    num_steps: int | None = None,
    ema_decay: float | None = None,
    schedules: Sequence[Schedule] = (),
) -> Optimizer:
    """Checks an optimizer with its hyper-parameters, and returns them as one value.

    Floats become traced leaves, and so does `learning_rate` even if it is an integer. Everything else
    (booleans, integers, callables, None) is static.

    Args:
      factory: an optax factory such as `optax.adam`; or an `optax.GradientTransformation`, for which
        hyper-parameters are not allowed. Every new object is compiled again.
      hyperparameters: arguments of the factory by name.
      schedule: a name in `SCHEDULES`, or an optax schedule. It multiplies the learning rate.
      num_steps: the total number of training steps; needed for a named schedule, except "constant".
      ema_decay: the decay of the average that evaluation uses; None for no averaging.
      schedules: the schedules of all networks of a program, including `schedule`; by default only `schedule`.

    Returns:
      The `Optimizer`.

    Raises:
      ValueError: an unknown or missing hyper-parameter, a negative learning rate, a number that is not
        finite, a schedule without a learning rate or without `num_steps`.

    >>> make_optimizer(optax.sgd, {"learning_rate": 3, "nesterov": False}).hyperparams
    {'learning_rate': 3.0}
    """
    schedule = checked_schedule(schedule)
    schedules = tuple(schedules) or (schedule,)
    steps = None
    if any(is_named(other) and other is not constant for other in schedules):
        if num_steps is None:
            raise ValueError("num_steps must be a number for a named schedule, got None")
        steps = float(num_steps)
    if ema_decay is not None:
        ema_decay = _number("ema_decay", ema_decay)
        check_range("ema_decay", ema_decay, 0, 1)
    has_schedule = schedules != (constant,)
    if isinstance(factory, optax.GradientTransformation):
        if hyperparameters or has_schedule:
            names = ", ".join([*hyperparameters, *(["schedule"] if has_schedule else [])])
            raise ValueError(
                f"hyper-parameters must be omitted for an optax.GradientTransformation, got {names}: pass a "
                "factory (such as optax.sgd) to set them by name"
            )
        return Optimizer(factory, (), schedules, {}, ema_decay=ema_decay)
    numbers, static = _split_hyperparameters(factory, hyperparameters, has_schedule)
    index = schedules.index(schedule) if len(schedules) > 1 else None
    return Optimizer(factory, static, schedules, numbers, index, steps, ema_decay)


def checked_schedule(schedule: str | Schedule) -> Schedule:
    """The schedule named `schedule`, or `schedule` itself if it is a function; else raises ValueError."""
    schedule = lookup("schedule", schedule, SCHEDULES) if isinstance(schedule, str) else schedule
    if not callable(schedule) or not isinstance(schedule, Hashable):
        raise ValueError(f"schedule must be a name or an optax schedule, got {schedule!r}")
    step = jax.ShapeDtypeStruct((), jnp.result_type(float) if is_named(schedule) else np.int32)
    try:
        with jax.numpy_dtype_promotion("standard"):  # as in training
            factor = jax.eval_shape(schedule, step)
    except TypeError as error:
        raise ValueError(f"schedule must be a function of the step, got {schedule!r}: {error}") from error
    if jnp.shape(factor):
        raise ValueError(f"schedule must return one number, got an array of the shape {jnp.shape(factor)}")
    return schedule


def _split_hyperparameters(
    factory: Factory, hyperparameters: dict[str, Any], has_schedule: bool
) -> tuple[dict[str, float], tuple[tuple[str, Any], ...]]:
    """Checks the hyper-parameters; returns the traced ones and the static ones."""
    if not callable(factory):
        raise ValueError(f"optimizer must be an optax factory such as optax.sgd, got {factory!r}")
    if has_schedule:
        hyperparameters = _default_learning_rate(factory) | hyperparameters
    _check_names(factory, hyperparameters)
    numbers = {k: _number(k, v) for k, v in hyperparameters.items() if _is_number(k, v)}
    static = {k: v for k, v in sorted(hyperparameters.items()) if k not in numbers}
    if has_schedule and "learning_rate" not in numbers:
        raise ValueError(
            f"learning_rate must be a number if there is a schedule, got {static.get('learning_rate')!r}"
        )
    for name, value in static.items():
        if not isinstance(value, Hashable):
            raise ValueError(f"{name} must be a number or hashable, got {value!r}")
    return numbers, tuple(static.items())


def _default_learning_rate(factory: Factory) -> dict[str, Any]:
    """The default learning rate in the factory's signature, for a schedule without a learning rate."""
    parameter = inspect.signature(factory).parameters.get("learning_rate")
    if parameter is None or parameter.default is parameter.empty:
        return {}
    return {"learning_rate": parameter.default}


def _check_names(factory: Factory, hyperparameters: dict[str, Any]) -> None:
    signature = inspect.signature(factory)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in hyperparameters:
        if not takes_any:
            lookup("hyper-parameter", name, signature.parameters)
    try:
        signature.bind(**hyperparameters)
    except TypeError as error:
        name = getattr(factory, "__name__", factory)
        raise ValueError(f"optimizer {name} must get its required arguments by name: {error}") from None


def _is_number(name: str, value: Any) -> bool:
    """Whether `value` is traced.

    Raises ValueError if a learning rate is neither a number nor an optax schedule.
    """
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if isinstance(value, float | np.floating | np.ndarray | jax.Array) or (
        integer and name == "learning_rate"
    ):
        return True
    if name == "learning_rate" and not callable(value):
        raise ValueError(f"learning_rate must be a single number or an optax schedule, got {value!r}")
    return False


def _number(name: str, value: Any) -> float:
    try:
        number = None if isinstance(value, str) or np.iscomplexobj(value) else float(value)
    except TypeError:
        number = None
    if number is None:
        raise ValueError(f"{name} must be a single number, got {value!r}")
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if name == "learning_rate":
        check_range(name, number, 0)
    return number
