"""Atomic file writes, and checks that a path can be written before the work starts."""

import os
import secrets
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file completely or not at all: to a temporary file in the same directory, then renamed.

    Raises:
      OSError: the disk's error, such as a full disk; an existing file is unchanged.
    """
    path = path.resolve()  # so that a symbolic link is not replaced by a file
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_dir(path: Path) -> Path:
    """Creates a directory and its parents, and returns its path.

    Raises:
      ValueError: the directory cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"cannot write into {path}: {error.strerror}") from None
    return path


def expand_home(path: str | os.PathLike) -> Path:
    """`path` with "~" and "~name" replaced by home directories; raises ValueError for an unknown name."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"path must begin with the name of a user, got {path}: {error}") from None


def check_writable(path: Path) -> None:
    """Raises ValueError if `write_atomically` cannot write a file at `path`."""
    if path.exists() and not path.is_file():
        kind = "a directory" if path.is_dir() else "not a regular file"
        raise ValueError(f"cannot write {path}: it is {kind}")
    directory = path.resolve().parent
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror} ({directory})") from None
