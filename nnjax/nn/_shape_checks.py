"""Checks that a model, its objective and a data set fit together; only shapes are traced."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn.conv import ConvNet
from nnjax.nn.dense import Dense, identity, is_dense, sizes_of
from nnjax.nn.objective import Objective, final_activation, float_dtype, inference, softmax_cross_entropy
from nnjax.nn.output_codes import Binary, IsDigit


def check_dataset(objective: Objective, params: Any, data: Dataset) -> None:
    """Calls `check_split` for every non-empty split; splits of the same shapes are checked once."""
    splits = (data.train, data.validation, data.test)
    shapes = {(s.inputs.shape[1:], s.targets.shape[1:]): s for s in splits if len(s.targets)}
    for split in shapes.values():
        check_split(objective, params, *split, data.num_classes)


def check_split(
    objective: Objective,
    params: Any,
    inputs: Array | np.ndarray,
    targets: Array | np.ndarray,
    num_classes: int,
) -> None:
    """Raises ValueError if a model, its objective and examples do not fit together.

    Traces `forward` for one example; nothing is computed.
    """
    _check_params(params)
    n_out = _output_size(objective, params, inputs.shape[1])
    code, cost = objective.code, objective.cost
    if targets.ndim > 1 and n_out != targets.shape[1]:
        raise ValueError(
            f"the output layer must have {targets.shape[1]} neurons for the targets, got {n_out}"
        )
    if targets.ndim == 1 and n_out < (required := code.num_outputs(num_classes)):
        raise ValueError(
            f"the output layer must have at least {required} neurons for {num_classes} classes and {code}, "
            f"got {n_out}"
        )
    if cost is softmax_cross_entropy and isinstance(code, Binary | IsDigit):
        raise ValueError(
            f"code must be one_hot for softmax_cross_entropy, got {code}: use sigmoid_cross_entropy or "
            "quadratic"
        )
    check_output(objective)


def check_output(objective: Objective) -> None:
    """Raises ValueError if the cost takes z but `forward` returns activations."""
    forward = inference(objective.forward)
    output = forward.output if isinstance(forward, Dense | ConvNet) else identity
    if final_activation(objective.cost) is not identity and output is not identity:
        name = getattr(output, "__name__", output)
        raise ValueError(
            f"output must be identity, because a cross-entropy takes z, got {name}: "
            "use Dense(output=identity)"
        )


def _check_params(params: Any) -> None:
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError(f"params must contain at least one array, got {params!r}")
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", type(leaf))
        if dtype is not float and not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"params must be a pytree of floating-point arrays, got a leaf of {dtype}")


def _output_size(objective: Objective, params: Any, pixels: int) -> int:
    """The number of outputs of `forward`; raises ValueError if it does not accept the inputs."""
    if is_dense(params) and (n_in := sizes_of(params)[0]) != pixels:
        raise ValueError(f"the first of sizes must be {pixels}, the number of pixels of an input, got {n_in}")
    x = jax.ShapeDtypeStruct((pixels,), float_dtype(params))
    try:
        training, evaluation = (
            jax.eval_shape(lambda params, x, key=key: objective.forward(params, x, key), params, x)
            for key in (jax.random.key(0), None)
        )
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        message = f"{type(error).__name__}: {error}"
        raise ValueError(f"forward must accept params and an input of shape {x.shape}: {message}") from error
    if training.shape != evaluation.shape:
        raise ValueError(
            "forward must return the same shape in training and in evaluation, got "
            f"{training.shape} and {evaluation.shape}"
        )
    return evaluation.size
