"""Whether a model, its objective and the data go together: told by shapes, before anything is computed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.codes import Binary, IsDigit
from nnjax.data import Dataset
from nnjax.network import identity, is_dense, sizes_of
from nnjax.objective import Objective, activation_in, float_dtype, settled, softmax_cross_entropy


def check_data_fits(objective: Objective, params: Any, data: Dataset) -> None:
    """`check_fits` for all splits that hold examples; those of one shape are asked once."""
    splits = (data.train, data.validation, data.test)
    shapes = {(s.images.shape[1:], s.labels.shape[1:]): s for s in splits if len(s.labels)}
    for split in shapes.values():
        check_fits(objective, params, *split, data.num_classes)


def check_fits(
    objective: Objective,
    params: Any,
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    num_classes: int,
) -> None:
    """Raise a ValueError where a model, its objective and the data do not go together.

    Traces `forward` for one example without computing anything.
    """
    _check_params(params)
    n_out = _output_size(objective, params, images.shape[1])
    code, cost = objective.code, objective.cost
    if labels.ndim > 1 and n_out != labels.shape[1]:
        raise ValueError(f"the output layer has {n_out} neurons, but the targets {labels.shape[1]}")
    if labels.ndim == 1 and n_out < (wanted := code.outputs(num_classes)):
        raise ValueError(
            f"the output layer has {n_out} neurons, but {code} of {num_classes} labels needs {wanted}"
        )
    if cost is softmax_cross_entropy and isinstance(code, Binary | IsDigit):
        raise ValueError(
            "softmax_cross_entropy takes exactly one output to be right, as one_hot has it: with "
            f"{code} use sigmoid_cross_entropy or quadratic"
        )
    check_output(objective)


def check_output(objective: Objective) -> None:
    """Raise a ValueError where a cost that takes z is given an activation."""
    output = getattr(settled(objective.forward), "output", identity)
    if activation_in(objective.cost) is not identity and output is not identity:
        raise ValueError("the cross-entropies take z, not an activation: use Dense(output=identity)")


def _check_params(params: Any) -> None:
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError(f"params holds no numbers to train: {params!r}")
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", type(leaf))
        if dtype is not float and not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"params must be a pytree of floating-point arrays, but a leaf is {dtype}")


def _output_size(objective: Objective, params: Any, pixels: int) -> int:
    """The number of outputs that `forward` gives, or a ValueError where it takes no such image."""
    if is_dense(params) and (n_in := sizes_of(params)[0]) != pixels:
        raise ValueError(
            f"images have {pixels} pixels, but the first layer of params takes {n_in}: "
            f"sizes should begin with {pixels}"
        )
    x = jax.ShapeDtypeStruct((pixels,), float_dtype(params))
    try:
        training, after = (
            jax.eval_shape(lambda params, x, key=key: objective.forward(params, x, key), params, x)
            for key in (jax.random.key(0), None)
        )
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"forward cannot take params and an image {x.shape}: {told}") from error
    if training.shape != after.shape:
        raise ValueError(f"forward gives {training.shape} while training, and {after.shape} in evaluation")
    return after.size
