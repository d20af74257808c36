"""What a network answers, and how often it is right: over all examples, none dropped."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from nnjax.objective import Objective, as_input, as_target, float_dtype

# Enough examples at once to fill a matrix product, few enough to stay in a cache.
_CHUNK = 1000


def _outputs(params: Any, images: Array, objective: Objective) -> Array:
    dtype = float_dtype(params)
    return jax.lax.map(
        lambda image: objective.activations(params, as_input(image, dtype)),
        images,
        batch_size=_CHUNK,
    )


def _answers_and_truths(params: Any, images: Array, labels: Array, objective: Objective):
    """What the network answers and what is right: a target is read as an output would be."""
    a = _outputs(params, images, objective)
    y = jax.vmap(lambda label: as_target(label, objective.code, a.shape[1], a.dtype))(labels)
    decode = jax.vmap(objective.code.decode)
    return decode(a), decode(y)


@jax.jit
def outputs(
    params: Any, images: Num[Array, "n pixels"], objective: Objective = Objective()
) -> Float[Array, "n n_out"]:
    """The output activations for every image, between 0 and 1 for the costs of this project."""
    return _outputs(params, images, objective)


@jax.jit
def answers(
    params: Any, images: Num[Array, "n pixels"], objective: Objective = Objective()
) -> Int[Array, " n"]:
    """What the network answers to every image: labels for `one_hot` and `binary`, (n,)."""
    return jax.vmap(objective.code.decode)(_outputs(params, images, objective))


@jax.jit
def count_correct(
    params: Any,
    images: Num[Array, "n pixels"],
    labels: Num[Array, "n ..."],
    objective: Objective = Objective(),
) -> Int[Array, ""]:
    """How many of the n images the network answers rightly: a whole number.

    Args:
      images: (n, pixels), uint8 or float, as in a `Dataset`.
      labels: (n,) integers, or (n, n_out) targets, which mean what `objective.code` reads in them.
    """
    given, right = _answers_and_truths(params, images, labels, objective)
    return jnp.sum(given == right)


@partial(jax.jit, static_argnames="num_classes")
def confusion(
    params: Any,
    images: Num[Array, "n pixels"],
    labels: Num[Array, "n ..."],
    num_classes: int,
    objective: Objective = Objective(),
) -> Int[Array, "num_classes num_classes"]:
    """How often each answer was given where each was right: row the truth, column the answer."""
    given, right = _answers_and_truths(params, images, labels, objective)
    return jnp.zeros((num_classes, num_classes), int).at[right, given].add(1)
