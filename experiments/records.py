"""The records of experiments: JSON files with results, settings and provenance."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nnjax
from experiments.console import duration

FORMAT = 2
ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

Record = dict[str, Any]


def read_record(name: str, folder: Path | None = None) -> Record:
    """The record of an earlier run; by default the committed one.

    Raises:
      FileNotFoundError: there is none.
      ValueError: the file is not a record of this experiment, or has another format.
    """
    path = (folder or RESULTS) / f"{name}.json"
    try:
        record = json.loads(path.read_text())
        experiment, settings = record["experiment"], record["settings"]
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path} must be a record of {name}, got {error!r}") from error
    if (version := record.get("format", 1)) != FORMAT:
        raise ValueError(f"{path} must have record format {FORMAT}, got format {version}: run {name} again")
    if experiment != name or not isinstance(settings, dict):
        raise ValueError(f"{path} must be a record of {name}, got one of {experiment}")
    return record


def is_current(record: Record, settings: Record) -> bool:
    """Whether a record was made with these settings.

    Fields that a configuration in the record lacks have their defaults.
    """
    return _complete(record["settings"]) == _complete(settings)


def _complete(settings: Any) -> Any:
    """Settings in which every configuration has all fields of `TrainConfig`."""
    if not isinstance(settings, Mapping):
        return settings
    complete = {name: _complete(value) for name, value in settings.items()}
    if isinstance(config := settings.get("config"), Mapping):
        with contextlib.suppress(ValueError):  # a field or a name of another version
            complete["config"] = nnjax.TrainConfig.from_json(config).to_json()
    return complete


def provenance(record: Record) -> str:
    """How a record was made, in one line: data, seeds, epochs, duration, machine, versions and commit."""
    s = record["settings"]
    trains = s["seeds"] * s["epochs"] > 1
    parts = [
        *([s["dataset"]] if trains else []),
        *(f"{s[what]} {what}" for what in ("seeds", "epochs") if s[what] > 1),
        duration(record["seconds"]),
        f"{record['cores']} cores of {record['processor']}",
        *sorted(set(record["devices"]) - {"cpu"}),
        f"jax {record['versions']['jax']}",
        f"commit {record['commit']}",
    ]
    return " · ".join(parts)
