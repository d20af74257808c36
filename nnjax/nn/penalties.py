"""Penalties on parameters, which an objective adds to the mean cost."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from nnjax.nn.conv import all_layers


def weight_penalty(l1: float | Array, l2: float | Array, params: Any) -> Array:
    """l1 Σ|w| + ½ l2 Σw² over all weights; biases are not included.

    The book's equations 95 and 87, whose λ/n is `l1` and `l2` here.
    """
    weights = [layer.w for layer in all_layers(params)]
    return sum(l1 * jnp.sum(jnp.abs(w)) + l2 / 2 * jnp.sum(w**2) for w in weights)  # pyright: ignore[reportReturnType]
