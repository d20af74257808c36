"""Finished chunks of a sweep, each under a name that is made of all that made it."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from nnjax.files import write_atomically
from nnjax.runs.records import environment


def fingerprint(*parts: Any) -> str:
    """A name for what `parts` make here: texts, whole numbers and pytrees of arrays, versions, machine.

    Parts that differ in a single bit have another name, so that nothing can be taken for what it
    is not, and what is asked for again is found again.

    >>> fingerprint("program", np.zeros(2)) == fingerprint("program", np.zeros(2))
    True
    """
    told = hashlib.sha256(repr(environment()).encode())
    for leaf in jax.tree.leaves(parts):
        if isinstance(leaf, str | int):
            told.update(repr(leaf).encode())
            continue
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        told.update(f"{array.dtype}{array.shape}".encode())
        told.update(np.ascontiguousarray(array).data)
    return told.hexdigest()[:32]


def read_chunk(folder: Path, name: str) -> dict[str, np.ndarray] | None:
    """The arrays that `write_chunk` kept, or None; a damaged file is told of, and taken for none."""
    path = folder / f"{name}.safetensors"
    try:
        return safetensors.load_file(path)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError) as error:
        warnings.warn(f"{path} is damaged ({error}): its networks are trained again", stacklevel=2)
        return None


def write_chunk(folder: Path, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Keep the arrays of a finished chunk, whole or not at all."""
    content = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    write_atomically(folder / f"{name}.safetensors", safetensors.save(content))
