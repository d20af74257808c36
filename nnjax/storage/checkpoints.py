"""Checkpoints: the complete state of a training, saved in a directory from which it resumes exactly.

Orbax writes each checkpoint in the background, under a temporary name, and then renames it. Checkpoints
contain only numbers, no code.
"""

import contextlib
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
from nnjax.runtime.files import expand_home
from nnjax.runtime.multihost import any_process, broadcast_from_primary, on_primary
from nnjax.storage._orbax import make_manager, orbax_args, short_reason, without_orbax_messages
from nnjax.storage._serialization import deserialize, serialize, serialized_size
from nnjax.storage.run_lock import SETTINGS_FILE, lock_run_dir

_ITEM = "state"
_MAX_OVERHEAD_BYTES = 100_000  # of the files that Orbax writes in addition to the array

# Orbax numbers the operations of a process, so trainings in different threads would disturb each other.
_ORBAX_LOCK = threading.Lock()


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where and how often a training is saved. The last epoch is always saved, unless it diverged.

    A checkpoint is written at the end of an epoch, or after an evaluation in a training with `steps`.

    Attributes:
      directory: of this training only; it is created if it does not exist.
      every_seconds: save if this time has passed since the last checkpoint.
      every: also save if this number of epochs (or of steps in a training with `steps`) has passed since the
        last checkpoint; None to save by time only.
      max_to_keep: the number of checkpoints to keep; older ones are deleted.
      display_settings: the settings by the names that your users know, for the error message if a
        training is resumed with other settings.

    Raises:
      ValueError: a directory that is not a path, or a number out of range.

    >>> CheckpointPolicy("/tmp/run", every=0)
    Traceback (most recent call last):
    ValueError: every must be a positive integer, got 0
    """

    directory: str | PathLike
    every_seconds: float = 10.0
    every: int | None = None
    max_to_keep: int = 3
    display_settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        directory, seconds = self.directory, self.every_seconds
        if not isinstance(directory, str | PathLike) or not str(directory):
            raise ValueError(f"the checkpoint directory must be a path, got {directory!r}")
        if isinstance(seconds, bool) or not isinstance(seconds, Real) or not seconds >= 0:
            raise ValueError(f"every_seconds must be a non-negative number, got {seconds!r}")
        if self.every is not None:
            check_positive_int("every", self.every)
        check_positive_int("max_to_keep", self.max_to_keep)
        # Absolute, because the process may change its working directory.
        object.__setattr__(self, "directory", expand_home(directory).absolute())


def as_policy(checkpoint: Any) -> CheckpointPolicy | None:
    """The policy for the argument `checkpoint` of `fit` and `sweep`: a directory, a policy or None."""
    if checkpoint is None or isinstance(checkpoint, CheckpointPolicy):
        return checkpoint
    return CheckpointPolicy(checkpoint)


@contextlib.contextmanager
def open_checkpoints(
    policy: CheckpointPolicy | None, settings: Mapping[str, str], unit: str = "epoch"
) -> Iterator["RunCheckpointer | None"]:
    """Locks the directory of a training and yields its checkpoints; None without a policy.

    If several processes train together, process 0 alone locks, reads and writes the directory.

    Args:
      policy: where and how often to save.
      settings: the settings that must be equal to resume the training.
      unit: the unit in which checkpoints are numbered: "epoch" or "step".

    Raises:
      ValueError: the directory cannot be used for this training.
    """
    if policy is None:
        yield None
        return
    directory = Path(policy.directory)
    with contextlib.ExitStack() as stack:

        def open_manager():
            if not _ORBAX_LOCK.acquire(blocking=False):
                raise ValueError(
                    "a process can save only one training at a time: wait until the other one ends, or train "
                    "this one without checkpoints"
                )
            stack.callback(_ORBAX_LOCK.release)
            stack.enter_context(lock_run_dir(directory, settings, policy.display_settings))
            stack.enter_context(without_orbax_messages())
            return make_manager(directory, policy.max_to_keep)  # `RunCheckpointer.close` closes it

        checkpointer = RunCheckpointer(policy, on_primary(open_manager), unit)
        try:
            yield checkpointer
        finally:
            checkpointer.close()


class RunCheckpointer:
    """Saves and restores one training; checkpoints are numbered by the epochs or steps that they contain.

    A checkpoint is complete or does not exist. If one cannot be written, training continues with one warning,
    and the older checkpoints remain.
    """

    def __init__(self, policy: CheckpointPolicy, manager: Any, unit: str = "epoch"):
        self._policy, self._directory, self._unit = policy, Path(policy.directory), unit
        self._manager = manager  # None in all processes but process 0
        self._failed = False
        self._last, self._last_time = 0, time.monotonic()  # of the last checkpoint

    def restore_latest(self, template: Callable[[int], Any], total: int) -> Any:
        """The pytree of the latest checkpoint that is not damaged; None if there are no checkpoints.

        Args:
          template: a function from a number of finished epochs or steps to a pytree with the structure,
            shapes and dtypes of their checkpoint.
          total: the number of epochs or steps to train.

        Raises:
          ValueError: the number of a checkpoint is larger than `total`, or all checkpoints are damaged.
        """
        number, content = on_primary(lambda: self._read_latest(template, total)) or (0, None)
        self._last = int(broadcast_from_primary(np.array(number, np.int32)))
        if not self._last:
            return None
        tree = template(self._last)
        if content is None:
            content = np.empty(serialized_size(tree), np.uint8)
        return deserialize(broadcast_from_primary(content), tree)

    def _read_latest(self, template: Callable[[int], Any], total: int) -> tuple[int, np.ndarray | None]:
        """The number and the bytes of the latest checkpoint that is not damaged; 0 without one."""
        numbers = sorted(self._manager.all_steps(), reverse=True)
        if numbers and numbers[0] > total:
            raise ValueError(
                f"{self._unit}s must be at least {numbers[0]}, which the training in {self._directory} has "
                f"finished, got {total}"
            )
        damaged: dict[int, str] = {}
        for number in numbers:
            tree = template(number)
            try:
                content = self._read(number, serialized_size(tree))
                deserialize(content, tree)
            except ValueError as error:
                damaged[number] = str(error)
                continue
            for bad, reason in damaged.items():
                warnings.warn(
                    f"the checkpoint of {self._unit} {bad} in {self._directory} is damaged ({reason}): "
                    f"training resumes from {self._unit} {number}",
                    stacklevel=4,
                )
                self._manager.delete(bad)
            return number, content
        if damaged:
            raise ValueError(
                f"all checkpoints in {self._directory} are damaged ({damaged[numbers[0]]}): delete the "
                "directory to start again"
            )
        return 0, None

    def save(self, done: int, tree: Any, last: bool = False) -> None:
        """Saves a checkpoint if one is due; the `last` one is always saved, before this returns.

        Args:
          done: the number of finished epochs or steps.
          tree: a pytree of arrays.
          last: whether training ends here.
        """
        policy = self._policy
        due = time.monotonic() - self._last_time >= policy.every_seconds
        due |= policy.every is not None and done - self._last >= policy.every
        if done > self._last and any_process(due or last):
            content = serialize(tree)  # in every process, because each may have only a part of an array
            self._wait()
            with self._warning_on_failure():
                if self._manager and self._directory_exists():
                    self._manager.save(done, args=orbax_args().StandardSave({_ITEM: content}))
            self._last, self._last_time = done, time.monotonic()
        if last:
            self._wait()

    def close(self) -> None:
        """Waits for the last write, closes the manager, and warns if the last checkpoint is missing."""
        self._wait()
        with self._warning_on_failure():  # a write of metadata that failed in the background raises here
            if self._manager:
                self._manager.close()
        files = self._directory.glob("*") if self._directory_exists() else ()
        latest = max((int(path.name) for path in files if path.name.isdigit()), default=0)
        if self._failed and latest < self._last:
            restart = f"resumes from {self._unit} {latest}" if latest else "starts from the beginning"
            warnings.warn(
                f"{self._unit} {self._last} is not saved in {self._directory}: a restarted training "
                f"{restart}",
                stacklevel=4,
            )

    def _directory_exists(self) -> bool:
        return (self._directory / SETTINGS_FILE).exists()

    def _wait(self) -> None:
        with self._warning_on_failure():
            if self._manager:
                self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _warning_on_failure(self) -> Iterator[None]:
        reason = ""
        try:
            yield
        except Exception as error:  # Orbax and tensorstore raise many kinds for a disk error
            reason = short_reason(error)
        if self._manager and not self._directory_exists():  # Orbax would create it again
            reason = "the directory was removed"
        if reason and not self._failed:
            warnings.warn(
                f"no checkpoint can be written into {self._directory}, but training continues: {reason}",
                stacklevel=4,
            )
        self._failed |= bool(reason)

    def _read(self, number: int, size: int) -> np.ndarray:
        """The bytes of a checkpoint; raises ValueError if it is not an array of `size` bytes."""
        # Checked before anything is read, because a damaged file may declare more than fits in memory.
        files = (self._directory / str(number)).rglob("*")
        if sum(file.stat().st_size for file in files if file.is_file()) > 2 * size + _MAX_OVERHEAD_BYTES:
            raise ValueError("its files are too large")
        try:
            declared = self._manager.item_metadata(number).tree
            shapes = {name: (tuple(item.shape), np.dtype(item.dtype)) for name, item in declared.items()}
            template = np.empty(size, np.uint8)
            if shapes == {_ITEM: (template.shape, template.dtype)}:
                args = orbax_args().StandardRestore({_ITEM: template})
                return self._manager.restore(number, args=args)[_ITEM]
        except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
            raise ValueError("its files cannot be read") from error
        raise ValueError("its content has another shape")
