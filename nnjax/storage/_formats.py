"""Checks the format number of a file."""

import textwrap
from typing import Any


class FormatError(ValueError):
    """The file has a format that this version of nnjax does not support."""


def check_format(name: str, number: Any, expected: int, advice: str) -> None:
    """Raises FormatError if `number`, the format of the file `name`, is not the expected one.

    >>> check_format("run.json", 1, 2, "run the experiment again")
    Traceback (most recent call last):
    nnjax.storage._formats.FormatError: run.json must have format 2, got format 1: run the experiment again
    """
    if number != expected:
        shown = textwrap.shorten(repr(number), 40, placeholder="...")  # a damaged file may contain anything
        raise FormatError(f"{name} must have format {expected}, got format {shown}: {advice}")
