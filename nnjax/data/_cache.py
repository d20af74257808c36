"""The decoded cache: arrays in one safetensors file, with a SHA-256 sum of them in its metadata."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nnjax.runtime.files import write_atomically

Arrays = Mapping[str, np.ndarray]


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()


def write_cache(path: Path, arrays: Arrays) -> None:
    """Writes arrays to a file, with the sum that `read_cache` checks.

    Raises:
      OSError: the disk's error; an existing file is unchanged.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, save(contiguous, metadata={"sha256": _digest(contiguous)}))


def read_cache(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file that `write_cache` wrote; None if it is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return arrays if expected == _digest(arrays) else None
