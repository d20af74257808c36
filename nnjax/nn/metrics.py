"""Predictions and exact counts of correct predictions over all examples of a split."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from nnjax.nn.objective import Objective, float_dtype, to_input, to_target

# Large enough for an efficient matrix product, small enough for a CPU's cache.
_EVAL_BATCH = 1000


@jax.jit
def outputs(
    params: Any, inputs: Num[Array, "n pixels"], objective: Objective = Objective()
) -> Float[Array, "n n_out"]:
    """The output activations for every example, as `objective.code` decodes them."""
    dtype = float_dtype(params)
    return jax.lax.map(
        lambda x: objective.activations(params, to_input(x, dtype)), inputs, batch_size=_EVAL_BATCH
    )


@jax.jit
def predict(
    params: Any, inputs: Num[Array, "n pixels"], objective: Objective = Objective()
) -> Int[Array, " n"]:
    """The predicted label of every example, (n,)."""
    return jax.vmap(objective.code.decode)(outputs(params, inputs, objective))


def _predictions_and_labels(params: Any, inputs: Array, targets: Array, objective: Objective):
    """The predictions, the true labels, and the number of classes.

    Labels are encoded, target vectors are not. Both are then decoded with the same code as the outputs.
    """
    a = outputs(params, inputs, objective)
    n_out, code = a.shape[1], objective.code
    y = jax.vmap(lambda target: to_target(target, code, n_out, a.dtype))(targets)
    return jax.vmap(code.decode)(a), jax.vmap(code.decode)(y), code.num_classes(n_out)


def is_correct(
    params: Any, inputs: Num[Array, "n pixels"], targets: Num[Array, "n ..."], objective: Objective
) -> Bool[Array, " n"]:
    """Whether the prediction for each example is correct."""
    predictions, labels, _ = _predictions_and_labels(params, inputs, targets, objective)
    return predictions == labels


@jax.jit
def count_correct(
    params: Any,
    inputs: Num[Array, "n pixels"],
    targets: Num[Array, "n ..."],
    objective: Objective = Objective(),
) -> Int[Array, ""]:
    """The number of correct predictions, an exact integer.

    Args:
      params: any pytree that `objective.forward` takes.
      inputs: (n, pixels), uint8 or float, as in a `Dataset`.
      targets: (n,) integer labels, or (n, n_out) target vectors, which `objective.code` decodes.
      objective: the objective that the parameters were trained for.
    """
    return jnp.sum(is_correct(params, inputs, targets, objective))


@jax.jit
def confusion_matrix(
    params: Any,
    inputs: Num[Array, "n pixels"],
    targets: Num[Array, "n ..."],
    objective: Objective = Objective(),
) -> Int[Array, "classes classes"]:
    """Counts by true label (row) and predicted label (column), as in scikit-learn.

    The labels of `is_digit` are 0 (no) and 1 (yes).
    """
    predictions, labels, n = _predictions_and_labels(params, inputs, targets, objective)
    return jnp.zeros((n, n), int).at[labels, predictions].add(1)
