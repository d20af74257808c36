"""Records of runs, as JSON files."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnjax.runtime.files import write_atomically


def write_record(path: Path, record: Any) -> None:
    """Writes a record to a JSON file, atomically.

    Args:
      path: the file; an existing one is replaced.
      record: as for `record_json`.

    Raises:
      OSError: the disk's error; an existing file is unchanged.
    """
    write_atomically(path, record_json(record).encode())


def record_json(record: Any) -> str:
    """A record as JSON: arrays become lists, NaN and infinity null.

    Args:
      record: dicts, lists and tuples of numbers, texts and arrays; other values are written as their `str`.

    >>> record_json({"cost": np.array([0.5, np.nan])}).split()
    ['{', '"cost":', '[', '0.5,', 'null', ']', '}']
    """
    return json.dumps(_plain(record), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | bool | str | None) else str(value)
