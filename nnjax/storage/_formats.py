"""The number of a file's format: files of another format raise an error that names it."""

import textwrap
from typing import Any


class FormatError(ValueError):
    """A file whose format this version of nnjax does not read."""


def check_format(name: str, found: Any, expected: int, advice: str) -> None:
    """Raises FormatError if the format of the file `name` is not the expected one."""
    if found != expected:
        shown = textwrap.shorten(repr(found), 40, placeholder="...")  # a damaged file may contain anything
        raise FormatError(f"{name} must have format {expected}, got format {shown}: {advice}")
