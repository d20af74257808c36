"""Checkpoints: all that a training has reached, in a folder from which it goes on exactly.

Orbax writes each one under a temporary name and renames it, while training goes on; it and
tensorstore read numbers only, no code.
"""

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnjax.parallel import anywhere, is_key, plain
from nnjax.runs.claims import claimed, digest

_ITEM = "state"
_SUM = 16  # bytes of a digest
_AROUND = 100_000  # bytes, at most, of what Orbax writes around an array


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept, and how often.

    Attributes:
      folder: this training's own; made where it is not there yet.
      seconds: a checkpoint is written when so many have gone by since the last one,
      epochs: or when so many epochs have been done, if said; and at the end, unless all has diverged.
      keep: how many stay, the newest.
    """

    folder: str | PathLike
    seconds: float = 10.0
    epochs: int | None = None
    keep: int = 3

    def __post_init__(self):
        for name, wanted, met in (
            ("folder", "a folder's path", isinstance(self.folder, str | PathLike)),
            ("seconds", "a number, 0 or more", isinstance(self.seconds, int | float) and self.seconds >= 0),
            ("epochs", "a whole number, 1 or more", self.epochs is None or _is_count(self.epochs)),
            ("keep", "a whole number, 1 or more", _is_count(self.keep)),
        ):
            if not met:
                where = "checkpoint" + f".{name}" * (name != "folder")
                raise ValueError(f"{where} must be {wanted}, not {getattr(self, name)!r}")

        # Wherever the process goes from here.
        object.__setattr__(self, "folder", Path(self.folder).expanduser().absolute())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def as_checkpoint(given: Any) -> Checkpoint | None:
    """What `fit` and `sweep` are given, a folder's path or a `Checkpoint` or None, checked."""
    return given if given is None or isinstance(given, Checkpoint) else Checkpoint(given)


@contextlib.contextmanager
def kept(
    checkpoint: Checkpoint | None, settings: Callable[[], Mapping[str, str]]
) -> Iterator["Checkpoints | None"]:
    """The checkpoints of a training with `settings`, held for this process; None for no `checkpoint`."""
    if checkpoint is None:
        yield None
        return
    folder = Path(checkpoint.folder)
    with claimed(folder, settings()), _quiet(), _manager(folder, checkpoint.keep) as manager:
        checkpoints = Checkpoints(checkpoint, manager)
        try:
            yield checkpoints
        finally:
            checkpoints.wait()


class Checkpoints:
    """The last checkpoints of one training, numbered by the epochs done; each is whole or not there.

    What cannot be written is told once, and training goes on; the last good one stands.
    """

    def __init__(self, checkpoint: Checkpoint, manager: Any):
        self._checkpoint, self._folder, self._manager = checkpoint, Path(checkpoint.folder), manager
        self._failed = False
        self._epoch, self._time = 0, time.monotonic()  # of the last one

    def newest(self, like: Callable[[int], Any], most: int) -> Any:
        """The newest whole one as the pytree that `like(epoch)` shows; None where there is none.

        Args:
          like: of a number of epochs, what is kept after them, as far as shapes and dtypes go.
          most: the epochs that are asked for.

        Raises:
          ValueError: more than `most` epochs are done, or none of the checkpoints can be read.
        """
        folder = self._folder
        epochs = sorted(self._manager.all_steps(), reverse=True)
        if epochs and epochs[0] > most:
            raise ValueError(f"{folder} has {epochs[0]} epochs done, more than the {most} asked for")
        damaged: dict[int, str] = {}
        for epoch in epochs:
            try:
                found = self._read(epoch, like(epoch))
            except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
                damaged[epoch] = _in_a_line(error)
                continue
            for worse, why in damaged.items():
                told = f"the checkpoint of epoch {worse} in {folder} is damaged ({why})"
                warnings.warn(f"{told}: going on from that of epoch {epoch}", stacklevel=4)
                self._manager.delete(worse)
            self._epoch = epoch
            return found
        if damaged:
            why = damaged[epochs[0]]
            raise ValueError(f"no checkpoint in {folder} can be read ({why}): remove it to start anew")
        return None

    def keep(self, epoch: int, tree: Any, last: bool = False) -> None:
        """Write a checkpoint if its time has come; if it is the `last`, write it and wait for it."""
        plan = self._checkpoint
        due = time.monotonic() - self._time >= plan.seconds
        due |= plan.epochs is not None and epoch - self._epoch >= plan.epochs
        if epoch > self._epoch and anywhere(due or last):
            self.wait()
            with self._told():
                self._manager.save(epoch, args=_args().StandardSave({_ITEM: _packed(tree)}))
            self._epoch, self._time = epoch, time.monotonic()
        if last:
            self.wait()

    def wait(self) -> None:
        """Until what is being written is there."""
        with self._told():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the disk's, by way of Orbax and tensorstore: many kinds
            if not self._failed:
                told = f"no checkpoint could be written into {self._folder}, training goes on"
                warnings.warn(f"{told}: {_in_a_line(error)}", stacklevel=4)
            self._failed = True

    def _read(self, epoch: int, like: Any) -> Any:
        wanted = np.empty(_SUM + sum(plain(leaf).nbytes for leaf in jax.tree.leaves(like)), np.uint8)
        # Asked before anything is read: what files hold or declare may be larger than any memory.
        files = (self._folder / str(epoch)).rglob("*")
        if sum(file.stat().st_size for file in files if file.is_file()) > 2 * wanted.nbytes + _AROUND:
            raise ValueError("it is larger than what was kept")
        declared = self._manager.item_metadata(epoch).tree
        shapes = {name: (tuple(one.shape), np.dtype(one.dtype)) for name, one in declared.items()}
        if shapes != {_ITEM: (wanted.shape, wanted.dtype)}:
            raise ValueError("it holds something else")
        found = self._manager.restore(epoch, args=_args().StandardRestore({_ITEM: wanted}))
        return _unpacked(found[_ITEM], like)


def _in_a_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _manager(folder: Path, keep: int) -> Any:
    from orbax.checkpoint import CheckpointManager, CheckpointManagerOptions, StandardCheckpointHandler

    options = CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
    return CheckpointManager(folder.resolve(), options=options, item_handlers=StandardCheckpointHandler())


def _args() -> Any:
    from orbax.checkpoint import args

    return args


# A state goes into one array: where one of several is damaged, Orbax abandons the reading of the others,
# which then ends in tracebacks that nobody can catch.


def _packed(tree: Any) -> np.ndarray:
    """The bytes of all leaves in their order, after a sum over them and their names, dtypes, shapes."""
    body = b"".join(plain(leaf).tobytes() for leaf in jax.tree.leaves(tree))
    return np.frombuffer(_sum(tree) + body, np.uint8)


def _unpacked(packed: np.ndarray, like: Any) -> Any:
    """The pytree that was packed, of the shapes and dtypes of `like`; a ValueError where it is not that."""
    content, place = packed.tobytes(), _SUM

    def next_leaf(shown) -> Any:
        nonlocal place
        array = plain(shown)
        found = np.frombuffer(content, array.dtype, array.size, place).reshape(array.shape).copy()
        place += array.nbytes
        if not is_key(shown):
            return found
        return jax.random.wrap_key_data(jnp.asarray(found), impl=jax.random.key_impl(shown))

    tree = jax.tree.map(next_leaf, like)
    if content[:_SUM] != _sum(tree):
        raise ValueError("its sum is wrong")
    return tree


def _sum(tree: Any) -> bytes:
    named = jax.tree.leaves_with_path(tree)
    return bytes.fromhex(digest([(jax.tree_util.keystr(path), leaf) for path, leaf in named]))


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
