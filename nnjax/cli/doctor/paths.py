"""Where nnjax keeps things: data sets, and its folders on the disk."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

from nnjax.cli.doctor.environment import of_jax
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
from nnjax.storage.model_store import model_dir

FULL = 1.0  # GB free, below which a disk counts as nearly full


def data(data_dir: Path | None = None) -> tuple[dict[str, Any], list[str]]:
    """Of each data set that has to be fetched: prepared, decoded, or in files put there by hand."""
    root = resolve_data_dir(data_dir).absolute()
    facts: dict[str, Any] = {"folder": str(root)}
    findings = []
    for name in URLS:
        facts[name], found = _state(name, root)
        findings += [f"{name}: {told}" for told in found]
    return facts, findings


def _state(name: str, root: Path) -> tuple[dict[str, Any], list[str]]:
    cached, prepared = cache_path(name, root), is_prepared(name, root)
    decoded = read_cache(cached) is not None
    lacking = {str(folder): missing_files(folder) for folder in manual_folders(name, root)}
    place, missing = min(lacking.items(), key=lambda one: len(one[1]))
    files = sum(map(len, FILES.values()))
    facts = {
        "prepared": prepared,
        "decoded": "damaged" if cached.exists() and not decoded else decoded,
        "by_hand": f"{files - len(missing)} of {files} files",
        "looked_for_in": place,
    }
    findings = []
    if facts["decoded"] == "damaged":
        findings.append(f"the decoded file is damaged; `nnjax data prepare {name}` makes it anew: {cached}")
    if not decoded and not prepared:
        if 0 < len(missing) < files:
            findings.append(f"of the files put there by hand, {place} lacks {', '.join(missing)}")
        if prepared_path(name, root).exists() and not cached.exists():
            findings.append(f"it is half prepared; delete {prepared_path(name, root)}")
    if left := list(prepared_path(name, root).parent.glob("incomplete.*")):
        findings.append(f"unless it is being prepared now, delete what was left half done: {left[0]}")
    return facts, findings


def folders(data_dir: Path | None = None) -> tuple[dict[str, Any], list[str]]:
    """nnjax's folders: size, room on their disks, and whether they can be written."""
    programs = of_jax("compilation_cache_dir")
    places = {
        "data sets": prepared_path("mnist", resolve_data_dir(data_dir)).parents[1],
        "models": model_dir(),
        "cache": platformdirs.user_cache_path("nnjax"),
    } | ({"compiled programs": Path(programs)} if programs and "://" not in programs else {})
    facts, findings, full = {}, [], []
    for what, path in places.items():
        there = next(p for p in (path.absolute(), *path.absolute().parents) if os.path.exists(p))
        refusal = _refusal(there)
        free = shutil.disk_usage(there).free / 1e9
        facts[what] = {
            "path": str(path.absolute()),
            "size_mb": round(_size(path) / 1e6, 1),
            "free_gb": round(free, 1),
            "writable": not refusal,
        }
        if refusal:
            findings.append(f"nothing can be written into the folder of {what}, {path.absolute()}: {refusal}")
        if free < FULL:
            full.append(what)
    if full:
        findings.append(f"the disk is nearly full: less than {FULL:g} GB free for {', '.join(full)}")
    return facts, findings


def _refusal(folder: Path) -> str | None:
    """Why no file can be made in a folder, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror


def _size(folder: Path) -> int:
    """Bytes of all the files in a folder and below it."""
    size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # another process has deleted it
                size += os.lstat(os.path.join(at, name)).st_size
    return size
