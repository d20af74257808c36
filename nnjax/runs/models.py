"""Model files: the parameters of a dense network as safetensors, and what they mean as metadata."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from nnjax.codes import CODES, Code
from nnjax.data import Dataset
from nnjax.files import write_atomically
from nnjax.names import choose, name_of
from nnjax.network import ACTIVATIONS, Layer, Params, check_sizes, is_dense, sizes_of
from nnjax.objective import COSTS, Dense, Objective, as_input, float_dtype
from nnjax.runs.records import environment


@dataclass(frozen=True)
class Model:
    """A trained dense network, and what is known of it.

    Attributes:
      params: a tuple of `Layer(w, b)`.
      objective: what it was trained for: activations, cost, output code.
      dataset: the name of the data it was trained on.
      image_shape: the shape of the images it reads, before they are flattened.
      num_classes: how many labels the data had.
      settings: what it was trained with, as the one who saved it told.
      versions: the packages that trained it.
    """

    params: Params
    objective: Objective
    dataset: str
    image_shape: tuple[int, ...]
    num_classes: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def code(self) -> Code:
        """How the outputs are to be read."""
        return self.objective.code

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons a layer, the inputs counted."""
        return sizes_of(self.params)

    def __call__(self, x: Num[Array, " pixels"]) -> Float[Array, " n_out"]:
        """The output activations for one image, (pixels,), uint8 or float in [0, 1]."""
        return self.objective.activations(self.params, as_input(jnp.asarray(x), float_dtype(self.params)))


def save(
    path: str | os.PathLike,
    params: Params,
    objective: Objective,
    data: Dataset,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write a dense network to a model file that `read_model` reads: safetensors, no code inside.

    Args:
      path: the file, conventionally `*.safetensors`; an older one is replaced atomically.
      params: as `init` or `fit` give them.
      objective: what they were trained for; of this project's activations, costs and codes.
      data: what they were trained on.
      settings: anything that JSON can hold, kept with the model.

    Raises:
      ValueError: a model that is no dense network of this project's functions.
      OSError: what the disk says; an older file is still there.
    """
    if not is_dense(params) or not isinstance(objective.forward, Dense):
        raise ValueError("only dense networks (a tuple of Layer, forward=Dense(...)) go into model files")
    meta = {
        "format": 1,
        "sizes": sizes_of(params),
        "activation": name_of("activation", objective.forward.activation, ACTIVATIONS),
        "output": name_of("activation", objective.forward.output, ACTIVATIONS),
        "cost": name_of("cost", objective.cost, COSTS),
        "output_code": name_of("output code", objective.code, CODES),
        "dataset": data.name,
        "image_shape": data.image_shape,
        "num_classes": data.num_classes,
        "settings": dict(settings or {}),
        "versions": environment()["versions"],
    }
    tensors = {
        f"{i}.{part}": np.ascontiguousarray(value)  # safetensors would write a view's whole buffer
        for i, layer in enumerate(params)
        for part, value in layer._asdict().items()
    }
    write_atomically(Path(path), safetensors.save(tensors, metadata={"nnjax": json.dumps(meta)}))


def read_model(path: str | os.PathLike) -> Model:
    """Read a model file that `save` wrote.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a file that is not a model's, or whose tensors are not what it says.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "nnjax" not in metadata:
                raise ValueError("it does not say what its tensors mean")
            meta = json.loads(metadata["nnjax"])
            sizes = check_sizes(meta["sizes"])
            params = tuple(_layer(file, i, n_in, n_out) for i, (n_in, n_out) in enumerate(pairwise(sizes)))
        return Model(
            params=params,
            objective=Objective(
                forward=Dense(
                    choose("activation", meta["activation"], ACTIVATIONS),
                    choose("activation", meta["output"], ACTIVATIONS),
                ),
                cost=choose("cost", meta["cost"], COSTS),
                code=choose("output code", meta["output_code"], CODES),
            ),
            dataset=str(meta["dataset"]),
            image_shape=tuple(meta["image_shape"]),
            num_classes=int(meta["num_classes"]),
            settings=dict(meta["settings"]),
            versions=dict(meta["versions"]),
        )
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no model file {os.fspath(path)!r}") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a model file of nnjax: {error}") from error


def _layer(file: Any, i: int, n_in: int, n_out: int) -> Layer:
    layer = Layer(*(jnp.asarray(file.get_tensor(f"{i}.{part}")) for part in Layer._fields))
    if layer.w.shape != (n_out, n_in) or layer.b.shape != (n_out,):
        raise ValueError(f"layer {i} has the shapes {layer.w.shape} and {layer.b.shape}")
    if not all(jnp.issubdtype(part.dtype, jnp.floating) for part in layer):
        raise ValueError(f"layer {i} does not hold floats")
    return layer
