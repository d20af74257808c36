"""What a network answers, and how often it is right: over all examples, none dropped."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from nnjax.objective import Objective, as_input, as_target, float_dtype

# Enough examples at once to fill a matrix product, few enough to stay in a cache.
_CHUNK = 1000


@jax.jit
def outputs(
    params: Any, images: Num[Array, "n pixels"], objective: Objective = Objective()
) -> Float[Array, "n n_out"]:
    """The output activations for every image, as `objective.code` reads them."""
    dtype = float_dtype(params)
    return jax.lax.map(
        lambda image: objective.activations(params, as_input(image, dtype)), images, batch_size=_CHUNK
    )


@jax.jit
def answers(
    params: Any, images: Num[Array, "n pixels"], objective: Objective = Objective()
) -> Int[Array, " n"]:
    """What the network answers to every image: labels for `one_hot` and `binary`, (n,)."""
    return jax.vmap(objective.code.decode)(outputs(params, images, objective))


def _answers_and_truths(params: Any, images: Array, labels: Array, objective: Objective):
    """What the network answers, what is right, and how many answers there are.

    A label is encoded and a target taken as it is: both are then read as an output would be.
    """
    a = outputs(params, images, objective)
    n_out, code = a.shape[1], objective.code
    y = jax.vmap(lambda label: as_target(label, code, n_out, a.dtype))(labels)
    return jax.vmap(code.decode)(a), jax.vmap(code.decode)(y), code.answers(n_out)


def right(
    params: Any, images: Num[Array, "n pixels"], labels: Num[Array, "n ..."], objective: Objective
) -> Bool[Array, " n"]:
    """Whether the network answers each of the images rightly."""
    given, truths, _ = _answers_and_truths(params, images, labels, objective)
    return given == truths


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
    return jnp.sum(right(params, images, labels, objective))


@jax.jit
def confusion(
    params: Any,
    images: Num[Array, "n pixels"],
    labels: Num[Array, "n ..."],
    objective: Objective = Objective(),
) -> Int[Array, "answers answers"]:
    """How often each answer was given where each was right: row the truth, column the answer.

    The answers are labels for `one_hot` and `binary`, and no and yes for `is_digit`.
    """
    given, truths, answers = _answers_and_truths(params, images, labels, objective)
    return jnp.zeros((answers, answers), int).at[truths, given].add(1)
