"""Loads model files, which may come from untrusted sources: all values are checked, and no code is run."""

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
from nnjax.nn.conv import ConvNet, ConvParams, pair
from nnjax.nn.dense import ACTIVATIONS, Layer, check_sizes
from nnjax.nn.objective import COSTS, Dense, Objective
from nnjax.nn.output_codes import CODES
from nnjax.runtime.checks import lookup
from nnjax.storage._formats import FormatError, check_format
from nnjax.storage.model_file import (
    CONVOLUTION_FIELDS,
    FORMAT,
    DigitLayout,
    Model,
    check_finite,
    check_header,
)

MAX_FEATURES = 2**24  # of one image in a convolution, about 500 times the usual number
MAX_SIZE = 2**31  # of a shape or a count, which must fit in 32 bits
MAX_NDIM = 32
FLOAT_DTYPES = ("F16", "BF16", "F32", "F64")  # as safetensors calls them


def is_model_file(path: Path) -> bool:
    """Whether a file begins like a safetensors file; False if it cannot be read."""
    try:
        return _has_header(path)
    except OSError:
        return False


def _has_header(path: Path) -> bool:
    """Whether a file begins with the length of a header that fits in it, and the header's first brace."""
    if not path.is_file():  # for example a pipe, which can be read only once
        return False
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def load_model(path: str | os.PathLike) -> Model:
    """Loads a model file that `save_model` wrote. Its content is checked, and no code in it is run.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not a model file, is damaged, or has another format.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no model file {str(path)!r}")
    try:
        return _load(path)
    except FormatError:
        raise
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except (SafetensorError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        reason = "it is damaged or incomplete"
    except MemoryError:
        reason = "it does not fit into the memory of this machine"
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{str(path)!r} is not a model file of nnjax: {textwrap.shorten(reason, 300)}")


def _load(path: Path) -> Model:
    if not _has_header(path):
        raise ValueError("it is a directory" if path.is_dir() else "it is not a safetensors file")
    with open(path, "rb") as start:
        check_header(start.read(8))
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if set(metadata) != {"nnjax"}:
            raise ValueError("its metadata must be one entry, 'nnjax'")
        meta = json.loads(metadata["nnjax"])
        check_format(repr(str(path)), meta["format"], FORMAT, "train the model again")
        input_shape, num_classes = _checked_shape(meta["input_shape"]), meta["num_classes"]
        if num_classes is not None:
            num_classes = _checked_count(num_classes)
        if (num_classes is None) != (meta["output_code"] is None):
            raise ValueError(
                f"num_classes and output_code must both be null or neither, got {num_classes!r} and "
                f"{meta['output_code']!r}"
            )
        forward, sizes = _forward(meta, input_shape)
        layers = tuple(
            Layer(_tensor(file, f"{i}.w", n_out, n_in), _tensor(file, f"{i}.b", n_out))
            for i, (n_in, n_out) in enumerate(sizes)
        )
        if len(file.keys()) != 2 * len(layers):
            raise ValueError("it has tensors that are not part of a model")
    convolutions = len(meta["channels"])
    objective = Objective(
        forward,
        lookup("cost", meta["cost"], COSTS),
        None if num_classes is None else lookup("output code", meta["output_code"], CODES),
    )
    check_output(objective)
    return Model(
        params=ConvParams(layers[:convolutions], layers[convolutions:]) if convolutions else layers,
        objective=objective,
        dataset=str(meta["dataset"]),
        input_shape=input_shape,
        num_classes=num_classes,
        layout=_checked_layout(meta["layout"], input_shape),
        temperature=_checked_temperature(meta["temperature"]),
        validation_accuracy=_checked_fraction(meta["validation_accuracy"]),
        settings=dict(meta["settings"]),
        versions=dict(meta["versions"]),
    )


def _forward(meta: Mapping[str, Any], input_shape: tuple[int, ...]) -> tuple[Any, list[tuple[int, int]]]:
    """The forward function, and for each layer the sizes of its input and output."""
    sizes, channels = check_sizes(meta["sizes"]), meta["channels"]
    fields = {name: meta[name] for name in CONVOLUTION_FIELDS}
    if not isinstance(channels, list) or any((f is not None) != bool(channels) for f in fields.values()):
        raise ValueError(
            f"{', '.join(fields)} must be null if channels is empty, and else must not be null, got "
            f"{', '.join(map(repr, fields.values()))} and channels {channels!r}"
        )
    channels = [_checked_count(n) for n in channels]
    activation, output = (lookup("activation", meta[name], ACTIVATIONS) for name in ("activation", "output"))
    if channels:
        forward = ConvNet(input_shape, **fields, activation=activation, output=output)
        num_features = forward.num_features(channels)
        patch = math.prod(pair(forward.kernel_size))
        convolutions = [(patch * n_in, n_out) for n_in, n_out in forward.widths(channels)]
        for shape, sizes_of_layer in zip(forward.shapes(channels), convolutions, strict=False):
            if (features := math.prod(shape) * max(sizes_of_layer)) > MAX_FEATURES:
                raise ValueError(
                    f"a convolution must have at most {MAX_FEATURES:,} features, got {features:,}"
                )
    else:
        forward, num_features, convolutions = Dense(activation, output), math.prod(input_shape), []
    if sizes[0] != num_features:
        raise ValueError(
            f"sizes must begin with {num_features} for inputs of the shape {input_shape}, got {sizes[0]}"
        )
    return forward, [*convolutions, *pairwise(sizes)]


def _checked_layout(layout: Mapping[str, Any] | None, image_shape: tuple[int, ...]) -> DigitLayout | None:
    if layout is None:
        return None
    (height, width), stretched = (operator.index(n) for n in layout["box"]), bool(layout["stretched"])
    is_gray = len(image_shape) > 1 and math.prod(image_shape[2:]) == 1
    sides = zip((height, width), image_shape, strict=False)
    if not (is_gray and all(0 < side <= image_side for side, image_side in sides)):
        raise ValueError(f"box must fit into images of the shape {image_shape}, got {height} x {width}")
    if not stretched and height != width:
        raise ValueError(f"box must be a square unless digits are stretched, got {height} x {width}")
    return DigitLayout((height, width), stretched)


def _checked_count(value: Any) -> int:
    if isinstance(value, bool) or not 1 <= (count := operator.index(value)) < MAX_SIZE:
        raise ValueError(f"a size must be a positive integer below 2**31, got {value}")
    return count


def _checked_fraction(value: Any) -> float:
    if not 0 <= (fraction := float(value)) <= 1:
        raise ValueError(f"validation_accuracy must be from 0 to 1, got {value}")
    return fraction


def _checked_temperature(value: Any) -> float:
    if not 0 < (temperature := float(value)) < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {value}")
    return temperature


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    checked = tuple(map(_checked_count, shape))
    if not 1 <= len(checked) <= MAX_NDIM or math.prod(checked) >= MAX_SIZE:
        raise ValueError(
            f"input_shape must have 1 to {MAX_NDIM} axes and fewer than 2**31 numbers, got {shape}"
        )
    return checked


def _tensor(file: Any, name: str, *shape: int) -> Array:
    """The tensor called `name`; its shape and dtype are checked before it is loaded."""
    header = file.get_slice(name)
    if tuple(header.get_shape()) != shape or header.get_dtype() not in FLOAT_DTYPES:
        raise ValueError(
            f"{name} must be floats of the shape {list(shape)}, got {header.get_dtype()} of the shape "
            f"{header.get_shape()}"
        )
    with np.errstate(over="ignore"):  # float64 beyond the range of float32 becomes infinity: an error below
        array = jnp.asarray(file.get_tensor(name))
    check_finite(name, array)
    return array
