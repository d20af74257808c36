"""Exports models as StableHLO programs, which run without nnjax.

StableHLO is the portable format of XLA's programs. The file is a serialized `jax.export.Exported`, which
`jax.export.deserialize` loads, also with versions of jax of the next six months, if the package flatbuffers
is installed. For TensorFlow and IREE,
write its `mlir_module_serialized` to a file.
"""

import math
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from nnjax.nn.objective import float_dtype, to_input
from nnjax.runtime.files import write_atomically
from nnjax.storage.model_file import Model

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
TOLERANCE = 1e-5  # of activations, between the program and the model


def export_model(model: Model) -> "export.Exported":
    """A model as a program: uint8 inputs (n, ...) -> output activations (n, n_out), for any n.

    The program contains the parameters. It scales the inputs to [0, 1], as training does.

    Args:
      model: from `nnjax.load_model`.

    Returns:
      A `jax.export.Exported`; `exported.call(inputs)` runs it.

    >>> import nnjax
    >>> config, data = nnjax.TrainConfig(hidden=(5,), epochs=1), nnjax.load("digits")
    >>> run = config.fit(jax.random.key(0), data)
    >>> nnjax.save_model("/tmp/model.safetensors", run.params, config.objective(data), data)
    >>> exported = export_model(nnjax.load_model("/tmp/model.safetensors"))
    >>> exported.call(data.test.inputs[:3]).shape
    (3, 10)
    """
    dtype, shape = float_dtype(model.params), model.input_shape

    def program(inputs):
        def activations(x):
            return model.objective.activations(model.params, to_input(x, dtype))

        return jax.vmap(activations)(inputs)

    (n,) = export.symbolic_shape("n")
    inputs = jax.ShapeDtypeStruct((n, *shape), np.uint8)
    return export.export(jax.jit(program), platforms=PLATFORMS)(inputs)


def write_stablehlo(path: str | PathLike, model: Model) -> None:
    """Writes the program of `export_model` to a file, after a check of what was written.

    Args:
      path: the file; an existing file is replaced atomically. `jax.export.deserialize` reads it.
      model: from `nnjax.load_model`.

    Raises:
      RuntimeError: the program does not compute the activations of the model.
      OSError: the file cannot be written.
    """
    content = bytes(export_model(model).serialize())
    _check(export.deserialize(bytearray(content)), model)
    write_atomically(Path(path), content)


def _check(exported: Any, model: Model) -> None:
    """Raises RuntimeError if a program has other outputs than the model, for random inputs."""
    size = math.prod(model.input_shape)
    inputs = np.random.default_rng(0).integers(0, 256, (16, size)).astype(np.uint8)
    inputs = inputs.reshape(-1, *model.input_shape)
    expected = np.stack(
        [model.objective.activations(model.params, to_input(jnp.asarray(x), float_dtype(model.params)))
         for x in inputs]
    )  # fmt: skip
    difference = float(np.abs(np.asarray(exported.call(inputs)) - expected).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"the program must compute the activations of the model up to {TOLERANCE:g}, got a difference of "
            f"{difference:g}"
        )
