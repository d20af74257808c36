"""Checkpoints: all that a training has reached, in a folder from which it goes on exactly.

Orbax writes each one under a temporary name and renames it, while training goes on; it and
tensorstore read numbers only, no code.
"""

import contextlib
import errno
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from nnjax.runtime.checks import check_positive_int
from nnjax.runtime.multihost import allgather_str, any_process, broadcast_from_primary, on_primary
from nnjax.storage._serialization import deserialize, serialize, serialized_size
from nnjax.storage.run_lock import SETTINGS, lock_run_dir

_ITEM = "state"
_AROUND = 100_000  # bytes, at most, of what Orbax writes around an array

# Trainings in several threads would be taken for one by Orbax, whose operations a process numbers.
_AT_WORK = threading.Lock()

# What a disk says when it takes no more, to be found in the long words of others.
_REASONS = tuple(
    map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO))
)


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where a training is kept, and how often.

    Attributes:
      folder: this training's own; made where it is not there yet.
      seconds: a checkpoint is written when so many have gone by since the last one,
      epochs: or when so many epochs have been done, if said; and at the end, unless all has diverged.
      keep: how many stay, the newest.
      named: the settings as you call them, for the word that refuses others.
    """

    directory: str | PathLike
    every_seconds: float = 10.0
    every_epochs: int | None = None
    max_to_keep: int = 3
    display_settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        folder, seconds = self.directory, self.every_seconds
        if not isinstance(folder, str | PathLike) or not str(folder):
            raise ValueError(f"checkpoint must be a folder's path, not {folder!r}")
        if isinstance(seconds, bool) or not isinstance(seconds, Real) or not seconds >= 0:
            raise ValueError(f"checkpoint.seconds must be a number, 0 or more, not {seconds!r}")
        if self.every_epochs is not None:
            check_positive_int("checkpoint.epochs", self.every_epochs)
        check_positive_int("checkpoint.keep", self.max_to_keep)
        # Wherever the process goes from here.
        object.__setattr__(self, "directory", Path(folder).expanduser().absolute())


def as_policy(given: Any) -> CheckpointPolicy | None:
    """What `fit` and `sweep` are given, a folder's path or a `Checkpoint` or None, checked."""
    return given if given is None or isinstance(given, CheckpointPolicy) else CheckpointPolicy(given)


@contextlib.contextmanager
def open_checkpoints(
    checkpoint: CheckpointPolicy | None, settings: Mapping[str, str]
) -> Iterator["RunCheckpointer | None"]:
    """The checkpoints of a training with `settings`, held for it; None for no `checkpoint`.

    Of processes that train together the first one holds, reads and writes them for all.
    """
    if checkpoint is None:
        yield None
        return
    folder = Path(checkpoint.directory)
    with contextlib.ExitStack() as held:

        def opened():
            if not _AT_WORK.acquire(blocking=False):
                raise ValueError("this process keeps another training already, and keeps one at a time")
            held.callback(_AT_WORK.release)
            held.enter_context(lock_run_dir(folder, settings, checkpoint.display_settings))
            held.enter_context(_quiet())
            return held.enter_context(_manager(folder, checkpoint.max_to_keep))

        checkpoints = RunCheckpointer(checkpoint, on_primary(opened))
        try:
            yield checkpoints
        finally:
            checkpoints.close()


class RunCheckpointer:
    """The last checkpoints of one training, numbered by the epochs done; each is whole or not there.

    What cannot be written is told once, and training goes on; the last good one stands.
    """

    def __init__(self, checkpoint: CheckpointPolicy, manager: Any):
        self._checkpoint, self._folder = checkpoint, Path(checkpoint.directory)
        self._manager = manager  # None in all processes but the first
        self._failed = False
        self._epoch, self._time = 0, time.monotonic()  # of the last one

    def restore_latest(self, like: Callable[[int], Any], most: int) -> Any:
        """The newest whole one as the pytree that `like(epoch)` shows; None where there is none.

        Args:
          like: of a number of epochs, what is kept after them, as far as shapes and dtypes go.
          most: the epochs that are asked for.

        Raises:
          ValueError: more than `most` epochs are done, or none of the checkpoints can be read.
        """
        epoch, packed = on_primary(lambda: self._newest(like, most)) or (0, None)
        self._epoch = int(allgather_str(str(epoch))[0])
        if not self._epoch:
            return None
        shown = like(self._epoch)
        return deserialize(
            broadcast_from_primary(np.empty(serialized_size(shown), np.uint8) if packed is None else packed),
            shown,
        )

    def _newest(self, like: Callable[[int], Any], most: int) -> tuple[int, np.ndarray | None]:
        """The epoch of the newest whole one, and its bytes; 0 where there is none."""
        folder = self._folder
        epochs = sorted(self._manager.all_steps(), reverse=True)
        if epochs and epochs[0] > most:
            raise ValueError(f"{folder} has {epochs[0]} epochs done, more than the {most} asked for")
        damaged: dict[int, str] = {}
        for epoch in epochs:
            shown = like(epoch)
            try:
                packed = self._read(epoch, serialized_size(shown))
                deserialize(packed, shown)
            except ValueError as error:
                damaged[epoch] = str(error)
                continue
            for worse, why in damaged.items():
                told = f"the checkpoint of epoch {worse} in {folder} is damaged ({why})"
                warnings.warn(f"{told}: going on from that of epoch {epoch}", stacklevel=4)
                self._manager.delete(worse)
            return epoch, packed
        if damaged:
            why = damaged[epochs[0]]
            raise ValueError(f"no checkpoint in {folder} can be read ({why}): remove it to start anew")
        return 0, None

    def save(self, epoch: int, tree: Any, last: bool = False) -> None:
        """Write a checkpoint if its time has come; if it is the `last`, write it and wait for it."""
        plan = self._checkpoint
        due = time.monotonic() - self._time >= plan.every_seconds
        due |= plan.every_epochs is not None and epoch - self._epoch >= plan.every_epochs
        if epoch > self._epoch and any_process(due or last):
            packed = serialize(tree)  # of many devices: in all processes, each of which holds a part
            self._wait()
            with self._told():
                if self._manager:
                    self._save(epoch, packed)
            self._epoch, self._time = epoch, time.monotonic()
        if last:
            self._wait()

    def close(self) -> None:
        """Wait for what is being written, and say where the newest one is not the last wanted."""
        self._wait()
        there = self._folder.glob("*") if self._is_there() else ()
        stands = max((int(path.name) for path in there if path.name.isdigit()), default=0)
        if self._failed and stands < self._epoch:
            told = f"epoch {self._epoch} could not be kept in {self._folder}: started again, training "
            warnings.warn(told + (f"goes on after epoch {stands}" if stands else "starts anew"), stacklevel=4)

    def _save(self, epoch: int, packed: np.ndarray) -> None:
        if self._is_there():
            self._manager.save(epoch, args=_args().StandardSave({_ITEM: packed}))

    def _is_there(self) -> bool:
        return (self._folder / SETTINGS).exists()

    def _wait(self) -> None:
        with self._told():
            if self._manager:
                self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        why = ""
        try:
            yield
        except Exception as error:  # the disk's, by way of Orbax and tensorstore: many kinds
            why = _in_a_line(error)
        if self._manager and not self._is_there():  # Orbax would make it again
            why = "the folder was taken away"
        if why and not self._failed:
            told = f"no checkpoint could be written into {self._folder}, training goes on"
            warnings.warn(f"{told}: {why}", stacklevel=4)
        self._failed |= bool(why)

    def _read(self, epoch: int, size: int) -> np.ndarray:
        # Asked before anything is read: what files hold or declare may be larger than any memory.
        files = (self._folder / str(epoch)).rglob("*")
        if sum(file.stat().st_size for file in files if file.is_file()) > 2 * size + _AROUND:
            raise ValueError("it is larger than what was kept")
        try:
            declared = self._manager.item_metadata(epoch).tree
            shapes = {name: (tuple(one.shape), np.dtype(one.dtype)) for name, one in declared.items()}
            wanted = np.empty(size, np.uint8)
            if shapes == {_ITEM: (wanted.shape, wanted.dtype)}:
                return self._manager.restore(epoch, args=_args().StandardRestore({_ITEM: wanted}))[_ITEM]
        except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
            raise ValueError("its files cannot be read") from error
        raise ValueError("it holds something else")


def _in_a_line(error: Exception) -> str:
    told = str(error)
    return next((reason for reason in _REASONS if reason in told), told.partition("\n")[0][:200])


def _manager(folder: Path, keep: int) -> Any:
    from orbax.checkpoint import CheckpointManager, CheckpointManagerOptions, StandardCheckpointHandler
    from orbax.checkpoint.options import MultiprocessingOptions

    # It waits for no other process.
    alone = MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix=folder.name)
    return CheckpointManager(
        folder.resolve(),
        options=CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, create=False, multiprocessing_options=alone
        ),
        item_handlers=StandardCheckpointHandler(multiprocessing_options=alone),
    )


def _args() -> Any:
    from orbax.checkpoint import args

    return args


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Orbax's own words, whole tracebacks among them, for what is told in ours."""
    logger = logging.getLogger("absl")

    def of_others(record: logging.LogRecord) -> bool:
        return "orbax" not in Path(record.pathname).parts

    logger.addFilter(of_others)
    try:
        yield
    finally:
        logger.removeFilter(of_others)
