"""The parts that all experiments share: flags, run context, record, claims and folders."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import jax
from jax.sharding import Mesh
from tyro.conf import FlagCreatePairsOff, arg

import nnjax
from experiments import records
from experiments.records import FORMAT, Record, read_record
from experiments.timers import Stopwatch
from nnjax.compare.claims import Claim
from nnjax.compare.plots import save_figure
from nnjax.data import DATASET_NAMES
from nnjax.runtime import check_positive_int, environment, git_commit, lookup, make_dir, stable_repr
from nnjax.storage import digest, write_record

SCRATCH_DIR = records.ROOT / "output"

QUICK_SEEDS, QUICK_EPOCHS = 2, 3
QUICK_DPI = 60

# A help text states its default itself.
OptionalInt = Annotated[int | None, arg(metavar="INT", help_behavior_hint="")]
Switch = Annotated[bool, FlagCreatePairsOff, arg(help_behavior_hint="")]


@dataclass(frozen=True)
class Flags:
    """The flags that every experiment accepts."""

    dataset: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Data set: mnist, fashion_mnist, kmnist, digits or auto (default: mnist; with --quick, digits)."""
    seeds: OptionalInt = None
    """Number of networks for each setting (default: that of the experiment)."""
    epochs: OptionalInt = None
    """Number of epochs of each network (default: that of the experiment)."""
    quick: Switch = False
    """Run on the embedded digits with two seeds and three epochs, only to check that the experiment runs."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Directory of record and figure (default: the committed one for a full run on MNIST, else output/)."""


@dataclass(frozen=True)
class RunContext:
    """The settings of one run of an experiment, and where it reports progress and stores checkpoints.

    Attributes:
      dataset: the name of the data set.
      seeds, epochs: networks for each setting, and epochs of each.
      quick: whether this is a quick run.
      on_progress: called with a message; or None.
      checkpoint_dir: the folder of the checkpoints of sweeps; None for no checkpoints.
    """

    dataset: str
    seeds: int
    epochs: int
    quick: bool
    on_progress: Callable[[str], None] | None = field(default=None, compare=False)
    checkpoint_dir: Path | None = field(default=None, compare=False)

    def load(self) -> nnjax.Dataset:
        """The data set."""
        return nnjax.load(self.dataset)

    def sweep(
        self, key: int, config: nnjax.TrainConfig, data: nnjax.Dataset, seeds: int | None = None, **axes: Any
    ) -> nnjax.Grid:
        """`config.sweep` with the epochs and seeds of this run; an interrupted sweep is resumed.

        A quick run trains two networks in each program, so that equal shapes are compiled once for all
        experiments; it has no checkpoints.
        """
        config = replace(config, epochs=self.epochs)
        axes |= {"seeds": seeds or self.seeds, "callback": self._report}
        if self.quick:
            axes["max_networks_per_program"] = QUICK_SEEDS
        else:
            axes["mesh"] = _device_mesh()
        if self.checkpoint_dir:  # an experiment may have several sweeps
            name = digest(str(key), data.name, stable_repr(config), stable_repr(axes | {"callback": None}))
            axes["checkpoint"] = self.checkpoint_dir / name[:8]
        return config.sweep(jax.random.key(key), data, **axes)

    def report(self, message: str) -> None:
        """Calls `on_progress`."""
        if self.on_progress:
            self.on_progress(message)

    def _report(self, progress: nnjax.Progress) -> None:
        self.report(
            f"{progress.networks} of {progress.num_networks} networks, "
            f"{progress.unit} {progress.done} of {progress.total}"
        )


def _device_mesh() -> Mesh | None:
    """A mesh of all accelerators; None if there is only one, or on a CPU, where a sweep uses threads."""
    count = 1 if jax.default_backend() == "cpu" else jax.device_count()
    return jax.make_mesh((count,), ("networks",)) if count > 1 else None


@dataclass(frozen=True)
class Experiment:
    """One question.

    Attributes:
      name: the name of its module, its record and its figure.
      about: the docstring of its module: question, method and expectation.
      run: trains what is needed, and returns the data of the record.
      plot: draws a record, and returns a matplotlib figure.
      claims: compares the statements of the book with a record.
      seeds, epochs: the numbers of a full run; 1 if nothing is repeated.
      minutes: the approximate duration of a full run on 2 cores.
      uses: the flags that affect the result; the others are ignored.
      constants: other values that affect the result, as JSON. A record with other constants is outdated.
        Write numbers as literals: values computed by exp or log differ between processors.
    """

    name: str
    about: str | None
    run: Callable[[RunContext], Record]
    plot: Callable[[Record], Any]
    claims: Callable[[Record], list[Claim]]
    seeds: int = 1
    epochs: int = 1
    minutes: float = 1.0
    uses: tuple[str, ...] = ("dataset", "seeds", "epochs")
    constants: Record = field(default_factory=dict)

    def resolve(self, flags: Flags) -> RunContext:
        """The settings that `flags` ask for.

        Raises:
          ValueError: an unknown data set, or a number that is not positive.
        """
        dataset = flags.dataset or ("digits" if flags.quick else "mnist")
        lookup("dataset", dataset, dict.fromkeys(DATASET_NAMES))
        if dataset == "auto":
            dataset = nnjax.load("auto").name
        seeds = _number("seeds", flags.seeds, min(self.seeds, QUICK_SEEDS) if flags.quick else self.seeds)
        epochs = _number(
            "epochs", flags.epochs, min(self.epochs, QUICK_EPOCHS) if flags.quick else self.epochs
        )
        return RunContext(
            dataset if "dataset" in self.uses else "mnist",
            seeds if "seeds" in self.uses else self.seeds,
            epochs if "epochs" in self.uses else self.epochs,
            flags.quick,
        )

    def folder(self, flags: Flags) -> Path:
        """The folder of record and figure: the committed one for full runs on MNIST only."""
        if flags.output:
            return flags.output
        is_full = self.resolve(flags) == self.resolve(Flags())
        return records.RESULTS if is_full else SCRATCH_DIR / ("quick" if flags.quick else "results")

    def fingerprint(self, context: RunContext) -> Record:
        """The settings that determine the results of a record, as they are read from JSON."""
        settings = {name: getattr(context, name) for name in ("dataset", "seeds", "epochs", "quick")}
        return json.loads(json.dumps(settings | self.constants))

    def run_and_record(self, flags: Flags, on_progress: Callable[[str], None] | None = None) -> Record:
        """Runs the experiment, and writes record and figure.

        An interrupted run is resumed at the finished programs of its sweeps.

        Args:
          flags: the flags of the run.
          on_progress: called with a message while the experiment runs.

        Raises:
          ValueError: wrong flags or a folder that is not writable; before the experiment runs.
        """
        check_matplotlib()
        context, folder = self.resolve(flags), make_dir(self.folder(flags))
        scratch = make_dir(folder / ".unfinished" / self.name)
        commit, watch = git_commit(records.ROOT), Stopwatch(scratch / "seconds")
        data = self.run(
            replace(
                context,
                on_progress=watch.save_on_progress(on_progress),
                checkpoint_dir=None if context.quick else scratch,
            )
        )
        record = {
            "format": FORMAT,
            "experiment": self.name,
            "settings": self.fingerprint(context),
            "commit": commit,
            **environment(),
            "seconds": watch.seconds(),
            **data,
        }
        for kind in ("png", "svg"):  # a figure is never older than its record
            (folder / f"{self.name}.{kind}").unlink(missing_ok=True)
        write_record(folder / f"{self.name}.json", record)
        shutil.rmtree(scratch)
        record = read_record(self.name, folder)
        self.draw(record, folder)
        return record

    def draw(self, record: Record, folder: Path) -> None:
        """Writes a record's figure: as PNG and SVG, or for a quick run as a small PNG."""
        quick = record["settings"]["quick"]
        formats, dpi = figure_formats(quick), QUICK_DPI if quick else 150
        save_figure(lambda: self.plot(record), folder, self.name, formats, dpi)

    def judged_claims(self, record: Record) -> list[Claim]:
        """The claims; those with a number from the book are judged only for full runs on MNIST."""
        comparable = record["settings"]["dataset"] == "mnist" and not record["settings"]["quick"]
        return [
            replace(claim, supported=None) if claim.expected and not comparable else claim
            for claim in self.claims(record)
        ]


def figure_formats(quick: bool) -> tuple[str, ...]:
    """The file formats of a figure."""
    return ("png",) if quick else ("png", "svg")


def check_matplotlib() -> None:
    """Raises a ValueError if matplotlib is not installed; before anything is trained."""
    if not find_spec("matplotlib"):
        raise ValueError('figures need matplotlib: install it with .venv/bin/pip install -e ".[experiments]"')


def edge_note(value: float, grid: Sequence[float]) -> str:
    """A note if the selected value is the first or last of its grid: a wider grid might be better.

    >>> edge_note(0.1, (0.1, 0.3, 1.0)), edge_note(0.3, (0.1, 0.3, 1.0))
    (' (edge of its grid)', '')
    """
    return " (edge of its grid)" if value in (grid[0], grid[-1]) else ""


def _number(name: str, value: int | None, default: int) -> int:
    return default if value is None else check_positive_int(name, value)
