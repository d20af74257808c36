"""What nnjax runs on: versions, machine and settings."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Any

import jax
from packaging.requirements import Requirement

from nnjax.runtime.environment import cores, processor
from nnjax.runtime.multihost import PROCESS_VARIABLES

# Settings that are told with their values; of jax's own, all but addresses.
SHOWN = re.compile(r"XLA_(?!FLAGS)|TFDS_DATA_DIR|NPROC$|(OMP|OPENBLAS|MKL)_NUM_THREADS|CUDA_VISIBLE")
FOR_FAULTS = (
    "disable_jit",
    "debug_nans",
    "debug_infs",
    "check_tracer_leaks",
    "enable_checks",
)


def of_jax(name: str) -> Any:
    """One of jax's settings; None where this jax does not have it."""
    return getattr(jax.config, f"jax_{name}", None)


def versions() -> tuple[dict[str, Any], list[str]]:
    """Versions of what nnjax declares to need, and of jax's plugins; those outside what is declared."""
    facts, findings = {"python": platform.python_version(), "nnjax": version("nnjax")}, []
    for needed in map(Requirement, requires("nnjax") or []):
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(needed.name)
            fits = needed.specifier.contains(found, prereleases=True)
        except PackageNotFoundError:
            found, fits = "missing", False
        facts[needed.name] = found
        if not fits:
            findings.append(f'{needed.name} is {found}: pip install "{needed.name}{needed.specifier}"')
    plugins = {plugin.dist for plugin in entry_points(group="jax_plugins") if plugin.dist}
    return facts | {plugin.name: plugin.version for plugin in plugins}, findings


def machine() -> tuple[dict[str, Any], list[str]]:
    """The system, its processor, and how much of it this process may use."""
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "cores_usable": cores(),
        "cpus_granted": cpus_granted(),
        "load": round(load(), 1),
    }, []


def load() -> float:
    """How many programs wanted a core, on average over the last minute; 0 where it is not known."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def cpus_granted(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Of how many cores Linux' control groups grant this process the time; None without a limit."""
    if not own.exists():
        return None
    lines = own.read_text().splitlines()
    inner = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    groups = [root / inner, *(root / inner).parents]
    told = [group / "cpu.max" for group in groups if group.is_relative_to(root)]
    limits = [path.read_text().split() for path in told if path.exists()]
    older = [root / "cpu" / f"cpu.cfs_{what}_us" for what in ("quota", "period")]  # version 1
    if all(path.exists() for path in older):
        limits.append([path.read_text().strip() for path in older])
    shares = [int(quota) / int(period) for quota, period in limits if quota not in ("max", "-1")]
    return round(min(shares), 2) if shares else None


def settings() -> tuple[dict[str, Any], list[str]]:
    """What the environment sets of jax, XLA and threads, and what of it is unknown or slows things down."""
    facts, findings = {}, []
    for name, value in sorted(os.environ.items()):
        if SHOWN.match(name):
            facts[name] = value
        elif name.startswith("JAX_") and not _known_to_jax(name):
            facts[name] = "set, but unknown to jax"
            findings.append(f"jax does not know {name}, which is set: is it spelt rightly?")
        elif name.startswith("JAX_"):
            facts[name] = "set" if "ADDRESS" in name else value
    for name in FOR_FAULTS:
        if of_jax(name):
            findings.append(
                f"JAX_{name.upper()} is on: it is for finding faults, and may slow everything down"
            )
    facts["x64"] = of_jax("enable_x64")
    if facts["x64"]:
        findings.append("JAX_ENABLE_X64 is on: networks are float64, which takes about twice the time")
    return facts, findings


def _known_to_jax(name: str) -> bool:
    """Whether it is one of jax's settings, or jax's sources name it, or `processes.connect` reads it."""
    if hasattr(jax.config, name.lower()) or name in PROCESS_VARIABLES:
        return True
    word = re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE)
    sources = Path(jax.__file__).parent.rglob("*.py")
    return any(word.search(path.read_text("utf-8", "ignore")) for path in sources)
