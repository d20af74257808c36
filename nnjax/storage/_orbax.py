"""Helpers for Orbax, which is imported on use: its manager, short error messages, no log messages."""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Messages of disk errors. `short_reason` finds them in the long messages of Orbax and tensorstore.
_DISK_ERRORS = tuple(
    map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO))
)


def short_reason(error: Exception) -> str:
    """The disk's error in a message of Orbax, else the first line of the message."""
    message = str(error)
    return next((reason for reason in _DISK_ERRORS if reason in message), message.partition("\n")[0][:200])


def make_manager(directory: Path, max_to_keep: int) -> Any:
    """An Orbax manager that keeps the latest checkpoints of a directory."""
    from orbax.checkpoint import CheckpointManager, CheckpointManagerOptions, StandardCheckpointHandler
    from orbax.checkpoint.options import MultiprocessingOptions

    # Process 0 writes alone, so Orbax must not wait for other processes.
    only_primary = MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix=directory.name
    )
    return CheckpointManager(
        directory.resolve(),
        options=CheckpointManagerOptions(
            max_to_keep=max_to_keep,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=only_primary,
        ),
        item_handlers=StandardCheckpointHandler(multiprocessing_options=only_primary),
    )


def orbax_args() -> Any:
    """Orbax's module of arguments, imported on use."""
    from orbax.checkpoint import args

    return args


@contextlib.contextmanager
def without_orbax_messages() -> Iterator[None]:
    """Suppresses the log messages of Orbax, such as tracebacks of errors that become our warnings."""
    logger = logging.getLogger("absl")

    def is_not_from_orbax(record: logging.LogRecord) -> bool:
        return "orbax" not in Path(record.pathname).parts

    logger.addFilter(is_not_from_orbax)
    try:
        yield
    finally:
        logger.removeFilter(is_not_from_orbax)
