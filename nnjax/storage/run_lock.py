"""A folder is one training's: its settings are written there, and one process at a time works in it."""

import contextlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nnjax.runtime.environment import environment
from nnjax.runtime.files import make_dir
from nnjax.storage.records import write_record

SETTINGS = "settings.json"

PROGRAM = "program"

# Settings that may differ on another machine or with other versions: compiled code, and digests of floats
# that were computed there.
MACHINE_DEPENDENT = (PROGRAM, "initial parameters", "networks", "numbers of the objective")

_DIGEST = re.compile("[0-9a-f]{64}")


@contextlib.contextmanager
def lock_run_dir(folder: Path, settings: Mapping[str, str], named: Mapping[str, str]) -> Iterator[None]:
    """Hold `folder` for a training with `settings`, new or gone on with; a crash releases it.

    Args:
      folder: made where it is not there yet.
      settings: what must be the same when it is gone on with.
      named: the same in the words of whoever asks, for a refusal.

    Raises:
      ValueError: another training holds it, or it is of other settings: it says which.
    """
    make_dir(folder)
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
        before |= {name: settings[name] for name in MACHINE_DEPENDENT if name in settings}
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
