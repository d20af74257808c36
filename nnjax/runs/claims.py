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

# The settings that tell of compiled code: another version of jax writes the same step otherwise.
PROGRAM = "program"


@contextlib.contextmanager
def claimed(folder: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Hold `folder` for this process and for a training with `settings`, new or gone on with.

    Of processes that train together the first one holds it. A crash releases it.

    Raises:
      ValueError: another process holds it, or it is of other settings: it says which.
    """
    make_folder(folder)
    lock = FileLock(folder / "lock", blocking=False)
    try:
        if jax.process_index() == 0:
            lock.acquire()
    except Timeout:
        raise ValueError(
            f"another training is at work in {folder}: wait until it ends, or name another folder"
        ) from None
    try:
        _check(folder, settings)
        yield
    finally:
        lock.release()


def _check(folder: Path, settings: Mapping[str, str]) -> None:
    """Write what a folder is for, or hold that against what was written."""
    here = environment()
    here = here.pop("versions") | here
    path = folder / SETTINGS
    try:
        told = json.loads(path.read_text())
        before, there = dict(told["settings"]), dict(told["environment"])
    except FileNotFoundError:
        if any(file.name.isdigit() for file in folder.iterdir()):
            raise ValueError(f"{path} is missing, which says what the checkpoints there are of") from None
        if jax.process_index() == 0:
            write_record(path, {"settings": settings, "environment": here})
        return
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): name another folder") from None
    if moved := _differences(there, here):
        warnings.warn(
            f"{folder} was begun elsewhere ({moved}): training goes on, but its bits may be others than "
            "those of a run never stopped",
            stacklevel=4,
        )
        before |= {name: value for name, value in settings.items() if name == PROGRAM}
    if differ := _differences(before, settings):
        raise ValueError(
            f"{folder} holds a training with other settings ({differ}): give the same ones, or another folder"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names == [PROGRAM]:
        return "the compiled step is another: a function of yours has changed"
    told = ((name, before.get(name, "unsaid"), now.get(name, "unsaid")) for name in names if name != PROGRAM)
    return "; ".join(f"{name} was {then} and is {this}" for name, then, this in told)


def described(value: Any) -> str:
    """What a setting says of itself, without where in memory it lies.

    >>> described(described), described(0.1)
    ('<function described>', '0.1')
    """
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


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
    return told.hexdigest()[:32]
