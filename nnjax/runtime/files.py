"""Files are written whole or not at all, and a path that cannot be is known before the work."""

import os
import secrets
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed.

    Raises:
      OSError: what the disk says (full, read-only, ...); nothing is left behind.
    """
    path = path.resolve()  # a link stays a link
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
    """`path` as a folder that files can be put in; a ValueError, saying why, where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"cannot write into {path}: {error.strerror}") from None
    return path


def check_writable(path: Path) -> None:
    """Raise a ValueError, saying why, where `write_atomically` could not put a file at `path`."""
    if path.exists() and not path.is_file():
        raise ValueError(f"cannot write {path}: it is {'a folder' if path.is_dir() else 'no plain file'}")
    folder = path.resolve().parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror} ({folder})") from None
