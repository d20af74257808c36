"""Model files: the parameters of a network as safetensors, with a description as JSON metadata."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num
from safetensors import numpy as safetensors

from nnjax.data import Dataset
from nnjax.nn._shape_checks import check_split
from nnjax.nn.conv import ConvNet, ConvParams, all_layers, layer_sizes, split_layers
from nnjax.nn.dense import ACTIVATIONS, Dense, Params, is_dense, sizes_of
from nnjax.nn.metrics import count_correct
from nnjax.nn.objective import COSTS, Objective, float_dtype, to_input
from nnjax.nn.output_codes import CODES, Code
from nnjax.runtime.checks import check_range, registered_name
from nnjax.runtime.environment import environment
from nnjax.runtime.files import write_atomically

FORMAT = 5
CONVOLUTION_FIELDS = ("kernel_size", "stride", "padding", "pool")
MAX_HEADER_BYTES = 1_000_000  # JSON takes up to fifty times as much memory as Python objects


class DigitLayout(NamedTuple):
    """How digits are placed in the images of a data set.

    Attributes:
      box: height and width of the box that digits are fitted into: (20, 20) for MNIST.
      stretched: whether every digit fills the box; otherwise digits keep their proportions.
    """

    box: tuple[int, int]
    stretched: bool


class Calibration(NamedTuple):
    """What `read_picture` needs in addition to the network; computed by `nnjax.calibrate`.

    Attributes:
      layout: how digits are placed in the images; None if the inputs are not gray images.
      temperature: divides log-probabilities, so that they are calibrated on validation images.
    """

    layout: DigitLayout | None = None
    temperature: float = 1.0


@dataclass(frozen=True)
class Model:
    """A trained network and its metadata.

    Attributes:
      params: a tuple of `Layer(w, b)`, or `ConvParams`.
      objective: the objective it was trained for, as evaluation uses it.
      dataset: the name of the data set it was trained on.
      input_shape: the shape of one input before it is flattened.
      num_classes: the number of labels of the data set; None if there are no classes.
      layout, temperature: see `Calibration`.
      validation_accuracy: the fraction of correct predictions on the validation split; 0 without one.
      settings: the settings of its training, as passed to `save_model`.
      versions: the versions of the packages that trained it.
    """

    params: Params | ConvParams
    objective: Objective
    dataset: str
    input_shape: tuple[int, ...]
    num_classes: int | None
    layout: DigitLayout | None
    temperature: float
    validation_accuracy: float
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def code(self) -> Code | None:
        """The output code; None if there are no labels."""
        return self.objective.code

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of inputs, then for each layer its neurons or, for a convolution, its channels."""
        return layer_sizes(self.params, math.prod(self.input_shape))

    def __call__(self, x: Num[Array, "..."]) -> Float[Array, " n_out"]:
        """The output activations for one input, uint8 or float in [0, 1]."""
        return self.objective.activations(self.params, to_input(jnp.asarray(x), float_dtype(self.params)))


def save_model(
    path: str | os.PathLike,
    params: Params | ConvParams,
    objective: Objective,
    data: Dataset,
    *,
    calibration: Calibration | None = None,
    settings: Mapping[str, Any] | None = None,
    validation_accuracy: float | None = None,
) -> None:
    """Writes a network to a model file for `load_model`: a safetensors file, which contains no code.

    Args:
      path: the file, by convention `*.safetensors`; an existing file is replaced atomically.
      params: as returned by `init`, `ConvNet.init` or `fit`.
      objective: the objective of the training, with activations, costs and codes of nnjax. The file
        stores `objective.inference()`, without dropout, augmentation and label smoothing.
      data: the data set of the training.
      calibration: from `nnjax.calibrate`, for models that `read_picture` uses.
      settings: any JSON values, stored with the model.
      validation_accuracy: the fraction of correct predictions on the validation split, such as the last one
        in the history of the training; computed if None.

    Raises:
      ValueError: a model that is not a dense or convolutional network of this package, does not fit the
        data, or contains NaN; settings that are not JSON values, or take more than a megabyte; an accuracy
        that is not between 0 and 1.
      OSError: the disk's error; an existing file is unchanged.
    """
    objective, calibration = objective.inference(), calibration or Calibration()
    convolutions, dense = _checked_layers(params, objective, data)
    check_split(objective, params, *data.train, data.num_classes)
    for i, layer in enumerate(all_layers(params)):
        check_finite(f"layer {i}", *layer)
    if validation_accuracy is None:
        validation_accuracy = _validation_accuracy(params, objective, data)
    check_range("validation_accuracy", validation_accuracy, 0, 1)
    meta = {
        "format": FORMAT,
        "sizes": sizes_of(dense),
        "channels": [layer.b.shape[0] for layer in convolutions],
        **{name: getattr(objective.forward, name) if convolutions else None for name in CONVOLUTION_FIELDS},
        "activation": registered_name("activation", objective.forward.activation, ACTIVATIONS),
        "output": registered_name("activation", objective.forward.output, ACTIVATIONS),
        "cost": registered_name("cost", objective.cost, COSTS),
        "output_code": objective.code and registered_name("output code", objective.code, CODES),
        "dataset": data.name,
        "input_shape": data.input_shape,
        "num_classes": data.num_classes,
        "layout": calibration.layout and calibration.layout._asdict(),
        "temperature": calibration.temperature,
        "validation_accuracy": float(validation_accuracy),
        "settings": dict(settings or {}),
        "versions": environment()["versions"],
    }
    tensors = {
        f"{i}.{part}": w for i, layer in enumerate(all_layers(params)) for part, w in layer._asdict().items()
    }
    # safetensors writes the whole buffer of a view, and ignores the strides of a transposed array.
    tensors = {name: np.require(value, requirements="C") for name, value in tensors.items()}
    try:
        metadata = json.dumps(meta)
    except TypeError as error:
        raise ValueError(f"settings must be JSON values: {error}") from None
    content = safetensors.save(tensors, metadata={"nnjax": metadata})
    check_header(content)
    write_atomically(Path(path), content)


def _checked_layers(params: Any, objective: Objective, data: Dataset) -> ConvParams:
    forward = objective.forward
    if is_dense(params) and type(forward) is Dense:
        return split_layers(params)
    if not (isinstance(params, ConvParams) and type(forward) is ConvNet):
        raise ValueError(
            "a saved model must be a dense network (a tuple of Layer, forward=Dense(...)) or a convolutional "
            f"one (ConvParams, forward=ConvNet(...)), got {type(params).__name__} and {forward!r}"
        )
    if forward.image_shape != data.input_shape:
        raise ValueError(
            f"image_shape must be that of the data, {data.input_shape}, got {forward.image_shape}"
        )
    return split_layers(params)


def _validation_accuracy(params: Any, objective: Objective, data: Dataset) -> float:
    n = len(data.validation.targets) if objective.code else 0
    return int(count_correct(params, *data.validation, objective)) / n if n else 0.0


def check_header(content: bytes) -> None:
    """Raises ValueError if the header of a model file is longer than `load_model` accepts."""
    if (length := int.from_bytes(content[:8], "little")) > MAX_HEADER_BYTES:
        raise ValueError(f"its header must have at most {MAX_HEADER_BYTES:,} bytes, got {length:,}")


def check_finite(name: str, *arrays: Array) -> None:
    """Raises ValueError if arrays contain NaN or infinity."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
