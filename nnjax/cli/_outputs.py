"""The files that a command writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from nnjax.cli.console import console

T = TypeVar("T")


class Outputs:
    """Writes the outputs of a command, each of them even if another one fails."""

    def __init__(self):
        self._errors: list[str] = []
        self._written: list[str] = []

    def attempt(self, write: Callable[..., T], *arguments: Any) -> T | None:
        """`write(*arguments)`; None if it fails, which `finish` reports."""
        try:
            return write(*arguments)
        except (OSError, ValueError) as error:
            self._errors.append(str(error))
            return None

    def write(self, name: str, path: Path, write: Callable[[Path, Any], Any], content: Any) -> None:
        """`write(path, content)`, if it does not fail."""

        def write_and_list():
            write(path, content)
            self._written.append(f"{name} in {path}")

        self.attempt(write_and_list)

    def print(self) -> None:
        """Prints what was written; after all writing, because a closed pipe can end the command."""
        for line in self._written:
            console.print(line)

    def check(self) -> None:
        """Raises ValueError if something could not be written."""
        if self._errors:
            raise ValueError("; ".join(self._errors))
