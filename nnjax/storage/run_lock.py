"""The lock and the settings file of a run directory.

A directory belongs to one training, whose settings are in the settings file. Only one process at a time
can use it.
"""

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nnjax.runtime.files import make_dir
from nnjax.runtime.fingerprint import NUM_STEPS, describe_differences, differing, machine
from nnjax.storage._formats import FormatError, check_format
from nnjax.storage.records import write_record

SETTINGS_FILE = "settings.json"
LOCK_FILE = "lock"
FORMAT = 2  # of the settings file and of the checkpoints; files of format 1 do not contain the number


@contextlib.contextmanager
def lock_run_dir(
    directory: Path, settings: Mapping[str, str], display_settings: Mapping[str, str]
) -> Iterator[None]:
    """Locks a directory for a new or resumed training; the lock of a crashed process does not remain.

    Args:
      directory: created if it does not exist.
      settings: the settings that must be equal to resume the training.
      display_settings: the same settings by the user's names, for the error message.

    Raises:
      ValueError: another process uses the directory, or it contains a training with other settings or
        in another format.
    """
    make_dir(directory)
    path = directory / SETTINGS_FILE
    if _has_checkpoints(directory) and not path.exists():
        raise ValueError(f"{directory} has numbered files but no {SETTINGS_FILE}: use another directory")
    lock = FileLock(directory / LOCK_FILE, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another training is running in {directory}: wait until it ends, or use another directory"
        ) from None
    try:
        record = {
            "format": FORMAT,
            "display_settings": dict(display_settings),
            "settings": dict(settings),
            "machine": machine(),
        }
        before = _read_settings(path) if path.exists() else None
        if before is None or not _has_checkpoints(directory):
            write_record(path, record)
        else:
            _check_settings(directory, before, record)
        yield
    finally:
        lock.release()


def _has_checkpoints(directory: Path) -> bool:
    """Whether there are checkpoints, which are numbered, here or in the directories of a sweep."""
    return any(file.name.isdigit() for depth in ("*", "*/*", "*/*/*") for file in directory.glob(depth))


def _read_settings(path: Path) -> dict[str, dict[str, Any]]:
    """The content of a settings file.

    Raises:
      ValueError: another format, or a damaged file.
    """
    try:
        record = json.loads(path.read_text())
        check_format(str(path), record.get("format", 1), FORMAT, "use another directory")
        return {name: dict(record[name]) for name in ("display_settings", "settings", "machine")}
    except FormatError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): use another directory") from None


def _check_settings(directory: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compares the settings of a resumed training with those of the settings file.

    On another machine, computed floats need to agree only to rounding, and their digests are not compared.

    Raises:
      ValueError: the settings differ.
    """
    machine_changes = differing(before["machine"], now["machine"])
    saved, current = before["settings"], now["settings"]
    if names := differing(saved, current, same_machine=not machine_changes):
        differences = _describe(names, before, now, same_machine=not machine_changes)
        raise ValueError(
            f"{directory} has a training with other settings ({differences}): use the same settings, or "
            "another directory"
        )
    if machine_changes:
        differences = describe_differences(machine_changes, before["machine"], now["machine"])
        uncertain = ", ".join(differing(saved, current))
        warnings.warn(
            f"{directory} is from another machine or other versions ({differences}): training resumes, but "
            "its results may differ in the last bits from those of an uninterrupted run"
            + (f"; equal only to rounding, or impossible to compare: {uncertain}" if uncertain else ""),
            stacklevel=4,
        )


def _describe(names: list[str], before: Mapping[str, Any], now: Mapping[str, Any], same_machine: bool) -> str:
    """The differences, by the user's names if the settings by these names differ."""
    displayed = [record["display_settings"] for record in (before, now)]
    settings = [record["settings"] for record in (before, now)]
    if changed := differing(*displayed, same_machine=same_machine):
        text = describe_differences(changed, *displayed)
    else:
        text = describe_differences(names, *settings)
    steps = [values.get(NUM_STEPS, "None") for values in settings]
    if NUM_STEPS in names and "None" not in steps:
        if changed:
            text += f"; {describe_differences([NUM_STEPS], *settings)}"
        text += ", and the learning-rate schedule depends on the number of training steps"
    return text
