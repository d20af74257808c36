"""`examine`: what nnjax runs on, what it finds there, and what looks wrong.

Each section gathers its facts and a word for whatever looks wrong; one that fails says so, and the
others go on. Nothing is fetched, and nothing written but compiled programs into their cache.
"""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nnjax.cli.doctor.backend import devices, flags, try_start
from nnjax.cli.doctor.environment import machine, settings, versions
from nnjax.cli.doctor.numpy_speed import speed
from nnjax.cli.doctor.paths import data, folders

Section = Callable[[], tuple[dict[str, Any], list[str]]]

# A path from the root: a whole text, one in quotes, or up to what ends a path.
_PATH = r"""\A/.*|(?<=")/[^"]*|(?<=')/[^']*|(?<![\w~./])/[\w.+@%~-][^\s"',;:=)]*"""


def examine(data_dir: Path | None = None) -> dict[str, Any]:
    """The facts, section by section, and the list of `findings`: plain values, fit for JSON.

    XLA flags that would end this process are taken out of its environment, so that the rest can
    be examined. Paths are hidden, but for the home folder's (as ~) and those of nnjax's folders.
    """
    start = try_start(os.environ.get("XLA_FLAGS", ""))
    if start.refused:
        os.environ["XLA_FLAGS"] = start.accepted
    sections: dict[str, Section] = {
        "versions": versions,
        "machine": machine,
        "settings": settings,
        "XLA flags": partial(flags, start),
        "devices": partial(devices, start),
        "data": partial(data, data_dir),
        "folders": partial(folders, data_dir),
        "speed": partial(speed, start),
    }
    facts, findings = {}, []
    for name, section in sections.items():
        try:
            facts[name], found = section()
        except Exception as error:  # whatever it is, the other sections are of use
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            facts[name], found = {"error": told}, [f"{name}: could not be examined: {told}"]
        findings += found
    own = [place["path"] for place in facts["folders"].values() if isinstance(place, dict)]
    return hide(facts | {"findings": findings}, [*own, facts["data"].get("folder", "")])


def hide(told: Any, own: list[str]) -> Any:
    """`told` with the home folder as ~, and no other path but those in the folders `own`."""
    if isinstance(told, dict):
        return {hide(key, own): hide(value, own) for key, value in told.items()}
    if isinstance(told, list):
        return [hide(value, own) for value in told]
    if not isinstance(told, str):
        return told

    for home in {os.path.expanduser("~"), os.path.realpath(os.path.expanduser("~"))} - {"/", "~"}:
        told = re.sub(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])", "~", told)
    kept = "|".join(rf"{re.escape(folder)}(?![\w.-])" for folder in own if folder)
    return re.sub(rf"({kept or '(?!)'})|{_PATH}", lambda path: path[1] or "<path>", told)
