"""`nnjax compare`."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from tyro.conf import Positional, arg

from nnjax.cli._dask import DaskFlag, UnitTimeout, dask_client
from nnjax.cli._flags import Directory, OptionalInteger, command_line
from nnjax.cli._runtime_flags import Switch
from nnjax.cli.console import console, print_json
from nnjax.runtime.executors import make_workers
from nnjax.runtime.extras import check_extra
from nnjax.runtime.files import make_dir

STORE = platformdirs.user_data_path("nnjax") / "compare"

NO_VERDICT = 1  # exit code, if the optimizers failed on all problems


@dataclass
class Compare:
    """Find out whether an optimizer is better than tuned baselines, on small problems.

    Example: nnjax compare mine.py:lookahead_adam --against adamw sgd --out report
    """

    optimizers: Positional[Annotated[tuple[str, ...], arg(metavar="[FILE.py:NAME ...]")]] = ()
    """Optimizers to compare: optax factories or Tunables in Python files, or names of baselines."""
    against: tuple[str, ...] = ("adamw",)
    """Baselines to compare with: names of shipped ones, or optimizers in Python files (FILE.py:NAME)."""
    problems: tuple[str, ...] = ("quick",)
    """A suite (quick or standard), names of problems, or FILE.py:NAME for a Problem in a Python file."""
    budget: Literal["quick", "standard"] = "quick"
    """Tuning budget of every optimizer on every problem."""
    studies: OptionalInteger = None
    """Number of tuning studies (default: that of the budget)."""
    trials: OptionalInteger = None
    """Number of trials of a study, a power of two (default: that of the budget)."""
    first_study: int = 0
    """Index of the first study; studies with other indices have other settings and seeds."""
    learning_rate: tuple[float, float] = (1e-4, 1.0)
    """Range in which the learning rate of an optimizer without a search space is tuned."""
    extend: Switch = False
    """Tune again in a wider range if the selected learning rates are at an end of their range."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("report")
    """Directory of the report; an earlier report in it is replaced."""
    store: Directory = None
    """Directory of finished units of work, from which an interrupted comparison continues (default: a
    subdirectory of the user's data directory)."""
    dask: DaskFlag = None
    """Train on the workers of the Dask scheduler at this address, such as tcp://HOST:8786."""
    unit_timeout: UnitTimeout = 600.0
    """With --dask, the maximum seconds of a unit of work; then it is submitted again."""
    list: Switch = False
    """List the problems, the baselines and their search spaces, and train nothing."""
    dry_run: Switch = False
    """Print the number of runs and an estimate of the time, and train nothing."""
    json: Switch = False
    """Print the verdicts, or the result of --list or --dry-run, as JSON on standard output, and messages on
    standard error."""

    def run(self) -> int:
        if self.list:
            _show_lists(self.json)
            return 0
        if not self.optimizers:
            raise ValueError(
                "optimizers must not be empty: give at least one, such as mine.py:my_optimizer or sgd. "
                "--list shows the baselines"
            )
        from nnjax.compare._run_plan import run_plan  # imported here, because pandas takes a second
        from nnjax.compare._store import Store
        from nnjax.compare.plan import to_train
        from nnjax.compare.report import make_report

        plan = self._plan()
        work = _amount_of_work(plan, to_train(plan))
        console.print(_summary(plan, work), markup=False)
        if self.dry_run:
            if self.json:
                print_json(work)
            return 0
        check_extra("compare", "the report of a comparison", "matplotlib", "jinja2")
        make_dir(self.out)
        try:
            with dask_client(self.dask) as client, _Bar() as bar:
                workers = make_workers(client, self.unit_timeout)
                results = run_plan(plan, Store(self.store or STORE), self.extend, bar.show, workers)
        except KeyboardInterrupt:
            console.print("Finished units are stored. The same command continues the comparison.")
            raise
        report = make_report(plan, results, self._command())
        page = report.save(self.out)
        if len(report.verdicts):
            console.print(_verdict_table(report.verdicts))
        for note in report.about["notes"]:
            console.print(f"- {note}", markup=False)
        console.print(f"report in {page}", markup=False)
        if self.json:
            verdicts = report.verdicts.astype(object).where(report.verdicts.notna(), None)
            print_json({"verdicts": verdicts.to_dict("records"), "notes": report.about["notes"]})
        return 0 if len(report.verdicts) else NO_VERDICT

    def _command(self) -> str:
        """The command that repeats the comparison."""
        flags = command_line("compare", replace(self, optimizers=()))
        return flags.replace("compare", shlex.join(["compare", *self.optimizers]), 1)

    def _plan(self) -> Any:
        from nnjax.compare._user_code import is_reference, load_object
        from nnjax.compare.plan import make_plan
        from nnjax.compare.protocol import BUDGETS

        own_baselines = [reference for reference in self.against if is_reference(reference)]
        references = [*self.optimizers, *(r for r in own_baselines if r not in self.optimizers)]
        names = [reference.rpartition(":")[2] for reference in references]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"optimizers must have different names, got {name} twice")
        loaded = [load_object(r) if is_reference(r) else r for r in references]
        changes = {"studies": self.studies, "trials": self.trials, "first_study": self.first_study}
        budget = replace(BUDGETS[self.budget], **{k: v for k, v in changes.items() if v is not None})
        problems = [load_object(p) if is_reference(p) else p for p in self.problems]
        optimizers = dict(zip(names, loaded, strict=True))
        against = [reference.rpartition(":")[2] for reference in self.against]
        return make_plan(optimizers, against, problems, budget, self.learning_rate)


def _show_lists(as_json: bool) -> None:
    """Prints the baselines with their search spaces, and the names of the problems."""
    from nnjax.compare._baseline_optimizers import BASELINES, SAME_AS
    from nnjax.compare.problems import SUITES

    def words(space: Mapping[str, Any]) -> dict[str, str]:
        return {name: str(distribution) for name, distribution in space.items()}

    baselines = {
        name: {
            "quick": words(tunable.space),
            "standard": words(tunable.standard_space),
            "gradients_per_step": tunable.cost,
        }
        for name, tunable in BASELINES.items()
    }
    if as_json:
        print_json({"baselines": baselines, "same_as": dict(SAME_AS), "suites": dict(SUITES)})
        return
    lines = ["Baselines and their tuned hyper-parameters (after the bar: only with the standard budget):"]
    for name, facts in baselines.items():
        spaces = [", ".join(f"{key} {d}" for key, d in facts[b].items()) for b in ("quick", "standard")]
        cost = facts["gradients_per_step"]
        costs = f" ({cost:g} gradients per step)" if cost != 1 else ""
        lines.append(f"  {name:20} {' | '.join(part for part in spaces if part)}{costs}")
    lines += [f"  {alias:20} the same as {name}" for alias, name in SAME_AS.items()]
    lines.append(
        "The weight decay is tuned only on modular_addition, for every optimizer. Elsewhere, it is 0.\n"
        "If the updates of an optimizer grow with the gradients, its learning rates are multiplied by the "
        "scale of the problem."
    )
    lines.append("Suites of problems, which `nnjax problems` describes:")
    lines += [f"  {suite:20} {', '.join(names)}" for suite, names in SUITES.items()]
    console.print("\n".join(lines), markup=False)


def _amount_of_work(plan: Any, tasks: Sequence[Any]) -> dict[str, Any]:
    """The runs that will be trained, an estimate of their seconds or None, and the pairs that are shipped."""
    from nnjax.compare._run_plan import estimate_seconds

    runs, seconds = sum(task.budget.runs for task in tasks), estimate_seconds(tasks)
    return {
        "runs": runs,
        "seconds": None if math.isnan(seconds) else seconds,
        "shipped": len(plan.tasks) - len(tasks),
        "pairs": len(plan.tasks),
    }


def _summary(plan: Any, work: Mapping[str, Any]) -> str:
    """The amount of work in words."""
    about = f", about {max(work['seconds'] / 60, 0.1):.1f} minutes" if work["seconds"] else ""
    names = f"{', '.join(plan.candidates)} against {', '.join(plan.baselines)}"
    problems = count(len(plan.data), "problem")
    return (
        f"{names} on {problems}, {plan.budget.name} budget: {work['runs']:,} runs to train, except those in "
        f"the store{about}; the results of {work['shipped']} of {work['pairs']} pairs of optimizer and "
        "problem are shipped"
    )


def count(number: int, noun: str) -> str:
    """A number with its noun, such as "1 problem" or "2 problems"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _verdict_table(verdicts: Any) -> Table:
    """A line for each problem, candidate and baseline. The title names a single candidate and baseline."""
    from nnjax.compare._wording import studies_needed

    rows = verdicts.to_dict("records")
    pairs = [f"{row['optimizer']} against {row['baseline']}" for row in rows]
    is_single = len(set(pairs)) == 1
    title = pairs[0] if is_single else "Verdicts about the optimizers"
    table = Table(Column("problem", no_wrap=True), title=title, box=SIMPLE_HEAD)
    for name in [*["optimizer"] * (not is_single), "verdict", "metric / baseline's", "p"]:
        table.add_column(name, overflow="fold")
    for pair, row in zip(pairs, rows, strict=True):
        needed = studies_needed(row)
        advice = f" ({needed} studies for 80 % power)" if needed != "–" else ""
        table.add_row(
            escape(row["problem"]),
            *[pair] * (not is_single),
            f"{row['verdict']}{' by at least 5 %' if row['by_margin'] else ''}{advice}",
            _ratio(row),
            f"{row['p']:.2g}",
        )
    return table


def _ratio(row: Mapping[str, Any]) -> str:
    """The ratio of the metrics of candidate and baseline, with its interval."""
    ratio, low, high = (math.exp(row[name]) for name in ("effect", "low", "high"))
    interval = "" if math.isnan(low) else f" ({low:.2f} to {high:.2f})"
    return f"{ratio:.2f}{interval}"


class _Bar:
    """A progress bar on a terminal; otherwise a line for each unit of work."""

    def __init__(self):
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[left]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("compiling", total=1.0, left="")

    def __enter__(self):
        self._bar.__enter__()
        return self

    def __exit__(self, *error):
        self._bar.__exit__(*error)

    def show(self, progress: Any) -> None:
        """Draws the progress after a unit."""
        best = ", ".join(f"{name} {value:.3g}" for name, value in progress.best.items())
        left = f"{progress.seconds_left / 60:.1f} minutes left"
        text = f"{progress.optimizer} on {progress.problem}, best run: {best}"
        if console.is_terminal:
            self._bar.update(
                self._task, completed=progress.done, total=progress.total, description=text, left=left
            )
        else:
            console.print(f"{progress.done} of {progress.total} units, {left}: {text}", markup=False)
