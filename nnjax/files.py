"""Files are written whole or not at all, and a path that cannot be is known before the work."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed.

    Raises:
      OSError: what the disk says (full, read-only, ...); nothing is left behind.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def check_writable(path: Path) -> None:
    """Raise a ValueError, saying why, where `write_atomically` could not put a file at `path`."""
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    try:
        handle, probe = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror} ({path.parent})") from None
    os.close(handle)
    os.unlink(probe)
