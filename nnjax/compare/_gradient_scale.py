"""Probes of an optimizer: do its updates grow with the gradients, and do they depend on the learning rate?"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nnjax.nn.dense import Layer
from nnjax.optim.optimizers import Optimizer, make_optimizer

SCALE = 1000.0
NUM_STEPS = 3


def grows_with_gradient(
    factory: Callable[..., optax.GradientTransformation], hyperparameters: Mapping[str, float]
) -> bool:
    """Whether the updates of an optimizer grow with the scale of its objective.

    The updates of SGD grow, so its best learning rate depends on the scale of the gradients. The updates of
    Adam do not grow. The probe takes a few steps on the objective ½ Σ λᵢwᵢ², and on 1000 times this
    objective. The result is True if the updates become more than √1000 times as large.

    Args:
      factory: an optax factory.
      hyperparameters: its arguments by name.

    Returns:
      True or False. It is False if the optimizer raises an exception, because training will report it.

    >>> grows_with_gradient(optax.sgd, {"learning_rate": 0.1})
    True
    >>> grows_with_gradient(optax.adam, {"learning_rate": 0.1})
    False
    """
    try:
        optimizer = make_optimizer(factory, dict(hyperparameters))
        small, large = (float(_distance(optimizer, jnp.array(scale))) for scale in (1.0, SCALE))
    except Exception:
        return False
    return large > SCALE**0.5 * small


def ignores_learning_rate(
    factory: Callable[..., optax.GradientTransformation], hyperparameters: Mapping[str, float]
) -> bool:
    """Whether the first updates of an optimizer are the same with a learning rate that is twice as large.

    Args:
      factory: an optax factory.
      hyperparameters: its arguments by name.

    Returns:
      True or False. It is False if there is no `learning_rate`, or if the optimizer raises an exception.

    >>> ignores_learning_rate(optax.sgd, {"learning_rate": 0.1})
    False
    """
    if "learning_rate" not in hyperparameters:
        return False
    rate = hyperparameters["learning_rate"]
    try:
        distances = [
            float(_distance(make_optimizer(factory, {**hyperparameters, "learning_rate": r}), jnp.array(1.0)))
            for r in (rate, 2 * rate)
        ]
    except Exception:
        return False
    return distances[0] == distances[1]


@jax.jit
def _distance(optimizer: Optimizer, scale: jax.Array) -> jax.Array:
    """The sum of the norms of the first updates on the objective ½ · scale · Σ λᵢwᵢ²."""
    random = np.random.default_rng(0)
    params = tuple(
        Layer(
            jnp.array(random.normal(size=(n_out, n_in)), float), jnp.array(random.normal(size=n_out), float)
        )
        for n_in, n_out in ((3, 4), (4, 4), (4, 2))
    )
    eigenvalues = jax.tree.map(lambda w: jnp.linspace(0.5, 2, w.size).reshape(w.shape), params)

    def multiply(v):
        return jax.tree.map(lambda e, v: scale * e * v, eigenvalues, v)

    # The line searches of optax pass all extra arguments to value_fn, so it must accept them.
    def cost_of(params, curvature=None, obj_fn=None, grad_fn=None):
        return optax.tree.vdot(params, multiply(params)) / 2

    extra: dict[str, Any] = {
        "value_fn": cost_of, "obj_fn": cost_of, "grad_fn": lambda params, _: jax.grad(cost_of)(params),
        "curvature": multiply,
    }  # fmt: skip
    state, distance = optimizer.init(params), jnp.zeros(())
    for _ in range(NUM_STEPS):
        cost, grads = jax.value_and_grad(cost_of)(params)
        params, state, updates = optimizer.apply(grads, state, params, value=cost, grad=grads, **extra)
        distance += optax.tree.norm(updates)
    return distance
