"""Run the experiments of the chapter one after another, and write the report.

By default, all experiments run except the ladder, which takes hours; with --quick, all run. Experiments that
have a record with the same settings are skipped. If an experiment fails, the others still run.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

import nnjax
from experiments import catalog, report
from experiments.console import INTERRUPTED, Clock, console, duration, errors, progress_bar
from experiments.experiment import Experiment, Flags, Record, Switch, check_matplotlib, figure_formats
from nnjax.data import DATASET_NAMES
from nnjax.runtime import check_positive_int, lookup, make_dir

QUICK_MINUTES = 0.1


@dataclass(frozen=True)
class Command(Flags):
    """The flags of all experiments, and the experiments to run."""

    names: Positional[Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")]] = ()
    """Experiments to run (default: all except the ladder; with --quick, all)."""
    again: Switch = False
    """Run experiments again even if they have a record with the same settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 if experiments failed, or 2 for wrong arguments."""
    about = f"{__doc__}\nThe experiments: {', '.join(catalog.NAMES)}."
    try:
        command = tyro.cli(Command, args=arguments, prog="python -m experiments", description=about)
        checked = _check(command)
        return Run(checked).run_all()
    except (ValueError, OSError) as error:
        errors.print(f"experiments: error: {error}", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _check(command: Command) -> Command:
    """The command with its names in the order of the chapter; raises ValueError for wrong arguments."""
    check_matplotlib()
    for name in command.names:
        lookup("experiment", name, dict.fromkeys(catalog.NAMES))
    if command.dataset:
        lookup("dataset", command.dataset, dict.fromkeys(DATASET_NAMES))
    for name in ("seeds", "epochs"):
        if getattr(command, name) is not None:
            check_positive_int(name, getattr(command, name))
    if command.dataset == "auto":
        command = replace(command, dataset=nnjax.load("auto").name)
    names = command.names or catalog.default_names(command.quick)
    return replace(command, names=tuple(name for name in catalog.NAMES if name in names))


class Run:
    """One run of the command: its experiments and their failures."""

    def __init__(self, command: Command):
        self.command = command
        self.experiments: dict[str, Experiment] = {}
        self.failures: dict[str, str] = {}
        for name in catalog.NAMES:
            try:
                self.experiments[name] = catalog.find(name)
            except Exception as error:
                self._fail(name, error)
        for folder in {e.folder(command) for e in self.experiments.values()}:
            make_dir(folder)
        make_dir(report.report_dir(self.experiments.values(), command))

    def run_all(self) -> int:
        """Runs the experiments that have no current record, writes the report, and returns the exit code."""
        records = {name: self._earlier(name) for name in self.command.names if name in self.experiments}
        clock = Clock([0 if record else self._expected_s(name) for name, record in records.items()])
        finished: list[str] = []
        with progress_bar(clock) as bar:
            task = bar.add_task("", total=len(records))
            for name, record in records.items():
                bar.update(task, description=name)
                try:
                    self._complete(name, record, lambda message: bar.update(task, description=message))
                    finished.append(name)
                    console.print(f"{name}: {'already done' if record else duration(clock.running())}")
                except KeyboardInterrupt:
                    bar.stop()
                    console.print(f"interrupted in {name}; finished: {', '.join(finished) or 'none'}")
                    return INTERRUPTED
                except Exception as error:
                    self._fail(name, error)
                clock.next()
                bar.advance(task)
        path = report.write(self.experiments, self.failures, self.command)
        console.print(f"report in {path}", markup=False)
        return self._exit_code()

    def _earlier(self, name: str) -> Record | None:
        """The record of an earlier run with the same settings; None if there is none, or with --again."""
        if self.command.again:
            return None
        try:
            return catalog.find_record(self.experiments[name], self.command)
        except ValueError as error:
            console.print(f"{error}: running {name} again", markup=False)
            return None

    def _complete(self, name: str, record: Record | None, on_progress: Callable[[str], None]) -> None:
        """Runs an experiment that has no record, and draws a figure that is missing."""
        experiment, folder = self.experiments[name], self.experiments[name].folder(self.command)
        if record is None:
            experiment.run_and_record(self.command, lambda message: on_progress(f"{name}: {message}"))
            return
        figures = [folder / f"{name}.{kind}" for kind in figure_formats(record["settings"]["quick"])]
        if not all(path.exists() and path.stat().st_size for path in figures):
            experiment.draw(record, folder)

    def _expected_s(self, name: str) -> float:
        """The approximate seconds of an experiment."""
        experiment, context = self.experiments[name], self.experiments[name].resolve(self.command)
        if context.quick:
            return 60 * QUICK_MINUTES
        return 60 * experiment.minutes * context.seeds / experiment.seeds * context.epochs / experiment.epochs

    def _fail(self, name: str, error: Exception) -> None:
        self.failures[name] = f"{type(error).__name__}: {error}"
        if name in self.command.names:
            trace = "".join(traceback.format_exception(error, limit=-2, chain=False))
            console.print(f"{name}: failed\n{trace}", markup=False)

    def _exit_code(self) -> int:
        failed = [name for name in self.command.names if name in self.failures]
        if not failed:
            return 0
        console.print(f"{len(failed)} of {len(self.command.names)} experiments failed:")
        for name in failed:
            console.print(f"  {name}: {self.failures[name]}", markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
