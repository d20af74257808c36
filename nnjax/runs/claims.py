"""A folder is one training's: its settings are written there, and one process at a time works in it."""

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from filelock import FileLock, Timeout

from nnjax.files import make_folder
from nnjax.parallel import plain
from nnjax.runs.records import environment, write_record

SETTINGS = "settings.json"

# The setting that tells of compiled code: another version of jax writes the same step otherwise.
PROGRAM = "program"

_DIGEST = re.compile("[0-9a-f]{64}")


@contextlib.contextmanager
def claimed(folder: Path, settings: Mapping[str, str], named: Mapping[str, str]) -> Iterator[None]:
    """Hold `folder` for a training with `settings`, new or gone on with; a crash releases it.

    Args:
      folder: made where it is not there yet.
      settings: what must be the same when it is gone on with.
      named: the same in the words of whoever asks, for a refusal.

    Raises:
      ValueError: another training holds it, or it is of other settings: it says which.
    """
    make_folder(folder)
    if _holds_checkpoints(folder) and not (folder / SETTINGS).exists():
        raise ValueError(
            f"{folder} holds numbered files, but no {SETTINGS} that says of what: name another folder"
        )
    lock = FileLock(folder / "lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another training is at work in {folder}: wait until it ends, or name another folder"
        ) from None
    try:
        _check(folder, dict(settings), dict(named))
        yield
    finally:
        lock.release()


def _holds_checkpoints(folder: Path) -> bool:
    """Whether anything is kept there, or in the folders of a sweep's programs."""
    return any(file.name.isdigit() for file in (*folder.iterdir(), *folder.glob("*/*")))


def _check(folder: Path, settings: dict[str, str], named: dict[str, str]) -> None:
    """Write what a folder is for, or hold that against what was written."""
    here = environment()
    here = here.pop("versions") | here
    path = folder / SETTINGS
    if path.exists():
        try:
            told = json.loads(path.read_text())
            before, before_named, there = (dict(told[part]) for part in ("settings", "named", "environment"))
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is damaged ({error}): name another folder") from None
    if not _holds_checkpoints(folder):
        write_record(path, {"named": named, "settings": settings, "environment": here})
        return
    moved = _differences(there, here)
    if moved:
        before[PROGRAM] = settings.get(PROGRAM)
    if before != settings:
        differ = _differences(before_named, named) or _differences(before, settings)
        raise ValueError(
            f"{folder} holds a training with other settings ({differ}): give the same ones, or another folder"
        )
    if moved:
        warnings.warn(
            f"{folder} was begun elsewhere ({moved}): training goes on, but its bits may be others than "
            "those of a run never stopped",
            stacklevel=4,
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs, in words; the program only where nothing else does."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names == [PROGRAM]:
        return "the compiled program is another: a function of yours has changed"

    def in_words(name):
        then, this = before.get(name, "unsaid"), now.get(name, "unsaid")
        return f"other {name}" if _DIGEST.fullmatch(str(this)) else f"{name} was {then} and is {this}"

    return "; ".join(in_words(name) for name in names if name != PROGRAM)


def digest(*parts: Any) -> str:
    """A name for `parts`, texts and pytrees of arrays: one that differs in a bit has another name.

    >>> digest("program", np.zeros(2)) == digest("program", np.zeros(2))
    True
    """
    told = hashlib.sha256()
    for leaf in jax.tree.leaves(parts):
        array = np.frombuffer(leaf.encode(), np.uint8) if isinstance(leaf, str) else plain(leaf)
        told.update(f"{array.dtype}{array.shape}".encode())
        told.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return told.hexdigest()
