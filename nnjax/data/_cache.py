"""The decoded cache: arrays in one safetensors file that knows its own SHA-256 sum."""

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
    """Store `arrays` at `path`, with the sum that `read_cache` checks."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, save(whole, metadata={"sha256": _digest(whole)}))


def read_cache(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays stored at `path`; None where there are none, or not those that were written."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            written = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return arrays if written == _digest(arrays) else None
