"""Data sets on the disk, and the folders that nnjax writes into."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

from nnjax.cli.doctor.section import Section
from nnjax.cli.doctor.system import jax_setting
from nnjax.data._cache import read_cache
from nnjax.data._sources import (
    FILES,
    URLS,
    cache_path,
    is_prepared,
    manual_folders,
    missing_files,
    prepared_path,
    resolve_data_dir,
)
from nnjax.storage import model_dir

MIN_FREE_GB = 1.0


def data_sets(data_dir: Path | None = None) -> Section:
    """The section of the data sets: which ones are prepared and decoded, and the files copied by hand.

    Args:
      data_dir: the folder of the data sets, as for `load`.
    """
    root = resolve_data_dir(data_dir).absolute()
    facts: dict[str, Any] = {"folder": str(root)}
    findings = []
    for name in URLS:
        facts[name], problems = _data_set(name, root)
        findings += [f"{name}: {problem}" for problem in problems]
    return Section(facts, findings)


def _data_set(name: str, root: Path) -> Section:
    """The facts and findings of one data set."""
    cache, prepared = cache_path(name, root), prepared_path(name, root)
    decoded = read_cache(cache) is not None
    damaged = cache.exists() and not decoded
    missing = {folder: missing_files(folder) for folder in manual_folders(name, root)}
    manual = min(missing, key=lambda folder: len(missing[folder]))
    num_files = sum(map(len, FILES.values()))
    facts = {
        "prepared": is_prepared(name, root),
        "decoded": "damaged" if damaged else decoded,
        "manual_files": f"{num_files - len(missing[manual])} of {num_files}",
        "manual_folder": str(manual),
    }
    findings = []
    if damaged:
        findings.append(f"the cache {cache} is damaged: run nnjax data prepare {name} to write it again")
    if not decoded and not facts["prepared"]:
        if 0 < len(missing[manual]) < num_files:
            findings.append(f"{manual} must contain {num_files} files: add {', '.join(missing[manual])}")
        if prepared.exists() and not cache.exists():
            findings.append(f"its preparation was interrupted: delete {prepared}")
    return Section(facts, findings)


def folders(data_dir: Path | None = None) -> Section:
    """The section of nnjax's folders: free disk space, and whether they are writable.

    Args:
      data_dir: the folder of the data sets, as for `load`.
    """
    paths = {
        "data": prepared_path("mnist", resolve_data_dir(data_dir)).parents[1],
        "models": model_dir(),
        "cache": platformdirs.user_cache_path("nnjax"),
    }
    programs = jax_setting("compilation_cache_dir")
    if programs and "://" not in programs:  # jax also accepts URLs, such as gs://
        paths["compiled_programs"] = Path(programs)
    facts, findings, full = {}, [], []
    for name, path in paths.items():
        path = path.absolute()
        # Path.exists raises an error below a folder that is not readable; os.path.exists does not.
        existing = next(folder for folder in (path, *path.parents) if os.path.exists(folder))
        reason = _write_error(existing)
        free_gb = shutil.disk_usage(existing).free / 1e9
        facts[name] = {"path": str(path), "free_gb": round(free_gb, 1), "writable": not reason}
        if reason:
            findings.append(f"the folder for {name}, {path}, is not writable ({reason}): make it writable")
        if free_gb < MIN_FREE_GB:
            full.append(name)
    if full:
        findings.append(
            f"less than {MIN_FREE_GB:g} GB is free on the disk of {', '.join(full)}: delete files there"
        )
    return Section(facts, findings)


def _write_error(folder: Path) -> str | None:
    """Why no file can be created in a folder, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror
