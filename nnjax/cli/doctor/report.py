"""`examine` gathers the sections of the report; `hide_paths` removes private paths from it."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nnjax.cli.doctor.devices import devices
from nnjax.cli.doctor.numpy_speed import speed
from nnjax.cli.doctor.paths import data_sets, folders
from nnjax.cli.doctor.section import Section
from nnjax.cli.doctor.system import machine, settings, versions
from nnjax.cli.doctor.xla_flags import flags, probe_start

# An absolute path: the whole text, or in quotes, or up to a character that ends a path.
_PATH = r"""\A/.*|(?<=")/[^"]*|(?<=')/[^']*|(?<![\w~./])/[\w.+@%~-][^\s"',;:=)]*"""


def examine(data_dir: Path | None = None) -> dict[str, Any]:
    """Examines this machine; downloads nothing and writes only compiled programs into their cache.

    XLA flags that would end this process are removed from its environment. A section that raises an
    exception becomes a finding, and the other sections are examined.

    Args:
      data_dir: the folder of the data sets, as for `load`.

    Returns:
      The facts of each section, and under "findings" a list of problems with what to do: JSON values.
      The home folder is written as ~; other paths are hidden, except those of nnjax's folders.
    """
    probe = probe_start(os.environ.get("XLA_FLAGS", ""))
    if probe.refused:
        os.environ["XLA_FLAGS"] = probe.accepted
    sections: dict[str, Callable[[], Section]] = {
        "versions": versions,
        "machine": machine,
        "settings": settings,
        "xla_flags": partial(flags, probe),
        "devices": partial(devices, probe),
        "data": partial(data_sets, data_dir),
        "folders": partial(folders, data_dir),
        "speed": partial(speed, probe),
    }
    report, findings = {}, []
    for name, examine_section in sections.items():
        try:
            section = examine_section()
        except Exception as error:  # any exception, so that the report contains the other sections
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            section = Section({"error": message}, [f"{name} could not be examined: {message}"])
        report[name] = section.facts
        findings += section.findings
    nnjax_folders = [folder["path"] for folder in report["folders"].values() if isinstance(folder, dict)]
    return hide_paths(report | {"findings": findings}, [*nnjax_folders, report["data"].get("folder", "")])


def hide_paths(value: Any, visible: Sequence[str]) -> Any:
    """A JSON value in which ~ replaces the home folder and <path> every other absolute path.

    Args:
      value: a JSON value.
      visible: folders whose paths, and the paths below them, are not replaced.
    """
    if isinstance(value, dict):
        return {hide_paths(key, visible): hide_paths(item, visible) for key, item in value.items()}
    if isinstance(value, list):
        return [hide_paths(item, visible) for item in value]
    if not isinstance(value, str):
        return value

    home = os.path.expanduser("~")
    for folder in {home, os.path.realpath(home)} - {"/", "~"}:
        value = re.sub(rf"(?<![\w.~-]){re.escape(folder)}(?![\w.-])", "~", value)
    unchanged = "|".join(rf"{re.escape(folder)}(?![\w.-])" for folder in visible if folder)
    return re.sub(rf"({unchanged or '(?!)'})|{_PATH}", lambda match: match[1] or "<path>", value)
