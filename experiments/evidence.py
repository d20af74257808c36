"""What every experiment shares: its flags, its record, its claims, and where all of it goes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console

import nnjax
from experiments.devices import all_devices, take_cores_as_devices
from experiments.figures import write_figure
from experiments.progress import duration
from experiments.timing import Stopwatch
from nnjax.cli.console import INTERRUPTED
from nnjax.compare.report import Claim
from nnjax.data._sources import NAMES
from nnjax.runtime.checks import check_positive_int, lookup, stable_repr
from nnjax.runtime.environment import environment
from nnjax.runtime.files import make_dir
from nnjax.storage import write_record
from nnjax.storage._serialization import digest

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
ELSEWHERE = ROOT / "output"

Record = dict[str, Any]


@dataclass(frozen=True)
class Flags:
    """The flags that every experiment takes."""

    dataset: str | None = None
    """mnist (the default), fashion_mnist, kmnist, digits or auto."""
    seeds: int | None = None
    """Networks trained for each setting; by default what the experiment asks for."""
    epochs: int | None = None
    """Epochs of each; by default what the experiment asks for."""
    quick: bool = False
    """The digits, two seeds and five epochs: to see that it runs, not what it shows."""
    output: Path | None = None
    """The folder for record and figure; by default the committed one for a full run on MNIST."""


@dataclass(frozen=True)
class Settings:
    """What `Flags` come to for one experiment; and how it tells where it is, where it keeps its parts."""

    dataset: str
    seeds: int
    epochs: int
    quick: bool
    tell: Callable[[str], None] | None = field(default=None, compare=False)
    keep: Path | None = field(default=None, compare=False)

    def load(self) -> nnjax.Dataset:
        """The data set."""
        return nnjax.load(self.dataset)

    def sweep(self, key: int, data: nnjax.Dataset, seeds: int | None = None, **settings: Any) -> nnjax.Grid:
        """`nnjax.sweep` with these epochs and, unless told otherwise, seeds; one that was stopped goes on."""
        settings |= {"seeds": seeds or self.seeds, "epochs": self.epochs}
        own = digest(str(key), data.name, stable_repr(settings))[:8]  # an experiment may have several
        settings |= {
            "checkpoint": self.keep and self.keep / own,
            "callback": self._report,
            "mesh": all_devices(),
        }
        return nnjax.sweep(jax.random.key(key), data, **settings)

    def _report(self, at: nnjax.Progress) -> None:
        if self.tell:
            self.tell(f"{at.networks} of {at.num_networks} networks, epoch {at.epoch} of {at.num_epochs}")


@dataclass(frozen=True)
class Experiment:
    """One question: how it is run, drawn and told.

    Attributes:
      name: of its module, its record and its figure.
      about: the module's docstring: question, command, expectation, cost.
      run: trains what is needed and returns the data of the record.
      plot: draws a record; returns a matplotlib figure.
      claims: what the chapter says beside what a record shows.
      seeds, epochs: of the full run; 1 where there is nothing to repeat.
      minutes: about what the full run takes on 2 cores.
      uses: the flags that change what it does; others are ignored.
      constants: what else decides the result, as JSON can hold it: a record made with others is
        made again.
    """

    name: str
    about: str | None
    run: Callable[[Settings], Record]
    plot: Callable[[Record], Any]
    claims: Callable[[Record], list[Claim]]
    seeds: int = 1
    epochs: int = 1
    minutes: float = 1.0
    uses: tuple[str, ...] = ("dataset", "seeds", "epochs")
    constants: Record = field(default_factory=dict)

    def settle(self, flags: Flags) -> Settings:
        """The settings that `flags` ask of this experiment; a ValueError where they ask for none."""
        dataset = flags.dataset or ("digits" if flags.quick else "mnist")
        lookup("data set", dataset, dict.fromkeys(NAMES))
        if dataset == "auto":
            dataset = nnjax.load("auto").name
        seeds = _count("seeds", flags.seeds, min(self.seeds, 2) if flags.quick else self.seeds)
        epochs = _count("epochs", flags.epochs, min(self.epochs, 5) if flags.quick else self.epochs)
        return Settings(
            dataset if "dataset" in self.uses else "mnist",
            seeds if "seeds" in self.uses else self.seeds,
            epochs if "epochs" in self.uses else self.epochs,
            flags.quick,
        )

    def folder(self, flags: Flags) -> Path:
        """Where record and figure go: full runs on MNIST into the clone's results, others apart."""
        if flags.output:
            return flags.output
        full = self.settle(flags) == self.settle(Flags())
        return RESULTS if full else ELSEWHERE / ("quick" if flags.quick else "results")

    def made_of(self, settings: Settings) -> Record:
        """The part of a record that decides all else in it, as JSON gives it back."""
        chosen = {name: getattr(settings, name) for name in ("dataset", "seeds", "epochs", "quick")}
        return json.loads(json.dumps(chosen | self.constants))

    def make(self, flags: Flags, tell: Callable[[str], None] | None = None) -> Record:
        """Run, and write record and figure; `tell` hears how far its sweeps are.

        A run that was stopped goes on from the finished chunks of its sweeps.

        Raises:
          ValueError: flags that make no sense, a folder that cannot be written into: before it runs.
        """
        check_can_draw()
        settings, folder = self.settle(flags), make_dir(self.folder(flags))
        keep = make_dir(folder / ".unfinished" / self.name)
        made_by, watch = commit(), Stopwatch(keep / "seconds")
        found = self.run(replace(settings, tell=watch.seen_by(tell), keep=keep))
        record = {
            "experiment": self.name,
            "settings": self.made_of(settings),
            "commit": made_by,
            **environment(),
            "seconds": watch.seconds(),
            **found,
        }
        for kind in ("png", "svg"):  # a figure is never older than its record
            (folder / f"{self.name}.{kind}").unlink(missing_ok=True)
        write_record(folder / f"{self.name}.json", record)
        shutil.rmtree(keep)
        record = read(self.name, folder)
        self.draw(record, folder)
        return record

    def draw(self, record: Record, folder: Path) -> None:
        """Write a record's figure as PNG and SVG."""
        write_figure(self.name, lambda: self.plot(record), folder)

    def verdicts(self, record: Record) -> list[Claim]:
        """The claims; those with a number of the book's are judged only on its data set, in full."""
        comparable = record["settings"]["dataset"] == "mnist" and not record["settings"]["quick"]
        return [
            replace(claim, holds=None) if claim.book and not comparable else claim
            for claim in self.claims(record)
        ]

    def main(self) -> None:
        """The command line of one experiment: run, write, and print its claims."""
        flags = tyro.cli(Flags, description=self.about)
        take_cores_as_devices()
        try:
            with Console().status(self.name) as status:
                record = self.make(flags, lambda told: status.update(f"{self.name}: {told}"))
        except (ValueError, OSError) as error:
            sys.exit(f"{self.name}: error: {error}")
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        for claim in self.verdicts(record):
            print(f"{claim.says}\n  the book: {claim.book or '-'}\n  here:     {claim.ours}")


def check_can_draw() -> None:
    """Raise a ValueError, before anything is trained, where there is nothing to draw figures with."""
    if not find_spec("matplotlib"):
        raise ValueError('figures need matplotlib: .venv/bin/pip install -e ".[experiments]"')


def at_edge(value: float, grid: Sequence[float]) -> str:
    """A note where the value that was chosen of a grid is its first or last: a wider one might do better.

    >>> at_edge(0.1, (0.1, 0.3, 1.0)), at_edge(0.3, (0.1, 0.3, 1.0))
    (' (edge of its grid)', '')
    """
    return " (edge of its grid)" * (value in (grid[0], grid[-1]))


def _count(name: str, given: int | None, usual: int) -> int:
    return usual if given is None else check_positive_int(name, given)


def commit() -> str:
    """The commit of this clone, marked -dirty where files other than results differ from it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", ":!*/results/*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changed else head


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def read(name: str, folder: Path = RESULTS) -> Record:
    """The record of an earlier run.

    Raises:
      FileNotFoundError: there is none.
      ValueError: a file that is no record of this experiment.
    """
    path = folder / f"{name}.json"
    try:
        record = json.loads(path.read_text())
        if record["experiment"] != name or not isinstance(record["settings"], dict):
            raise ValueError("it is another's")
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path} is no record of {name}: {error!r}") from error
    return record


def made_with(record: Record) -> str:
    """On what a record was made, with how many seeds and epochs, in what time, where: one line."""
    s = record["settings"]
    parts = [
        *([s["dataset"]] if s["seeds"] * s["epochs"] > 1 else []),
        *(f"{s[what]} {what}" for what in ("seeds", "epochs") if s[what] > 1),
        duration(record["seconds"]),
        f"{record['cores']} cores of {record['processor']}",
        *sorted(set(record["devices"]) - {"cpu"}),
        f"jax {record['versions']['jax']}",
        f"commit {record['commit']}",
    ]
    return " · ".join(parts)


def spread(values: Sequence[float] | np.ndarray, form: str = "{:.1f} %") -> str:
    """Median, least and most of one number a seed, for people.

    >>> spread([94.1, 95.2, 94.6])
    '94.6 % (94.1 % to 95.2 %, n = 3)'
    """
    low, middle, high = (form.format(f(values)) for f in (np.min, np.median, np.max))
    return f"{middle} ({low} to {high}, n = {len(values)})" if len(values) > 1 else middle


def percent(correct: Any, of: int) -> np.ndarray:
    """Right answers as a share of all, in percent."""
    return 100 * np.asarray(correct, float) / of
