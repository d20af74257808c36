"""Records of runs as JSON files."""

import math
from json import dumps
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnjax.runtime.files import write_atomically


def write_record(path: Path, record: Any) -> None:
    """Write `record` as JSON: arrays as lists, NaN and infinity as null, atomically.

    Raises:
      OSError: what the disk says; nothing is left behind.
    """
    write_atomically(path, record_json(record).encode())


def record_json(record: Any) -> str:
    """`record` as JSON: arrays as lists, NaN and infinity as null.

    >>> record_json({"cost": np.array([0.5, np.nan])}).split()
    ['{', '"cost":', '[', '0.5,', 'null', ']', '}']
    """
    return dumps(_plain(record), indent=1, allow_nan=False) + "\n"


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
