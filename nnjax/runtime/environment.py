"""Versions, machine and devices, for records."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnjax.runtime.limits import cores

_PACKAGES = ("nnjax", "jax", "jaxlib", "optax", "numpy")
_PRECISION_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision")


def environment() -> dict[str, Any]:
    """The versions, the machine and its devices, as JSON values."""
    return {
        "versions": {"python": platform.python_version()} | package_versions(),
        "platform": platform.platform(),
        "processor": processor(),
        "vector_extensions": vector_extensions(),
        "cores": cores(),
        "devices": [device.device_kind for device in jax.devices()],
    }


def precision_settings() -> dict[str, str]:
    """The settings of jax that change the results of a program."""
    return {name: str(getattr(jax.config, name)) for name in _PRECISION_SETTINGS}


def package_versions() -> dict[str, str]:
    """The versions of the packages that can change the results."""
    return {name: version(name) for name in _PACKAGES}


def git_commit(root: Path) -> str:
    """The commit of the clone in `root`, with "-dirty" if files differ from it, except those in `results`.

    Returns:
      Twelve digits, or "unknown" if git is missing or `root` is not in a clone.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        changes = git("status", "--porcelain", "--", ".", ":!*/results/*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changes else head


def processor() -> str:
    """The name of the processor."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()  # on Linux, `platform` does not know the name
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())


def vector_extensions() -> str:
    """The vector instructions that NumPy uses here, such as "X86_V2 X86_V3".

    The last bit of exp and log depends on them. Virtual machines often report the same name for processors
    with different instructions.
    """
    extensions: Any = np.show_config(mode="dicts")
    extensions = extensions.get("SIMD Extensions", {})
    return " ".join([*extensions.get("baseline", ()), *extensions.get("found", ())])
