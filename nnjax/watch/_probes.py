"""Gradient and curvature of the mean cost of a probe."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from nnjax.nn.curvature import gauss_newton_product, hessian_product, largest_eigenvalue
from nnjax.nn.objective import Objective, inference, mean_cost
from nnjax.runtime.checks import check_positive_int
from nnjax.watch._norms import layer_norms
from nnjax.watch._watch import Watch, as_watch

Inputs = Num[np.ndarray | Array, "m ..."]
Targets = Num[np.ndarray | Array, "m ..."]


def _all(grads: Any) -> Any:
    return grads


def probe_gradient_norms(
    objective: Objective,
    inputs: Inputs,
    targets: Targets,
    every: int | None = None,
    part: Callable[[Any], Any] = _all,
) -> Watch:
    """The l2 norm of the gradient of the mean cost of a probe, for each layer.

    Unlike `gradient_norms`, it has no mini-batch noise, so layers and epochs can be compared. The cost is
    that of training, with penalty and label smoothing, but without dropout and augmentation.

    Args:
      objective: the objective of training.
      inputs, targets: the m examples of the probe, as in a `Dataset`.
      every: as in `Watch`; by default once an epoch.
      part: selects the part of the gradient that is measured, such as the biases of dense layers:
        `lambda grads: [layer.b for layer in grads]`.

    Returns:
      A `Watch` of values (layers,).

    >>> x = jnp.array([[2.0]])
    >>> objective = Objective(lambda w, x, key: w * x, code=None)  # the cost is (2w − 2)²/2
    >>> probe_gradient_norms(objective, x, x).update((), jnp.zeros(1), (), ())[1].tolist()
    [4.0]
    """
    return as_watch(_ProbeGradientNorms(*_probe(objective, inputs, targets), part), every)


def hessian_eigenvalue(
    objective: Objective, inputs: Inputs, targets: Targets, iterations: int = 20, every: int | None = None
) -> Watch:
    """The largest eigenvalue of the Hessian of the mean cost of a probe, also called sharpness.

    Gradient descent on this cost is stable at a minimum if η is smaller than 2 / eigenvalue (Cohen et al.,
    *Gradient descent on neural networks typically occurs at the edge of stability*, 2021,
    https://arxiv.org/abs/2103.00065). The cost is that of `probe_gradient_norms`.
    `nnjax.nn.largest_eigenvalue` computes the eigenvalue, which may not be the largest in absolute value.

    Args:
      objective, inputs, targets, every: as for `probe_gradient_norms`.
      iterations: the number of Lanczos iterations. Each costs about as much as two gradients of the probe.

    Returns:
      A `Watch` of scalars.

    >>> x = jnp.array([[2.0]])
    >>> objective = Objective(lambda w, x, key: w * x, code=None)  # the cost is (2w − 2)²/2
    >>> hessian_eigenvalue(objective, x, x).update((), jnp.zeros(1), (), ())[1].tolist()
    4.0
    """
    return _eigenvalue(hessian_product, objective, inputs, targets, iterations, every)


def gauss_newton_eigenvalue(
    objective: Objective, inputs: Inputs, targets: Targets, iterations: int = 20, every: int | None = None
) -> Watch:
    """The largest eigenvalue of the Gauss-Newton matrix of the mean cost of a probe.

    The matrix is the Hessian without the second derivatives of the network's outputs. For a convex cost, no
    eigenvalue is negative. The penalty is not included. See `nnjax.nn.gauss_newton_product`.

    Args:
      objective, inputs, targets, iterations, every: as for `hessian_eigenvalue`.

    Returns:
      A `Watch` of scalars.

    >>> x = jnp.array([[2.0]])
    >>> objective = Objective(lambda w, x, key: w * x, code=None)  # the cost is (2w − 2)²/2
    >>> gauss_newton_eigenvalue(objective, x, x).update((), jnp.zeros(1), (), ())[1].tolist()
    4.0
    """
    return _eigenvalue(gauss_newton_product, objective, inputs, targets, iterations, every)


def _probe(objective: Objective, inputs: Any, targets: Any) -> tuple[Objective, Array, Array]:
    """The objective of training without random parts, and the probe as arrays."""
    inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
    if not len(inputs) or len(inputs) != len(targets):
        raise ValueError(
            f"inputs and targets must have the same positive length, got {len(inputs)} and {len(targets)}"
        )
    return replace(objective, forward=inference(objective.forward)), inputs, targets


@partial(
    jax.tree_util.register_dataclass, data_fields=["objective", "inputs", "targets"], meta_fields=["part"]
)
@dataclass(frozen=True)
class _ProbeGradientNorms:
    """The norms of a part of the gradient on a probe."""

    objective: Objective
    inputs: Array
    targets: Array
    part: Callable[[Any], Any]

    def __call__(self, params: Any, grads: Any, updates: Any) -> Float[Array, " layers"]:
        gradient = jax.grad(mean_cost)(params, self.objective, self.inputs, self.targets, None)
        return layer_norms(self.part(gradient))


def _eigenvalue(product, objective, inputs, targets, iterations, every) -> Watch:
    iterations = check_positive_int("iterations", iterations)
    return as_watch(_Eigenvalue(*_probe(objective, inputs, targets), product, iterations), every)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["objective", "inputs", "targets"],
    meta_fields=["product", "iterations"],
)
@dataclass(frozen=True)
class _Eigenvalue:
    """The largest eigenvalue of the matrix of `product`, such as `hessian_product`, on a probe."""

    objective: Objective
    inputs: Array
    targets: Array
    product: Callable[..., Any]
    iterations: int

    def __call__(self, params: Any, grads: Any, updates: Any) -> Float[Array, ""]:
        def multiply(v):
            return self.product(params, v, self.objective, self.inputs, self.targets, None)

        return largest_eigenvalue(multiply, params, self.iterations, jax.random.key(0))
