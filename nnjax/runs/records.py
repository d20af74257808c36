"""Records of runs: JSON that says with what they were made."""

import math
import os
import platform
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnjax.files import write_atomically

_PACKAGES = ("nnjax", "jax", "jaxlib", "optax", "numpy")


def environment() -> dict[str, Any]:
    """Versions and machine, as every record has them."""
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "devices": [device.device_kind for device in jax.devices()],
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name; Linux tells it only in /proc/cpuinfo."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())


def write_record(path: Path, record: Any) -> None:
    """Write `record` as JSON: arrays as lists, NaN and infinity as null, atomically.

    Raises:
      OSError: what the disk says; nothing is left behind.
    """
    write_atomically(path, (dumps(_plain(record), indent=1, allow_nan=False) + "\n").encode())


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
