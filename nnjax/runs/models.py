"""Model files: the parameters of a network as safetensors, and what they mean as metadata."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num
from safetensors import numpy as safetensors

from nnjax.codes import CODES, Code
from nnjax.confidence import calibrated
from nnjax.convnet import ConvNet, ConvParams, layers_of
from nnjax.data import Dataset
from nnjax.evaluate import count_correct
from nnjax.files import write_atomically
from nnjax.form import Form, form_of
from nnjax.likeness import Likeness, fit_likeness
from nnjax.names import name_of
from nnjax.network import ACTIVATIONS, Layer, Params, is_dense, sizes_of
from nnjax.objective import COSTS, Dense, Objective, as_input, check_fits, float_dtype
from nnjax.runs.records import environment

FORMAT = 2
MOST_HEADER = 1_000_000  # bytes; as Python objects, JSON takes up to fifty times as many


@dataclass(frozen=True)
class Model:
    """A trained network, and what is known of it.

    Attributes:
      params: a tuple of `Layer(w, b)`, or `ConvParams`.
      objective: what it was trained for: activations, cost, output code.
      dataset: the name of the data it was trained on.
      image_shape: the shape of the images it reads, before they are flattened.
      num_classes: how many labels the data had.
      form: how digits lie in its images; None where they are no images.
      temperature: at which `confidence.mean_probabilities` are calibrated on validation images.
      likeness: what the images look like; None where they had no single labels.
      validation: the share of the validation images that it answers rightly; 0 without any.
      settings: what it was trained with, as the one who saved it told.
      versions: the packages that trained it.
    """

    params: Params | ConvParams
    objective: Objective
    dataset: str
    image_shape: tuple[int, ...]
    num_classes: int
    form: Form | None
    temperature: float
    likeness: Likeness | None
    validation: float
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def code(self) -> Code:
        """How the outputs are to be read."""
        return self.objective.code

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons a layer, the inputs counted; of a convolution its channels."""
        return math.prod(self.image_shape), *(layer.b.shape[0] for layer in layers_of(self.params))

    def __call__(self, x: Num[Array, " pixels"]) -> Float[Array, " n_out"]:
        """The output activations for one image, (pixels,), uint8 or float in [0, 1]."""
        return self.objective.activations(self.params, as_input(jnp.asarray(x), float_dtype(self.params)))


def save(
    path: str | os.PathLike,
    params: Params | ConvParams,
    objective: Objective,
    data: Dataset,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write a network to a model file that `read_model` reads: safetensors, no code inside.

    Args:
      path: the file, conventionally `*.safetensors`; an older one is replaced atomically.
      params: as `init`, `ConvNet.init` or `fit` give them.
      objective: what they were trained for; of this project's activations, costs and codes. Of a
        forward or a code that does more while it learns, what it is in evaluation goes into the file.
      data: what they were trained on.
      settings: anything that JSON can hold, kept with the model.

    Raises:
      ValueError: a model that is no dense or convolutional network of this project's functions, does
        not fit the data, or holds NaN; settings of a megabyte.
      OSError: what the disk says; an older file is still there.
    """
    objective = objective.settled
    convolutions, dense = _checked_parts(params, objective, data)
    check_fits(objective, params, *data.train, data.num_classes)
    for i, layer in enumerate(layers_of(params)):
        check_finite(f"layer {i}", *layer)
    meta = {
        "format": FORMAT,
        "sizes": sizes_of(dense),
        "channels": [layer.b.shape[0] for layer in convolutions],
        "side": objective.forward.side if convolutions else None,
        "activation": name_of("activation", objective.forward.activation, ACTIVATIONS),
        "output": name_of("activation", objective.forward.output, ACTIVATIONS),
        "cost": name_of("cost", objective.cost, COSTS),
        "output_code": name_of("output code", objective.code, CODES),
        "dataset": data.name,
        "image_shape": data.image_shape,
        "num_classes": data.num_classes,
        "form": _form(data),
        "validation": _share_right(params, objective, data),
        "temperature": _temperature(params, objective, data),
        "settings": dict(settings or {}),
        "versions": environment()["versions"],
    }
    tensors = {
        f"{i}.{part}": w for i, layer in enumerate(layers_of(params)) for part, w in layer._asdict().items()
    }
    if meta["form"] and data.train.labels.ndim == 1:
        likeness = fit_likeness(data.train, data.validation, data.num_classes)
        tensors |= {f"likeness.{part}": value for part, value in likeness._asdict().items()}
    # safetensors would write a view's whole buffer, and of columns as if they were rows.
    tensors = {name: np.require(value, requirements="C") for name, value in tensors.items()}
    content = safetensors.save(tensors, metadata={"nnjax": json.dumps(meta)})
    check_header(content)
    write_atomically(Path(path), content)


def in_parts(params: Params | ConvParams) -> tuple[tuple[Layer, ...], Params]:
    """The convolutions of a network, () of a dense one, and its dense layers."""
    return params if isinstance(params, ConvParams) else ((), params)


def _checked_parts(params: Any, objective: Objective, data: Dataset) -> tuple[tuple[Layer, ...], Params]:
    forward = objective.forward
    if is_dense(params) and type(forward) is Dense:
        return in_parts(params)
    if not (isinstance(params, ConvParams) and type(forward) is ConvNet):
        raise ValueError(
            "only dense networks (a tuple of Layer, forward=Dense(...)) and convolutional ones (ConvParams, "
            "forward=ConvNet(...)) go into model files"
        )
    if forward.image_shape != data.image_shape:
        raise ValueError(
            f"the network reads images of {forward.image_shape}, but those are {data.image_shape}"
        )
    return in_parts(params)


def _share_right(params: Any, objective: Objective, data: Dataset) -> float:
    n = len(data.validation.labels)
    return int(count_correct(params, *data.validation, objective)) / n if n else 0.0


def _form(data: Dataset) -> dict[str, Any] | None:
    height, width, *channels = *data.image_shape, 1, 1
    if len(data.image_shape) < 2 or math.prod(channels) > 1:
        return None
    form = form_of(np.asarray(data.train.images).reshape(-1, height, width))
    fits = 0 < form.box[0] <= height and 0 < form.box[1] <= width
    return form._asdict() if fits else None


def _temperature(params: Any, objective: Objective, data: Dataset) -> float:
    """1 where validation images cannot tell: none, ready targets, a code that only says yes or no."""
    images, labels = data.validation
    tells = (
        labels.ndim == 1 and objective.code.answers(in_parts(params)[1][-1].b.shape[0]) >= data.num_classes
    )
    if not (len(labels) and tells):
        return 1.0
    at = jnp.asarray(images), jnp.asarray(labels), objective, data.num_classes, data.image_shape
    return float(calibrated(params, *at))


def check_header(content: bytes) -> None:
    """Raise a ValueError where a model file that begins so has a longer header than is read."""
    if (length := int.from_bytes(content[:8], "little")) > MOST_HEADER:
        raise ValueError(f"its header has {length:,} bytes; at most {MOST_HEADER:,} are read")


def check_finite(name: str, *arrays: Array) -> None:
    """Raise a ValueError where arrays hold NaN or infinity: such a network reads nothing."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{name} holds NaN or infinity")
