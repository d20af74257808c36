"""Run the chapter's experiments, one after another, and write the report.

What is done with the same settings is not done again. An experiment that fails does not stop the
others.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import tyro
from rich.console import Console
from tyro.conf import Positional

import nnjax
from experiments import catalog, report
from experiments.devices import take_cores_as_devices
from experiments.evidence import Experiment, Flags, Record, check_can_draw
from experiments.progress import Clock, bar, duration
from nnjax.cli.console import INTERRUPTED, console
from nnjax.data._sources import NAMES as DATA_SETS
from nnjax.runtime.checks import check_positive_int, lookup
from nnjax.runtime.files import make_dir

QUICK_MINUTES = 0.1


@dataclass(frozen=True)
class Command(Flags):
    """The flags of an experiment, for all of them, and which."""

    names: Positional[tuple[str, ...]] = ()
    """The experiments to run; by default all."""
    again: bool = False
    """Run also those that are done with the same settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all is done, 1 when some failed, 2 for what the user can mend."""
    about = f"{__doc__}\nThe experiments: {', '.join(catalog.NAMES)}."
    try:
        command = tyro.cli(Command, args=arguments, prog="python -m experiments", description=about)
        take_cores_as_devices()
        return Run(_checked(command)).all()
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"experiments: error: {error}", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _checked(command: Command) -> Command:
    """The command with its names in the chapter's order; a ValueError where it asks what cannot be."""
    check_can_draw()
    for name in command.names:
        lookup("experiment", name, dict.fromkeys(catalog.NAMES))
    if command.dataset:
        lookup("data set", command.dataset, dict.fromkeys(DATA_SETS))
    for name in ("seeds", "epochs"):
        if getattr(command, name) is not None:
            check_positive_int(name, getattr(command, name))
    if command.dataset == "auto":
        command = replace(command, dataset=nnjax.load("auto").name)
    return replace(command, names=[n for n in catalog.NAMES if n in command.names or not command.names])


class Run:
    """One run: the experiments of a command, and what became of them."""

    def __init__(self, command: Command):
        self.command = command
        self.experiments: dict[str, Experiment] = {}
        self.failures: dict[str, str] = {}
        for name in catalog.NAMES:
            try:
                self.experiments[name] = catalog.find(name)
            except Exception as error:
                self._fails(name, error)
        for folder in {e.folder(command) for e in self.experiments.values()}:
            make_dir(folder)
        make_dir(report.place(self.experiments.values(), command))

    def all(self) -> int:
        """Run what is not done, write the report, and return the exit code."""
        records = {name: self._done(name) for name in self.command.names if name in self.experiments}
        clock = Clock([0 if record else self._expected(name) for name, record in records.items()])
        finished: list[str] = []
        with bar(clock) as shown:
            task = shown.add_task("", total=len(records))
            for name, record in records.items():
                shown.update(task, description=name)
                try:
                    self._complete(name, record, lambda told: shown.update(task, description=told))
                    finished.append(name)
                    console.print(f"{name}: {'done before' if record else duration(clock.running())}")
                except KeyboardInterrupt:
                    shown.stop()
                    console.print(f"interrupted in {name}; done are: {', '.join(finished) or 'none'}")
                    return INTERRUPTED
                except Exception as error:
                    self._fails(name, error)
                clock.next()
                shown.advance(task)
        path = report.write(self.experiments, self.failures, self.command)
        console.print(f"report in {path}", markup=False)
        return self._verdict()

    def _done(self, name: str) -> Record | None:
        if self.command.again:
            return None
        try:
            return catalog.done(self.experiments[name], self.command)
        except ValueError as error:
            console.print(f"{error}: run again", markup=False)
            return None

    def _complete(self, name: str, record: Record | None, tell: Callable[[str], None]) -> None:
        """An experiment with its record and its figure, or the exception that hinders it."""
        experiment = self.experiments[name]
        record = record or experiment.make(self.command, lambda told: tell(f"{name}: {told}"))
        folder = experiment.folder(self.command)
        figures = [folder / f"{experiment.name}.{kind}" for kind in ("png", "svg")]
        if not all(path.exists() and path.stat().st_size for path in figures):
            experiment.draw(record, folder)

    def _expected(self, name: str) -> float:
        """About the seconds that an experiment takes, before any has run."""
        experiment, settings = self.experiments[name], self.experiments[name].settle(self.command)
        if settings.quick:
            return 60 * QUICK_MINUTES
        share = settings.seeds / experiment.seeds * settings.epochs / experiment.epochs
        return 60 * experiment.minutes * share

    def _fails(self, name: str, error: Exception) -> None:
        self.failures[name] = f"{type(error).__name__}: {error}"
        if name in self.command.names:
            told = "".join(traceback.format_exception(error, limit=-2, chain=False))
            console.print(f"{name}: failed\n{told}", markup=False)

    def _verdict(self) -> int:
        failed = [name for name in self.command.names if name in self.failures]
        if not failed:
            return 0
        console.print(f"{len(failed)} of {len(self.command.names)} experiments failed:")
        for name in failed:
            console.print(f"  {name}: {self.failures[name]}", markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
