"""Predictions and exact counts of correct predictions over all examples of a split."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from nnjax.nn._compiler import jit_for_params
from nnjax.nn.objective import Objective, final_activation, float_dtype, to_input, to_target

# Large enough for an efficient matrix product, small enough for a CPU's cache.
_EVAL_BATCH = 1000

# A function (output, target) -> scalar of one example; and pairs of names and such functions.
Metric = Callable[[Array, Array], Array]
Metrics = tuple[tuple[str, Metric], ...]


@jit_for_params
def outputs(
    params: Any, inputs: Num[Array, "n ..."], objective: Objective = Objective()
) -> Float[Array, "n n_out"]:
    """The output activations for every example, as `objective.code` decodes them.

    Args:
      params: the parameters, such as `run.params`.
      inputs: examples like those of training, with a leading axis.
      objective: the objective of training.

    Returns:
      (n, n_out), in the dtype of the parameters.
    """
    dtype = float_dtype(params)
    return jax.lax.map(
        lambda x: objective.activations(params, to_input(x, dtype)), inputs, batch_size=_EVAL_BATCH
    )


@jit_for_params
def predict(params: Any, inputs: Num[Array, "n ..."], objective: Objective = Objective()) -> Int[Array, " n"]:
    """The predicted label of every example.

    Args:
      params, inputs, objective: as in `outputs`.

    Returns:
      (n,) int32.

    >>> from nnjax.nn import Layer
    >>> perceptron = (Layer(jnp.array([[1.0], [-1.0]]), jnp.zeros(2)),)
    >>> predict(perceptron, jnp.array([[2.0], [-2.0]])).tolist()
    [0, 1]
    """
    return jax.vmap(objective.label_code.decode)(outputs(params, inputs, objective))


def evaluate_examples(
    params: Any,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objective: Objective,
    metrics: Metrics = (),
) -> dict[str, Any]:
    """The results of every example.

    Args:
      params: any pytree that `objective.forward` takes.
      inputs, targets: the examples.
      objective: for evaluation, as `Objective.inference` returns it.
      metrics: pairs of a name and a function of an example's output and target.

    Returns:
      "cost" (n,); "correct" (n,), whether the decoded output is the decoded target, unless `objective.code`
      is None; and "metrics", by name (n,).
    """
    dtype, code = float_dtype(params), objective.code

    def results(example):
        x, target = example
        output = objective.forward(params, to_input(x, dtype), None)
        y = to_target(target, code, output.size, dtype)
        values = {"cost": objective.cost(output, y)}
        if code is not None:
            values["correct"] = code.decode(final_activation(objective.cost)(output)) == code.decode(y)
        return values | {"metrics": {name: metric(output, target) for name, metric in metrics}}

    return jax.lax.map(results, (inputs, targets), batch_size=_EVAL_BATCH)


@jit_for_params
def count_correct(
    params: Any,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objective: Objective = Objective(),
) -> Int[Array, ""]:
    """The number of correct predictions, an exact integer.

    Args:
      params: any pytree that `objective.forward` takes.
      inputs: (n, ...), as in a `Dataset`.
      targets: (n,) integer labels, or (n, n_out) target vectors, which `objective.code` decodes.
      objective: the objective that the parameters were trained for.
    """
    _ = objective.label_code  # raises ValueError if nothing can be counted
    return jnp.sum(evaluate_examples(params, inputs, targets, objective)["correct"])


@jit_for_params
def confusion_matrix(
    params: Any,
    inputs: Num[Array, "n ..."],
    targets: Num[Array, "n ..."],
    objective: Objective = Objective(),
) -> Int[Array, "classes classes"]:
    """Counts by true label (row) and predicted label (column), as in scikit-learn.

    The labels of `is_digit` are 0 (no) and 1 (yes).

    Args:
      params, inputs, objective: as in `outputs`.
      targets: (n,) labels, or (n, n_out) target vectors.

    Returns:
      (classes, classes) int32.
    """
    a, code = outputs(params, inputs, objective), objective.label_code
    # Labels are encoded, target vectors are not. Both are then decoded with the same code as the outputs.
    y = jax.vmap(lambda target: to_target(target, code, a.shape[1], a.dtype))(targets)
    n = code.num_classes(a.shape[1])
    return jnp.zeros((n, n), int).at[jax.vmap(code.decode)(y), jax.vmap(code.decode)(a)].add(1)
