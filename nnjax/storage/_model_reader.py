"""Reading model files, which may come from strangers: nothing in one is run, and nothing is believed."""

import json
import math
import operator
import os
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from safetensors import SafetensorError, safe_open

from nnjax.nn._shape_checks import check_output
from nnjax.nn.conv import ConvNet, ConvParams
from nnjax.nn.dense import ACTIVATIONS, Layer, check_sizes
from nnjax.nn.objective import COSTS, Dense, Objective
from nnjax.nn.output_codes import CODES
from nnjax.runtime.checks import lookup
from nnjax.storage.model_file import FORMAT, DigitLayout, Model, OutlierModel, check_finite, check_header

MAX_FEATURES = 2**24  # that a convolution makes of one image, at most: some 500 times the usual
FLOATS = ("F16", "BF16", "F32", "F64")  # as safetensors name them


def is_model_file(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and the header in JSON."""
    try:
        return _begins_as_one(path)
    except OSError:
        return False


def _begins_as_one(path: Path) -> bool:
    if not path.is_file():  # a pipe gives what it holds only once
        return False
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def load_model(path: str | os.PathLike) -> Model:
    """Read a model file that `save` wrote. It is data alone, and what it says of itself is not believed.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a file that is not a model's, or whose tensors are not what it says.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {str(path)!r}")
    try:
        return _read(path)
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except (SafetensorError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        why = "it is damaged, or does not tell what such a file tells"
    except MemoryError:
        why = "it is larger than the memory of this machine"
    except ValueError as error:
        why = str(error)
    raise ValueError(f"{str(path)!r} is not a model file of nnjax: {textwrap.shorten(why, 300)}")


def _read(path: Path) -> Model:
    if not _begins_as_one(path):
        raise ValueError("it is a folder" if path.is_dir() else "it does not begin as one (safetensors)")
    with open(path, "rb") as start:
        check_header(start.read(8))
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if set(metadata) != {"nnjax"}:
            raise ValueError("it does not say what its tensors mean, and nothing else")
        meta = json.loads(metadata["nnjax"])
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {meta['format']!r}, and this version of nnjax reads {FORMAT}")
        image_shape, labels = _checked_shape(meta["input_shape"]), _checked_count(meta["num_classes"])
        forward, shapes = _forward(meta, image_shape)
        layers = tuple(
            Layer(_tensor(file, f"{i}.w", n_out, n_in), _tensor(file, f"{i}.b", n_out))
            for i, (n_in, n_out) in enumerate(shapes)
        )
        outlier_model = _outlier_model(file, labels, math.prod(image_shape))
        if len(file.keys()) != 2 * len(layers) + len(outlier_model or ()):
            raise ValueError("it holds tensors that are no part of a model")
    convolutions = len(meta["channels"])
    objective = Objective(
        forward,
        lookup("cost", meta["cost"], COSTS),
        lookup("output code", meta["output_code"], CODES),
    )
    check_output(objective)
    return Model(
        params=ConvParams(layers[:convolutions], layers[convolutions:]) if convolutions else layers,
        objective=objective,
        dataset=str(meta["dataset"]),
        input_shape=image_shape,
        num_classes=labels,
        layout=_checked_layout(meta["layout"], image_shape),
        temperature=_checked_temperature(meta["temperature"]),
        outlier_model=outlier_model,
        validation_accuracy=_checked_share(meta["validation_accuracy"]),
        settings=dict(meta["settings"]),
        versions=dict(meta["versions"]),
    )


def _forward(meta: Mapping[str, Any], image_shape: tuple[int, ...]) -> tuple[Any, list[tuple[int, int]]]:
    """The forward that a model file tells of, and of each of its layers the numbers in and out."""
    sizes, told = check_sizes(meta["sizes"]), meta["channels"]
    if not isinstance(told, list) or (meta["kernel_size"] is not None) != bool(told):
        raise ValueError(f"convolutions with {told!r} channels and a side of {meta['side']!r}")
    channels = [_checked_count(n) for n in told]
    activation, output = (lookup("activation", meta[name], ACTIVATIONS) for name in ("activation", "output"))
    if channels:
        side = _checked_count(meta["kernel_size"])
        forward = ConvNet(image_shape, side, activation, output)
        n_first = forward.num_features(channels)
        convolutions = [(side**2 * n_in, n_out) for n_in, n_out in forward.widths(channels)]
        for shape, ends in zip(forward.shapes(channels), convolutions, strict=False):
            if math.prod(shape) * max(ends) > MAX_FEATURES:
                raise ValueError(f"convolutions of {ends} numbers in images of the shape {shape}: too large")
    else:
        forward, n_first, convolutions = Dense(activation, output), math.prod(image_shape), []
    if sizes[0] != n_first:
        raise ValueError(f"images of the shape {image_shape} for {sizes[0]} inputs")
    return forward, [*convolutions, *pairwise(sizes)]


def _checked_layout(told: Mapping[str, Any] | None, image_shape: tuple[int, ...]) -> DigitLayout | None:
    if told is None:
        return None
    (height, width), stretched = (operator.index(n) for n in told["box"]), bool(told["stretched"])
    grey = len(image_shape) > 1 and math.prod(image_shape[2:]) == 1
    if not (grey and all(0 < part <= n for part, n in zip((height, width), image_shape, strict=False))):
        raise ValueError(f"a box of {height} x {width} in images of the shape {image_shape}")
    if not stretched and height != width:
        raise ValueError(f"a box of {height} x {width} that keeps proportions")
    return DigitLayout((height, width), stretched)


def _checked_count(told: Any) -> int:
    if isinstance(told, bool) or not 1 <= (count := operator.index(told)) < 2**31:
        raise ValueError(f"a number of {told}, where one from 1 is due")
    return count


def _checked_share(told: Any) -> float:
    if not 0 <= (share := float(told)) <= 1:
        raise ValueError(f"a share of {told}")
    return share


def _checked_temperature(told: Any) -> float:
    if not 0 < (temperature := float(told)) < math.inf:
        raise ValueError(f"a temperature of {told}")
    return temperature


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """An image's shape as a model file tells it; a ValueError where no image has it."""
    checked = tuple(map(_checked_count, shape))
    if not 1 <= len(checked) <= 32 or math.prod(checked) >= 2**31:
        raise ValueError(f"images of the shape {shape}")
    return checked


def _outlier_model(file: Any, labels: int, pixels: int) -> OutlierModel | None:
    if not any(name.startswith("outlier_model.") for name in file.keys()):  # noqa: SIM118
        return None
    directions = file.get_slice("outlier_model.directions").get_shape()[0]
    shapes = (labels, pixels), (directions, pixels), (), (), ()
    parts = zip(OutlierModel._fields, shapes, strict=True)
    found = OutlierModel(*(_tensor(file, f"outlier_model.{part}", *shape) for part, shape in parts))
    if found.noise_variance <= 0 or found.scale <= 0:
        raise ValueError("what it tells of its images spreads over nothing")
    return found


def _tensor(file: Any, name: str, *shape: int) -> Array:
    """The tensor called `name`, looked at before it is loaded: finite floats of this shape."""
    told = file.get_slice(name)
    if tuple(told.get_shape()) != shape or told.get_dtype() not in FLOATS:
        raise ValueError(
            f"{name} holds {told.get_dtype()} of the shape {told.get_shape()}, not floats of {list(shape)}"
        )
    with np.errstate(over="ignore"):  # float64 beyond float32 is infinity, and refused as such
        array = jnp.asarray(file.get_tensor(name))
    check_finite(name, array)
    return array
