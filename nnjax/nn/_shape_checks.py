"""Checks that a model, its objective and a data set fit together; only shapes are traced."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn.attention import TransformerParams
from nnjax.nn.conv import ConvNet
from nnjax.nn.dense import Dense, identity, is_dense, sizes_of
from nnjax.nn.metrics import Metric, Metrics
from nnjax.nn.objective import (
    COSTS,
    Objective,
    final_activation,
    float_dtype,
    inference,
    softmax_cross_entropy,
    to_input,
    token_cross_entropy,
)
from nnjax.nn.output_codes import Binary, IsDigit
from nnjax.nn.recurrent import RecurrentParams


def check_dataset(objective: Objective, params: Any, data: Dataset) -> None:
    """Calls `check_split` for every non-empty split; splits of equal shapes and tokens are checked once."""
    splits = (data.train, data.validation, data.test)
    kinds = {tuple(map(_kind, split)): split for split in splits if len(split.targets)}
    for split in kinds.values():
        check_split(objective, params, *split, data.num_classes)


def _kind(array: Any) -> tuple:
    """The shape of one example and, of sequences of integers, the smallest and the largest one."""
    are_tokens = array.ndim > 1 and array.dtype == np.int32
    return array.shape[1:], *((int(array.min()), int(array.max())) if are_tokens else ())


def check_split(
    objective: Objective,
    params: Any,
    inputs: Array | np.ndarray,
    targets: Array | np.ndarray,
    num_classes: int | None,
) -> None:
    """Raises ValueError if a model, its objective and examples do not fit together.

    Traces `forward` and `cost` for one example; nothing is computed.
    """
    _check_params(params)
    if not callable(objective.cost):
        raise ValueError(f"cost must be a function, such as nnjax.quadratic, got {objective.cost!r}")
    if isinstance(params, TransformerParams | RecurrentParams):
        _check_sequence(params, inputs)
    output = _output_struct(objective, params, inputs)
    check_output(objective)
    if objective.code is None:
        _check_cost(objective, params, output, targets)
    elif num_classes is None:
        raise ValueError(
            f"code must be None for targets without classes, got {objective.code}: use Objective(code=None), "
            "or pass num_classes to Dataset.from_arrays"
        )
    else:
        _check_code(objective, output, targets, num_classes)
        _check_cost_of(objective, output, output)


def _check_sequence(params: Any, inputs: Any) -> None:
    """Raises ValueError if a recurrent network or a transformer does not accept the sequences."""
    if params.embedding is None and inputs.ndim != 3:
        raise ValueError(
            f"inputs must be sequences of vectors (n, time, n_in), got the shape {inputs.shape}: for tokens, "
            "pass vocabulary to init"
        )
    if params.embedding is not None:
        _check_tokens("inputs", inputs, params.embedding.shape[0])
    if isinstance(params, TransformerParams) and inputs.shape[1] > len(params.positions):
        raise ValueError(
            f"inputs must have at most {len(params.positions)} positions, the length of the transformer, got "
            f"{inputs.shape[1]}"
        )


def _check_tokens(what: str, inputs: Any, vocabulary: int) -> None:
    """Raises ValueError for tokens out of the vocabulary, where JAX would use the nearest one, or NaN."""
    if not jnp.issubdtype(inputs.dtype, jnp.integer) or inputs.dtype == jnp.uint8:
        raise ValueError(f"{what} must be int32 tokens for an embedding, got {inputs.dtype}")
    low, high = int(inputs.min()), int(inputs.max())
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"{what} must be tokens from 0 to {vocabulary - 1}, for a vocabulary of {vocabulary}, got {low} "
            f"to {high}"
        )


def _check_cost(objective: Objective, params: Any, output: jax.ShapeDtypeStruct, targets: Any) -> None:
    """Raises ValueError if the cost is not a scalar for an output and a target."""
    y = _example_struct(targets, float_dtype(params))
    if objective.cost is token_cross_entropy:
        _check_tokens("targets", targets, output.shape[-1])
    _check_cost_of(objective, output, y)


def _check_cost_of(objective: Objective, output: jax.ShapeDtypeStruct, y: jax.ShapeDtypeStruct) -> None:
    """Raises ValueError if the cost of an output and a desired output is not a number."""
    if objective.cost in COSTS.values() and y.shape != output.shape:
        raise ValueError(
            f"the targets must have the shape of the output, {output.shape}, got {y.shape}: reshape them, or "
            "change the last layer"
        )
    with explained(f"cost must accept an output of shape {output.shape} and a target of shape {y.shape}"):
        cost = jax.eval_shape(objective.cost, output, y)
    if getattr(cost, "shape", None) != ():
        raise ValueError(f"cost must return a number for each example, got {_shown(cost)}")


def _check_code(objective: Objective, output: jax.ShapeDtypeStruct, targets: Any, num_classes: int) -> None:
    """Raises ValueError if outputs cannot be compared with the encoded targets."""
    code = objective.label_code
    if targets.ndim > 1 and output.shape != targets.shape[1:]:
        raise ValueError(
            f"the output layer must have {targets.shape[1]} neurons for the targets, got {output.size}"
        )
    if targets.ndim == 1 and output.size < (required := code.num_outputs(num_classes)):
        raise ValueError(
            f"the output layer must have at least {required} neurons for {num_classes} classes and {code}, "
            f"got {output.size}"
        )
    if objective.cost is softmax_cross_entropy and isinstance(code, Binary | IsDigit):
        raise ValueError(
            f"code must be one_hot for softmax_cross_entropy, got {code}: use sigmoid_cross_entropy or "
            "quadratic"
        )


def num_outputs(code: Any, data: Dataset) -> int:
    """The number of output neurons that a dense network needs for the targets of `data`.

    Raises:
      ValueError: the code does not fit the number of classes.
    """
    if data.target_shape or code is None or data.num_classes is None:
        return math.prod(data.target_shape)
    return code.num_outputs(data.num_classes)


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


def _shown(value: Any) -> str:
    """A traced result for error messages."""
    return f"an array of the shape {value.shape}" if hasattr(value, "shape") else str(value)


def check_metrics(
    metrics: Mapping[str, Metric] | None, objective: Objective, params: Any, data: Dataset
) -> Metrics:
    """The metrics as pairs; raises ValueError if one does not return a number for an output and a target."""
    if metrics is not None and not isinstance(metrics, Mapping):
        raise ValueError(f"metrics must be a mapping from names to functions, got {metrics!r}")
    if not metrics:
        return ()
    output = _output_struct(objective, params, data.train.inputs)
    target = _struct(data.train.targets)
    for name, metric in metrics.items():
        if not isinstance(name, str) or not callable(metric):
            raise ValueError(f"metrics must be a mapping from names to functions, got {name!r}: {metric!r}")
        shapes = f"an output of shape {output.shape} and a target of shape {target.shape}"
        with explained(f"metric {name} must accept {shapes}"):
            value = jax.eval_shape(metric, output, target)
        if getattr(value, "shape", None) != ():
            raise ValueError(f"metric {name} must return a number for each example, got {_shown(value)}")
    return tuple(metrics.items())


def _check_params(params: Any) -> None:
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError(f"params must contain at least one array, got {params!r}")
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", type(leaf))
        if dtype is not float and not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"params must be a pytree of floating-point arrays, got a leaf of {dtype}")


@contextlib.contextmanager
def explained(requirement: str) -> Iterator[None]:
    """Raises ValueError with `requirement` if a user's function cannot be traced."""
    try:
        yield
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        raise ValueError(f"{requirement}: {type(error).__name__}: {error}") from error


def _example_struct(array: Any, dtype: jnp.dtype) -> jax.ShapeDtypeStruct:
    """The shape and dtype in which one example reaches the model or the cost."""
    return jax.eval_shape(lambda x: to_input(x, dtype), _struct(array))


def _struct(array: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of one example on a device."""
    return jax.ShapeDtypeStruct(array.shape[1:], jax.dtypes.canonicalize_dtype(array.dtype))


def _output_struct(objective: Objective, params: Any, inputs: Any) -> jax.ShapeDtypeStruct:
    """The output of `forward` for one example; raises ValueError if it does not accept the inputs."""
    x = _example_struct(inputs, float_dtype(params))
    if is_dense(params) and (n_in := sizes_of(params)[0]) != x.size:
        raise ValueError(f"the first of sizes must be {x.size}, the size of an input, got {n_in}")
    forward = inference(objective.forward)
    if isinstance(forward, ConvNet) and x.size != math.prod(forward.image_shape):
        raise ValueError(f"inputs must be images of the shape {forward.image_shape}, got {x.shape}")
    with explained(f"forward must accept params and an input of shape {x.shape}"):
        training, evaluation = (
            jax.eval_shape(lambda params, x, key=key: objective.forward(params, x, key), params, x)
            for key in (jax.random.key(0), None)
        )
    if training.shape != evaluation.shape:
        raise ValueError(
            "forward must return the same shape in training and in evaluation, got "
            f"{training.shape} and {evaluation.shape}"
        )
    return evaluation
