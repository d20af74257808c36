"""The flags that do not change a result: output files, checkpoints and devices."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import jax
from jax.sharding import Mesh
from tyro.conf import FlagCreatePairsOff, arg

from nnjax.cli._figures import check_plot
from nnjax.cli._flags import Directory, OptionalFile, OptionalInteger, OptionalText
from nnjax.cli.console import console
from nnjax.cli.signals import stop_immediately
from nnjax.runtime.checks import check_positive_int
from nnjax.runtime.extras import check_extra
from nnjax.runtime.files import check_writable, make_dir
from nnjax.runtime.multihost import INIT_TIMEOUT_S, check_consistent, connect
from nnjax.storage import CheckpointPolicy

_ADDRESS = "(default: $JAX_COORDINATOR_ADDRESS)"
_NUM_PROCESSES = "(default: $JAX_NUM_PROCESSES)"
_PROCESS_ID = "(default: $JAX_PROCESS_ID)"

Switch = Annotated[bool, FlagCreatePairsOff, arg(help_behavior_hint="")]

ConfigFlag = Annotated[
    str,
    arg(
        metavar="NAME|FILE",
        help="Configuration that the other flags change: book (the network of the book), fast-cpu (a "
        "convolutional network, trained in seconds), best-cpu (a more accurate one), a "
        "TOML file with fields of TrainConfig, or the record of an earlier run.",
    ),
]


@dataclass
class StorageFlags:
    """Files."""

    record: OptionalFile = None
    """Write configuration, data set, seed, history and environment to this JSON file, for --config."""
    plot: OptionalFile = None
    """Draw the accuracy to this image file (png, pdf, svg); needs matplotlib."""
    tensorboard: Directory = None
    """Write costs and accuracies to files for TensorBoard in this directory; needs tensorboardX."""
    checkpoint_dir: Directory = None
    """Save checkpoints in this directory, from which the same command resumes with identical results."""
    checkpoint_every_seconds: float = 10.0
    """Seconds between two checkpoints, which are saved at the end of an epoch."""
    checkpoint_every_epochs: OptionalInteger = None
    """Maximum number of epochs between two checkpoints, in addition to --checkpoint-every-seconds."""

    def check(self) -> None:
        """Raises ValueError if a flag is wrong, before anything is trained."""
        files = list(self._files())
        for _, path in files:
            check_writable(path)
        for (flag, path), (other_flag, other) in combinations(files, 2):
            if path.resolve() == other.resolve():
                raise ValueError(f"{flag} and {other_flag} must name different files, got {path} twice")
        if self.plot:
            check_plot(self.plot)
        self.tracker()
        self.checkpoint_policy()

    def tracker(self) -> Callable[[Any], None] | None:
        """The callback of `--tensorboard`, or None.

        Raises:
          MissingExtra: tensorboardX is not installed.
          OSError: the directory cannot be written.
        """
        if self.tensorboard is None:
            return None
        from nnjax.trackers import tensorboard  # imports `nnjax.compare`, which most commands do not need

        check_extra("tensorboard", "--tensorboard", "tensorboardX")
        tracker: Callable[[Any], None] | None = tensorboard(make_dir(self.tensorboard))

        def track(progress: Any) -> None:
            nonlocal tracker
            try:
                if tracker:
                    tracker(progress)
            except OSError as error:
                warnings.warn(
                    f"training continues without --tensorboard, whose files cannot be written: {error}",
                    stacklevel=2,
                )
                tracker = None

        return track

    def _files(self) -> Iterator[tuple[str, Path]]:
        for name in ("save", "record", "plot"):
            if path := getattr(self, name, None):
                yield f"--{name}", path

    def checkpoint_policy(self, display_settings: Mapping[str, str] | None = None) -> CheckpointPolicy | None:
        """The policy of `--checkpoint-dir`, or None; `display_settings` has the settings by flag.

        Raises:
          ValueError: a flag is wrong.
        """
        if self.checkpoint_dir is None:
            if self.checkpoint_every_seconds != StorageFlags.checkpoint_every_seconds:
                raise ValueError("--checkpoint-every-seconds must be used with --checkpoint-dir")
            if self.checkpoint_every_epochs is not None:
                raise ValueError("--checkpoint-every-epochs must be used with --checkpoint-dir")
            return None
        if self.checkpoint_dir.resolve() == Path.cwd():
            raise ValueError(f"--checkpoint-dir must not be the current directory, got {self.checkpoint_dir}")
        if not self.checkpoint_every_seconds >= 0:
            raise ValueError(
                f"--checkpoint-every-seconds must be at least 0, got {self.checkpoint_every_seconds:g}"
            )
        if self.checkpoint_every_epochs is not None:
            check_positive_int("--checkpoint-every-epochs", self.checkpoint_every_epochs)
        return CheckpointPolicy(
            self.checkpoint_dir,
            self.checkpoint_every_seconds,
            self.checkpoint_every_epochs,
            display_settings=display_settings or {},
        )


@dataclass
class TrainStorageFlags(StorageFlags):
    """Files."""

    save: OptionalFile = None
    """Write the model to this file (safetensors) and not to the model folder."""
    no_save: Switch = False
    """Do not save the model; without this flag, it is saved in the model folder for `nnjax predict`."""

    def check(self) -> None:
        if self.save and self.no_save:
            raise ValueError("--save must not be used with --no-save: omit one of them")
        super().check()


@dataclass
class DeviceFlags:
    """Several devices and processes."""

    data_parallel: Switch = False
    """Split each mini-batch among all devices."""
    distributed: Switch = False
    """Split each mini-batch among several processes; start this command once in each process."""
    coordinator_address: Annotated[OptionalText, arg(metavar="HOST:PORT", help_behavior_hint=_ADDRESS)] = None
    """Address of process 0; Slurm and TPU pods set it."""
    num_processes: Annotated[OptionalInteger, arg(help_behavior_hint=_NUM_PROCESSES)] = None
    """Number of processes; Slurm and TPU pods set it."""
    process_id: Annotated[OptionalInteger, arg(help_behavior_hint=_PROCESS_ID)] = None
    """Index of this process, from 0; Slurm and TPU pods set it."""
    heartbeat: int = 30
    """Seconds without a message from a process, after which the other processes end."""

    def check(self) -> None:
        """Raises ValueError for flags that need --distributed."""
        names = ("coordinator_address", "num_processes", "process_id")
        used = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]
        if used and not self.distributed:
            raise ValueError(f"{', '.join(used)} must be used with --distributed")

    def connect(self, settings: Mapping[str, Any]) -> None:
        """With --distributed, joins the other processes, which must have the same `settings`."""
        if not self.distributed:
            return
        console.print(f"waiting for the other processes, at most {INIT_TIMEOUT_S} s")
        with stop_immediately():
            connect(self.coordinator_address, self.num_processes, self.process_id, self.heartbeat)
        console.quiet = jax.process_index() > 0
        check_consistent(settings)

    def mesh(self) -> Mesh | None:
        """All devices of all processes if they share the work, else None."""
        split = self.data_parallel or self.distributed
        return jax.make_mesh((jax.device_count(),), ("data",)) if split else None
