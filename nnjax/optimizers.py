"""Variants of gradient descent: optax factories by name, and one value to carry any of them."""

import inspect
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from nnjax.names import choose

Factory = Callable[..., optax.GradientTransformation]


def momentum(learning_rate: float, momentum: float = 0.9) -> optax.GradientTransformation:
    """v → μv + ∇C, w → w − ηv: a ball that keeps its velocity (Polyak, 1964)."""
    return optax.sgd(learning_rate, momentum)


def nesterov(learning_rate: float, momentum: float = 0.9) -> optax.GradientTransformation:
    """Momentum with the gradient taken where the velocity leads (Nesterov, 1983)."""
    return optax.sgd(learning_rate, momentum, nesterov=True)


def gauss_newton(
    learning_rate: float = 1.0, damping: float = 0.1, iterations: int = 5
) -> optax.GradientTransformationExtraArgs:
    """w → w − η (G + λ)⁻¹ ∇C, by a few conjugate gradients: curvature without its matrix.

    G is the Gauss-Newton matrix of the mini-batch, known only by its products with vectors, which
    training passes as `curvature`; λ is the damping. Wants mini-batches of hundreds (Martens,
    *Deep learning via Hessian-free optimization*, 2010).
    """

    def update(updates, state, params=None, *, curvature, **extra):
        def damped(v):
            return jax.tree.map(lambda gv, v: gv + damping * v, curvature(v), v)

        direction, _ = jax.scipy.sparse.linalg.cg(damped, updates, maxiter=iterations)
        return jax.tree.map(lambda d: -learning_rate * d, direction), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)  # pyright: ignore[reportArgumentType]


def masked(mask: Any, grads: Any) -> Any:
    """The gradients of what a mask of truth values, which broadcast, says is to learn; zero elsewhere."""
    return jax.tree.map(lambda own, g: jnp.where(own, g, jnp.zeros_like(g)), mask, grads)


@dataclass(frozen=True)
class Falling:
    """An optax factory whose learning rate falls to zero along half a cosine, over all its steps.

    `fit(..., optimizer=Falling(optax.adam), learning_rate=0.001, steps=5000)`: epochs times the
    mini-batches of one. (Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm
    restarts*, 2017.)

    >>> Falling(optax.sgd)(learning_rate=1.0, steps=2).init(jnp.zeros(1))[1].count.item()
    0
    """

    factory: "Factory"

    @property
    def __signature__(self) -> inspect.Signature:
        return with_keyword(self.factory, inspect.Parameter("steps", inspect.Parameter.KEYWORD_ONLY))

    def __call__(
        self, *, learning_rate: float | Array, steps: int, **hyperparameters: Any
    ) -> optax.GradientTransformation:
        falling = optax.cosine_decay_schedule(learning_rate, steps)  # pyright: ignore[reportArgumentType]
        return self.factory(learning_rate=falling, **hyperparameters)


def with_keyword(factory: Factory, keyword: inspect.Parameter) -> inspect.Signature:
    """The signature of a factory that takes one keyword more."""
    own = inspect.signature(factory)
    named, rest = [], []
    for parameter in own.parameters.values():
        (rest if parameter.kind is parameter.VAR_KEYWORD else named).append(parameter)
    return own.replace(parameters=[*named, keyword, *rest])


class Variant(NamedTuple):
    """An optimizer's factory and a learning rate that suits the book's network on MNIST."""

    factory: Factory
    learning_rate: float


OPTIMIZERS: dict[str, Variant] = {
    "sgd": Variant(optax.sgd, 3.0),
    "momentum": Variant(momentum, 0.1),
    "nesterov": Variant(nesterov, 0.1),
    "adagrad": Variant(optax.adagrad, 1.0),
    "rmsprop": Variant(optax.rmsprop, 0.003),
    "adam": Variant(optax.adam, 0.003),
    "adamw": Variant(optax.adamw, 0.003),
    "lion": Variant(optax.lion, 0.0003),
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Optimizer:
    """A factory and its hyper-parameters, as a pytree whose leaves are the numbers among them.

    The optax transformation is made anew inside the compiled step, from traced numbers: so a
    changed learning rate compiles nothing, and a sweep may `vmap` over it.
    """

    factory: Factory | optax.GradientTransformation = field(metadata={"static": True})
    options: tuple[tuple[str, Any], ...] = field(metadata={"static": True})
    numbers: dict[str, float]

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        if isinstance(self.factory, optax.GradientTransformation):
            return optax.with_extra_args_support(self.factory)
        return optax.with_extra_args_support(self.factory(**dict(self.options), **self.numbers))

    # Some of optax's rules mix dtypes, which a caller's strict promotion would refuse.

    def init(self, params: Any) -> optax.OptState:
        """The optimizer's state before the first step."""
        with jax.numpy_dtype_promotion("standard"):
            return self._transformation().init(params)

    def apply(
        self, grads: Any, opt_state: optax.OptState, params: Any, **extra: Any
    ) -> tuple[Any, optax.OptState]:
        """Parameters and optimizer state after one step; `extra` is for line searches and curvature."""
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = self._transformation().update(grads, opt_state, params, **extra)
            return optax.apply_updates(params, updates), opt_state


def make_optimizer(
    factory: Factory | optax.GradientTransformation, hyperparameters: dict[str, Any]
) -> Optimizer:
    """Check `factory` with its hyper-parameters by name, and make them one value.

    Floats, and `learning_rate` whatever number it is, become traced leaves; everything else
    (booleans, whole numbers, schedules, None) is static. A ready `optax.GradientTransformation`
    takes no hyper-parameters and compiles once for each object.

    Raises:
      ValueError: a name that the factory does not take or misses, a learning rate that is
        negative, any number that is not finite.

    >>> make_optimizer(optax.sgd, {"learning_rate": 3, "nesterov": False}).numbers
    {'learning_rate': 3.0}
    """
    if isinstance(factory, optax.GradientTransformation):
        if hyperparameters:
            raise ValueError(
                f"a ready optax transformation takes no {', '.join(hyperparameters)}: pass its "
                "factory (such as optax.sgd) to set them by name"
            )
        return Optimizer(factory, (), {})
    if not callable(factory):
        raise ValueError(f"optimizer must be an optax factory such as optax.sgd, not {factory!r}")
    _check_names(factory, hyperparameters)
    numbers = {k: _number(k, v) for k, v in hyperparameters.items() if _is_number(k, v)}
    options = {k: v for k, v in sorted(hyperparameters.items()) if k not in numbers}
    for name, value in options.items():
        if not isinstance(value, Hashable):
            raise ValueError(f"{name} must be one number, or a value that can be hashed, not {value!r}")
    return Optimizer(factory, tuple(options.items()), numbers)


def _check_names(factory: Factory, hyperparameters: dict[str, Any]) -> None:
    signature = inspect.signature(factory)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in hyperparameters:
        if not takes_any:
            choose("hyper-parameter", name, signature.parameters)
    try:
        signature.bind(**hyperparameters)
    except TypeError as error:
        name = getattr(factory, "__name__", factory)
        raise ValueError(f"optimizer {name}: {error}; pass it to fit by name") from None


def _is_number(name: str, value: Any) -> bool:
    """Whether `value` is traced; a learning rate must be, or be a schedule."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if isinstance(value, float | np.floating | np.ndarray | jax.Array) or (whole and name == "learning_rate"):
        return True
    if name == "learning_rate" and not callable(value):
        raise ValueError(f"learning_rate must be one number or a schedule, not {value!r}")
    return False


def _number(name: str, value: Any) -> float:
    if np.ndim(value) != 0 or np.iscomplexobj(value):
        raise ValueError(f"{name} must be one number, not {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, not {number}")
    if name == "learning_rate" and number < 0:
        raise ValueError(f"learning_rate must not be negative, as {number} is: it would climb")
    return number
