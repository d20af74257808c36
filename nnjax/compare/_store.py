"""Finished units of work on disk, so that an interrupted comparison can continue."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnjax.runtime.files import make_dir, write_atomically
from nnjax.runtime.fingerprint import machine


def digest_of(identity: Mapping[str, Any]) -> str:
    """The SHA-256 digest of JSON values, in hexadecimal; the order of keys does not matter.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class Store:
    """A folder with one JSON file for each finished unit.

    The name of a file is the digest of everything that determines the results. This includes the versions and
    the device, because with other versions or on another device, floats can differ in the last bit.
    """

    def __init__(self, folder: Path):
        self._folder = make_dir(folder)
        self._machine = machine()

    def get(self, identity: Mapping[str, Any]) -> Any | None:
        """The content of a finished unit; None if there is none, or if its file is damaged."""
        try:
            return json.loads(self._path(identity).read_text())
        except (FileNotFoundError, ValueError):  # a damaged file is written again
            return None

    def put(self, identity: Mapping[str, Any], content: Any) -> None:
        """Stores the content of a unit, which consists of JSON values; floats keep all bits."""
        write_atomically(self._path(identity), json.dumps(content).encode())

    def _path(self, identity: Mapping[str, Any]) -> Path:
        return self._folder / f"{digest_of({'machine': self._machine, **identity})}.json"
