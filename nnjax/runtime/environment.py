"""Versions, machine and devices, as every record states them."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

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
