"""Norms of parameters, gradients and updates, and the angle between gradients."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nnjax.nn.dense import Layer
from nnjax.watch._watch import Watch


def norm(tree: Any) -> Float[Array, ""]:
    """The l2 norm of all numbers of a pytree, even if their squares overflow or underflow.

    >>> float(norm({"w": jnp.array([3e-30]), "b": jnp.array(4e-30)}) / 1e-30).__round__(3)
    5.0
    """
    with jax.numpy_dtype_promotion("standard"):  # the leaves may differ in dtype
        # The squares of bfloat16 are added in float32.
        leaves = [jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32)) for x in jax.tree.leaves(tree)]
        largest = jnp.max(jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in leaves]))
        scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
        return scale * jnp.sqrt(sum(jnp.sum(jnp.abs(x / scale) ** 2) for x in leaves))


def layer_norms(tree: Any) -> Float[Array, " layers"]:
    """The l2 norm of each `Layer`, and of each other leaf."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Layer))
    with jax.numpy_dtype_promotion("standard"):
        return jnp.stack([norm(node) for node in nodes])


def gradient_norm(params: Any, grads: Any, updates: Any) -> Float[Array, ""]:
    """The l2 norm of the gradient of the mini-batch.

    >>> gradient_norm((), {"w": jnp.array([3.0]), "b": jnp.array(4.0)}, ()).item()
    5.0
    """
    return norm(grads)


def gradient_norms(params: Any, grads: Any, updates: Any) -> Float[Array, " layers"]:
    """The l2 norm of the gradient of the mini-batch, for each layer.

    >>> gradient_norms((), (Layer(jnp.array([[3.0]]), jnp.array([4.0])), jnp.array([1.0])), ()).tolist()
    [5.0, 1.0]
    """
    return layer_norms(grads)


def parameter_norm(params: Any, grads: Any, updates: Any) -> Float[Array, ""]:
    """The l2 norm of the parameters.

    >>> parameter_norm(jnp.array([3.0, 4.0]), (), ()).item()
    5.0
    """
    return norm(params)


def update_ratios(params: Any, grads: Any, updates: Any) -> Float[Array, " layers"]:
    """‖updates‖ / ‖params‖, for each layer: the relative size of the step.

    The ratio is 0 if the updates of a layer are 0, and infinite if only its parameters are 0.

    >>> update_ratios((jnp.array([4.0]), jnp.zeros(2)), (), (jnp.array([-1.0]), jnp.zeros(2))).tolist()
    [0.25, 0.0]
    """
    update_norms, parameter_norms = layer_norms(updates), layer_norms(params)
    return jnp.where(update_norms == 0, 0, update_norms / parameter_norms)


def gradient_cosine(every: int | None = 1) -> Watch:
    """The cosine of the angle between the gradients of successive steps.

    It is NaN in the first step of training, and if a gradient is zero. It is near 0 if the noise of the
    mini-batches dominates, and negative if the steps overshoot.

    Args:
      every: as in `Watch`. If it is not 1, the gradients are those of successive steps in which the watch is
        computed.

    Returns:
      A `Watch` of scalars.

    >>> cosine, params = gradient_cosine(), jnp.zeros(2)
    >>> state, _ = cosine.update(cosine.init(params), params, jnp.array([1.0, 0.0]), ())
    >>> round(cosine.update(state, params, jnp.array([-2.0, 2.0]), ())[1].item(), 4)
    -0.7071
    """
    return Watch(_zeros_like, _cosine, every)


def _zeros_like(params):
    return jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), jnp.result_type(p)), params)


def _cosine(previous, params, grads, updates):
    norms = norm(previous), norm(grads)
    with jax.numpy_dtype_promotion("standard"):
        # Each gradient is divided by its norm first, because a product of small numbers can underflow.
        products = jax.tree.map(lambda a, b: jnp.sum((a / norms[0]) * (b / norms[1])), previous, grads)
        return grads, sum(jax.tree.leaves(products))
