"""Saturated and dead hidden units of a dense network, for the examples of a probe."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from nnjax.nn.dense import Activation, Dense, Params
from nnjax.nn.objective import float_dtype, inference, to_input
from nnjax.runtime.checks import check_range
from nnjax.watch._watch import Watch, as_watch


def saturated_units(
    forward: Dense, inputs: Num[Array, "m ..."], threshold: float = 0.05, every: int | None = None
) -> Watch:
    """The fraction of saturated hidden units, for each hidden layer.

    A unit with the pre-activation z is saturated for an example if the absolute value of f′(z) is at most
    `threshold` times its maximum. Then little of the gradient passes through it. With the default threshold,
    this means that the absolute value of z is above 4.4 for sigmoid and above 2.2 for tanh. For ReLU, it
    means that the output is 0. The fraction is that of the saturated pairs among all pairs of a unit and an
    example.

    Args:
      forward: a `Dense`. Its activation must work element by element.
      inputs: the m examples of the probe, as in a `Dataset`.
      threshold: a fraction of the largest derivative, from 0 to 1.
      every: as in `Watch`; by default once an epoch.

    Returns:
      A `Watch` of values (hidden layers,).

    Raises:
      ValueError: `forward` is not a `Dense`, `threshold` is out of range, or the derivative of the activation
        is zero everywhere.

    >>> from nnjax import Layer
    >>> params = Layer(jnp.array([[9.0], [1.0]]), jnp.zeros(2)), Layer(jnp.ones((1, 2)), jnp.zeros(1))
    >>> saturated_units(Dense(), jnp.array([[1.0]])).update((), params, (), ())[1].tolist()
    [0.5]
    """
    check_range("threshold", threshold, 0, 1)
    activation = _dense_activation(forward)
    # The grid contains 0, where the derivatives of sigmoid and tanh are largest.
    largest = float(jnp.max(jnp.abs(_derivative(activation, jnp.linspace(-8.0, 8.0, 161)))))
    if not largest > 0:
        raise ValueError(f"activation must have a derivative that is not zero everywhere, got {activation!r}")
    return as_watch(_SmallDerivatives(jnp.asarray(inputs), threshold * largest, activation, jnp.mean), every)


def dead_units(forward: Dense, inputs: Num[Array, "m ..."], every: int | None = None) -> Watch:
    """The fraction of dead hidden units, for each hidden layer.

    A unit is dead if its activation's derivative is 0 for all examples of the probe. Then no gradient passes
    through it, and its weights do not change. A ReLU is dead if its output is 0 for all examples.

    Args:
      forward, inputs, every: as for `saturated_units`.

    Returns:
      A `Watch` of values (hidden layers,).

    Raises:
      ValueError: `forward` is not a `Dense`.

    >>> from nnjax import Layer
    >>> params = Layer(jnp.array([[1.0], [-1.0]]), jnp.zeros(2)), Layer(jnp.ones((1, 2)), jnp.zeros(1))
    >>> dead_units(Dense(jax.nn.relu), jnp.array([[1.0], [2.0]])).update((), params, (), ())[1].tolist()
    [0.5]
    """
    return as_watch(
        _SmallDerivatives(jnp.asarray(inputs), 0.0, _dense_activation(forward), _mean_of_all), every
    )


def _mean_of_all(small: Bool[Array, "m units"], dtype: Any) -> Array:
    return jnp.mean(jnp.all(small, axis=0), dtype=dtype)


def _dense_activation(forward: Any) -> Activation:
    """The activation of a `Dense`, or of a `DenseWithDropout`."""
    if type(inference(forward)) is not Dense:
        raise ValueError(f"forward must be a Dense, got {forward!r}: only its hidden units are known")
    return forward.activation


def _derivative(f: Activation, z: Array) -> Array:
    return jax.jvp(f, (z,), (jnp.ones_like(z),))[1]


@partial(
    jax.tree_util.register_dataclass, data_fields=["inputs", "limit"], meta_fields=["activation", "share"]
)
@dataclass(frozen=True)
class _SmallDerivatives:
    """For each hidden layer, `share(|f′(z)| ≤ limit, dtype)` for the matrix of examples and units."""

    inputs: Num[Array, "m ..."]
    limit: float | Array
    activation: Activation
    share: Callable[..., Array]

    def __call__(self, params: Params, grads: Any, updates: Any) -> Float[Array, " hidden"]:
        if len(params) < 2:
            raise ValueError("params must have a hidden layer, got one layer")
        dtype = float_dtype(params)

        def is_small(x):
            a, small = jnp.ravel(x), []
            for w, b in params[:-1]:
                z = w @ a + b
                small.append(jnp.abs(_derivative(self.activation, z)) <= self.limit)
                a = self.activation(z)
            return small

        return jnp.stack(
            [self.share(s, dtype=dtype) for s in jax.vmap(is_small)(to_input(self.inputs, dtype))]
        )
