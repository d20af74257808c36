"""Records of runs, as JSON files."""

import math
from json import dumps
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnjax.runtime.files import write_atomically


def write_record(path: Path, record: Any) -> None:
    """Writes a record as a JSON file, atomically: arrays as lists, NaN and infinity as null.

    Args:
      path: the file; an existing one is replaced.
      record: dicts, lists and tuples of numbers, texts and arrays; other values are written as their `str`.

    Raises:
      OSError: the disk's error; an existing file is unchanged.
    """
    write_atomically(path, (dumps(_to_json(record), indent=1, allow_nan=False) + "\n").encode())


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _to_json(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | bool | str | None) else str(value)
