"""Versions of packages, the machine, and settings in environment variables."""

import difflib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Any

import jax

from nnjax.cli.doctor.section import Section
from nnjax.runtime.environment import processor
from nnjax.runtime.limits import ControlGroups, cores
from nnjax.runtime.multihost import PROCESS_VARIABLES

# Variables that the report shows, besides those of jax.
_SHOWN = re.compile(r"XLA_(?!FLAGS)|TFDS_DATA_DIR|NPROC$|(OMP|OPENBLAS|MKL)_NUM_THREADS|CUDA_VISIBLE")
# Settings of jax that make every program slower.
_DEBUG_SETTINGS = ("disable_jit", "debug_nans", "debug_infs", "check_tracer_leaks", "enable_checks")


def jax_setting(name: str) -> Any:
    """The value of a setting of jax; None if this version of jax does not have it."""
    return getattr(jax.config, f"jax_{name}", None)


def versions() -> Section:
    """The section of the versions. Findings: missing packages, and versions that nnjax does not support."""
    from packaging.requirements import Requirement  # not above: other commands do not need it

    facts, findings = {"python": platform.python_version(), "nnjax": version("nnjax")}, []
    for requirement in map(Requirement, requires("nnjax") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name
        install = f'run pip install "{name}{requirement.specifier}"'
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "missing"
            findings.append(f"{name} is not installed: {install}")
        else:
            if not requirement.specifier.contains(facts[name], prereleases=True):
                findings.append(f"{name} must be {requirement.specifier}, got {facts[name]}: {install}")
    plugins = {plugin.dist for plugin in entry_points(group="jax_plugins") if plugin.dist}
    return Section(facts | {plugin.name: plugin.version for plugin in plugins}, findings)


def machine() -> Section:
    """The section of the operating system, the processor and its cores."""
    facts = {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "usable_cores": cores(),
        "cpu_limit": ControlGroups().cpu_limit(),
        "load_average": round(load_average(), 1),
    }
    return Section(facts, [])


def load_average() -> float:
    """The mean number of runnable processes in the last minute; 0 if the system does not measure it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def settings() -> Section:
    """The section of environment variables. Findings: misspelled settings, and settings that cost time."""
    facts, findings = {}, []
    known = [setting.upper() for setting in jax.config.values]
    for name, value in sorted(os.environ.items()):
        if name.startswith("JAX_") and not _is_known_to_jax(name):
            facts[name] = "set, but unknown to jax"
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else "check its spelling"
            findings.append(f"{name} is set, but jax does not know it: {hint}")
        elif name.startswith("JAX_") and "ADDRESS" in name:  # private, as paths are
            facts[name] = "set"
        elif name.startswith("JAX_") or _SHOWN.match(name):
            facts[name] = value
    for name in _DEBUG_SETTINGS:
        if jax_setting(name):
            findings.append(f"JAX_{name.upper()} is on, which makes every program slower: unset it")
    facts["x64"] = jax_setting("enable_x64")
    if facts["x64"]:
        findings.append(
            "JAX_ENABLE_X64 is on, and float64 takes about twice the time: unset it unless you need float64"
        )
    return Section(facts, findings)


def _is_known_to_jax(name: str) -> bool:
    """Whether a variable is a setting of jax, occurs in jax's source code, or is read by nnjax."""
    if hasattr(jax.config, name.lower()) or name in PROCESS_VARIABLES:
        return True
    word = re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE)
    sources = Path(jax.__file__).parent.rglob("*.py")
    return any(word.search(path.read_text("utf-8", "ignore")) for path in sources)
