"""Curvature without matrices: products of the Gauss-Newton matrix with vectors."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Num

from nnjax.nn.objective import Objective, float_dtype, per_example
from nnjax.runtime.sharding import map_examples


def gauss_newton_product(
    params: Any,
    direction: Any,
    objective: Objective,
    inputs: Num[Array, "m ..."],
    targets: Num[Array, "m ..."],
    key: Array,
    mesh: Mesh | None = None,
) -> Any:
    """G v = Jᵀ H J v for a mini-batch, without forming the matrix G.

    J is the derivative of the outputs with respect to the parameters, H the second derivative of the
    mean cost with respect to the outputs; the penalty is not included. If the outputs are linear in the
    parameters, G is the Hessian of the mean cost (Schraudolph, *Fast curvature matrix-vector products*,
    2002). A product costs about as much as two gradients.

    Args:
      params: any pytree that `objective.forward` takes.
      direction: v, a pytree with the structure and shapes of `params`.
      objective, inputs, targets, key, mesh: as in `mean_cost`.

    Returns:
      G v, a pytree like `params`.
    """
    output, cost = per_example(objective, float_dtype(params))
    keys = jax.random.split(key, len(inputs))

    def outputs(params):
        return map_examples(jax.vmap(lambda x, key: output(params, x, key)), mesh, inputs, keys)

    def mean(a):
        return jnp.mean(map_examples(jax.vmap(cost), mesh, a, targets))

    a, jv = jax.jvp(outputs, (params,), (direction,))
    hjv = jax.jvp(jax.grad(mean), (a,), (jv,))[1]
    return jax.vjp(outputs, params)[1](hjv)[0]
