"""Model files: the parameters of a dense network as safetensors, and what they mean as metadata."""

import json
import math
import os
from collections.abc import Mapping, Sequence
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
from nnjax.confidence import calibrated
from nnjax.data import Dataset
from nnjax.evaluate import count_correct
from nnjax.files import write_atomically
from nnjax.form import Form, form_of
from nnjax.likeness import Likeness, fit_likeness
from nnjax.names import choose, name_of
from nnjax.network import ACTIVATIONS, Layer, Params, check_sizes, is_dense, sizes_of
from nnjax.objective import COSTS, Dense, Objective, as_input, check_fits, float_dtype
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
      form: how digits lie in its images; None where they are no images.
      temperature: at which `confidence.mean_probabilities` are calibrated on validation images.
      likeness: what the images look like; None where they had no single labels.
      validation: the share of the validation images that it answers rightly; 0 without any.
      settings: what it was trained with, as the one who saved it told.
      versions: the packages that trained it.
    """

    params: Params
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
      ValueError: a model that is no dense network of this project's functions, or does not fit the data.
      OSError: what the disk says; an older file is still there.
    """
    if not is_dense(params) or not isinstance(objective.forward, Dense):
        raise ValueError("only dense networks (a tuple of Layer, forward=Dense(...)) go into model files")
    check_fits(objective, params, *data.train, data.num_classes)
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
        "form": _form(data),
        "validation": _share_right(params, objective, data),
        "temperature": _temperature(params, objective, data),
        "settings": dict(settings or {}),
        "versions": environment()["versions"],
    }
    tensors = {
        f"{i}.{part}": np.ascontiguousarray(value)  # safetensors would write a view's whole buffer
        for i, layer in enumerate(params)
        for part, value in layer._asdict().items()
    }
    if meta["form"] and data.train.labels.ndim == 1:
        likeness = fit_likeness(data.train, data.validation, data.num_classes)
        tensors |= {f"likeness.{part}": np.asarray(value) for part, value in likeness._asdict().items()}
    write_atomically(Path(path), safetensors.save(tensors, metadata={"nnjax": json.dumps(meta)}))


def _share_right(params: Params, objective: Objective, data: Dataset) -> float:
    n = len(data.validation.labels)
    return int(count_correct(params, *data.validation, objective)) / n if n else 0.0


def _form(data: Dataset) -> dict[str, Any] | None:
    height, width, *channels = *data.image_shape, 1, 1
    if len(data.image_shape) < 2 or math.prod(channels) > 1:
        return None
    form = form_of(np.asarray(data.train.images).reshape(-1, height, width))
    fits = 0 < form.box[0] <= height and 0 < form.box[1] <= width
    return form._asdict() if fits else None


def _checked_form(told: Mapping[str, Any] | None, image_shape: tuple[int, ...]) -> Form | None:
    if told is None:
        return None
    (height, width), stretched = (int(n) for n in told["box"]), bool(told["stretched"])
    grey = len(image_shape) > 1 and math.prod(image_shape[2:]) == 1
    if not (grey and all(0 < part <= n for part, n in zip((height, width), image_shape, strict=False))):
        raise ValueError(f"a box of {height} x {width} in images of the shape {image_shape}")
    if not stretched and height != width:
        raise ValueError(f"a box of {height} x {width} that keeps proportions")
    return Form((height, width), stretched)


def _checked_count(told: Any) -> int:
    if not 1 <= (count := int(told)) < 2**31:
        raise ValueError(f"{told} labels")
    return count


def _checked_share(told: Any) -> float:
    if not 0 <= (share := float(told)) <= 1:
        raise ValueError(f"a share of {told}")
    return share


def _checked_shape(shape: Sequence[int], pixels: int) -> tuple[int, ...]:
    """An image's shape as a model file tells it; a ValueError where it holds another number of pixels."""
    checked = tuple(int(n) for n in shape)
    if min(checked, default=0) < 1 or math.prod(checked) != pixels:
        raise ValueError(f"images of the shape {shape} for {pixels} inputs")
    return checked


def _temperature(params: Params, objective: Objective, data: Dataset) -> float:
    """1 where validation images cannot tell: none, ready targets, a code that only says yes or no."""
    images, labels = data.validation
    tells = labels.ndim == 1 and objective.code.answers(params[-1].b.shape[0]) >= data.num_classes
    if not (len(labels) and tells):
        return 1.0
    at = jnp.asarray(images), jnp.asarray(labels), objective, data.num_classes, data.image_shape
    return float(calibrated(params, *at))


def is_model_file(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and the header in JSON."""
    if not path.is_file():  # a pipe gives what it holds only once
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size
    except OSError:
        return False


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
            image_shape, temperature = (
                _checked_shape(meta["image_shape"], sizes[0]),
                float(meta["temperature"]),
            )
            if not 0 < temperature < math.inf:
                raise ValueError(f"a temperature of {temperature}")
            form = _checked_form(meta["form"], image_shape)
            likeness = _likeness(file, int(meta["num_classes"]), sizes[0])
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
            image_shape=image_shape,
            num_classes=_checked_count(meta["num_classes"]),
            form=form,
            temperature=temperature,
            likeness=likeness,
            validation=_checked_share(meta["validation"]),
            settings=dict(meta["settings"]),
            versions=dict(meta["versions"]),
        )
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no model file {os.fspath(path)!r}") from None
    except (SafetensorError, LookupError, TypeError, AttributeError, ArithmeticError, ValueError, OSError,
            RecursionError) as error:  # fmt: skip
        raise ValueError(f"{os.fspath(path)!r} is not a model file of nnjax: {error}") from error


def _likeness(file: Any, labels: int, pixels: int) -> Likeness | None:
    names = [f"likeness.{part}" for part in Likeness._fields]
    if not set(names) <= set(file.keys()):
        return None
    found = Likeness(*(jnp.asarray(file.get_tensor(name)) for name in names))
    shapes = [part.shape for part in found]
    if shapes != [(labels, pixels), (len(found.directions), pixels), (), (), ()]:
        raise ValueError(f"what it tells of its images has the shapes {shapes}")
    if not all(_is_finite(part) for part in found) or found.rest <= 0 or found.spread <= 0:
        raise ValueError("what it tells of its images are no finite floats")
    return found


def _is_finite(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating) and bool(jnp.isfinite(array).all())


def _layer(file: Any, i: int, n_in: int, n_out: int) -> Layer:
    layer = Layer(*(jnp.asarray(file.get_tensor(f"{i}.{part}")) for part in Layer._fields))
    if layer.w.shape != (n_out, n_in) or layer.b.shape != (n_out,):
        raise ValueError(f"layer {i} has the shapes {layer.w.shape} and {layer.b.shape}")
    if not all(jnp.issubdtype(part.dtype, jnp.floating) for part in layer):
        raise ValueError(f"layer {i} does not hold floats")
    return layer
