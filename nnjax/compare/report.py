"""The report of a comparison: its tables, and the page that shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnjax.compare import protocol
from nnjax.compare._problem import Problem
from nnjax.compare._references import make_reference
from nnjax.compare._shipped import shipped_audits, shipped_reference
from nnjax.compare._task import Task
from nnjax.compare._tuning import sensitivity
from nnjax.compare._wording import change
from nnjax.compare.analysis import analyse
from nnjax.compare.plan import Plan
from nnjax.compare.protocol import BUDGETS, Reading
from nnjax.compare.runner import Result
from nnjax.compare.verdicts import Verdict
from nnjax.runtime.environment import environment
from nnjax.runtime.files import make_dir, write_atomically

ORDER = ["problem", "optimizer", "kind", "study", "index"]
VERDICT_COLUMNS = ["problem", "optimizer", "baseline", *(field.name for field in fields(Verdict))]


@dataclass(frozen=True, repr=False)
class Report:
    """The result of `compare`.

    Attributes:
      verdicts: a row for each problem, candidate and baseline. `effect` is the mean difference of ln(metric)
        of candidate and baseline, negative if the candidate is better; `low` and `high` are its interval, and
        `p` is corrected for the number of problems.
      runs: a row for each run.
      timings: a row for each unit of work, with its seconds.
      problems: the facts of each problem, as `nnjax.compare.analysis` describes them.
      about: how the results were made: versions, machine, seeds, notes and audits.
    """

    verdicts: pd.DataFrame
    runs: pd.DataFrame
    timings: pd.DataFrame
    problems: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any]

    def __repr__(self) -> str:
        notes = "".join(f"\n- {note}" for note in self.about["notes"])
        return f"Report({len(self.runs)} runs)\n{self.verdicts.to_string(index=False)}{notes}"

    def save(self, folder: str | PathLike) -> Path:
        """Writes the page, its figures and the tables into a folder, and returns the path of the page.

        Raises:
          ImportError: matplotlib or jinja2 is not installed. The tables are written nevertheless.
          OSError: the folder cannot be written.
        """
        folder = make_dir(Path(folder))
        write_atomically(folder / "verdicts.csv", self.verdicts.to_csv(index=False).encode())
        for name in ("runs", "timings"):
            write_atomically(folder / f"{name}.parquet", getattr(self, name).to_parquet(index=False))
        from nnjax.compare._page import render, write_figures  # needs the extra `compare`

        analysis = analyse(self.runs, self.problems, self.verdicts)
        page = render(analysis, self.about)
        write_figures(make_dir(folder / "figures"), analysis)
        write_atomically(folder / "index.html", page.encode())
        return folder / "index.html"


def make_report(plan: Plan, results: Mapping[tuple[str, str], Result], command: str = "") -> Report:
    """The report of the results of a plan; `command` is the command that repeats it.

    Raises:
      ValueError: every optimizer failed on every problem.
    """
    finished = [result for result in results.values() if not result.failure]
    if not finished:
        raise ValueError(f"at least one optimizer must finish a problem: {'; '.join(_failures(results))}")
    runs = pd.concat([result.runs for result in finished], ignore_index=True)
    runs = runs.sort_values(ORDER, ignore_index=True)
    timings = pd.concat([result.timings for result in finished], ignore_index=True)
    with_runs = {*runs["problem"]}
    problems = {
        task.problem.name: _problem_numbers(task, runs)
        for task in plan.tasks if task.problem.name in with_runs
    }  # fmt: skip
    notes = [
        *_failures(results),
        *_divergences(plan, runs),
        *_worse_than_default(plan, runs, problems),
        *plan.notes,
        *_notes(plan, results, len(problems)),
    ]
    return Report(
        make_verdicts(runs, problems, plan.candidates, plan.baselines),
        runs, timings, problems, _about(plan, results, timings, notes, command or _call(plan)),
    )  # fmt: skip


def _call(plan: Plan) -> str:
    """The call of `nnjax.compare`; how its optimizers were made is not known."""
    names = ", ".join(f"{name!r}: ..." for name in plan.candidates)
    budget: Any = BUDGETS.get(plan.budget.name)
    changes = [
        f"{name}={value!r}" for name, value in asdict(plan.budget).items()
        if budget is not None and value != getattr(budget, name)
    ]  # fmt: skip
    words = repr(plan.budget if budget is None else plan.budget.name)
    if changes:
        words = f"dataclasses.replace(BUDGETS[{words}], {', '.join(changes)})"
    return (
        f"nnjax.compare({{{names}}}, against={plan.baselines!r}, problems={tuple(plan.data)!r}, "
        f"budget={words})"
    )


def make_verdicts(
    runs: pd.DataFrame,
    problems: Mapping[str, Mapping[str, Any]],
    candidates: Sequence[str],
    baselines: Sequence[str],
) -> pd.DataFrame:
    """The table of verdicts of each candidate and each baseline."""
    readings = {
        name: Reading(numbers["epsilon"], numbers["steps"] + 1 if numbers["censored"] else None)
        for name, numbers in problems.items()
    }
    rows = [
        {"problem": problem, "optimizer": candidate, "baseline": baseline} | asdict(verdict)
        for candidate in candidates
        for baseline in baselines
        for problem, verdict in protocol.verdicts(runs, readings, candidate, baseline).items()
    ]
    table = pd.DataFrame(rows, columns=VERDICT_COLUMNS)
    return table.astype({"studies_needed": "Int64"})


def _problem_numbers(task: Task, runs: pd.DataFrame) -> dict[str, Any]:
    problem = task.problem
    censored = problem.target_accuracy is not None
    numbers = shipped_reference(task)
    if numbers is None:
        numbers = make_reference(protocol.rows_of(runs, problem=problem.name), censored)
    return numbers | problem_facts(problem)


def problem_facts(problem: Problem) -> dict[str, Any]:
    """The parts of the definition of a problem that the tables of a comparison show."""
    return {
        "separates_by": problem.separates_by,
        "reported": problem.metric_name,
        "censored": problem.target_accuracy is not None,
        "steps": problem.steps,
        "batch_size": problem.batch_size,
    }


def seconds_alone(timings: pd.DataFrame) -> pd.DataFrame:
    """The seconds of one network that is trained alone, by optimizer and problem."""
    alone = protocol.rows_of(timings, kind="alone") if len(timings) else timings
    table = alone.reindex(columns=["optimizer", "problem", "training"])
    return table.rename(columns={"training": "seconds_alone"})


def bounded_sides(task: Task, result: Result) -> tuple[bool, bool]:
    """Whether the range of the learning rate bounds the result of a task below or above."""
    if result.failure or "learning_rate" not in task.space:
        return False, False
    fresh = protocol.rows_of(result.runs, kind=protocol.FRESH)
    winners = fresh.groupby("study").agg({"metric": "min", "initial": "first", "quantile": "first"})
    # Of equally good trials, the one with the lowest learning rate is selected. So a learning rate at the end
    # of its range is no sign of a bound in a study that is at most ε, or does not reach the target.
    if task.problem.target_accuracy is None:
        decides = winners["metric"] > protocol.EPSILON * winners["initial"]
    else:
        decides = winners["metric"] <= task.problem.steps
    return protocol.bounded_sides(winners["quantile"].where(decides, 0.5).tolist())


def _failures(results: Mapping[tuple[str, str], Result]) -> list[str]:
    """A sentence for each optimizer that failed on a problem."""
    return [
        f"{optimizer} failed on {problem}: {result.failure}"
        for (optimizer, problem), result in results.items() if result.failure
    ]  # fmt: skip


def _divergences(plan: Plan, runs: pd.DataFrame) -> list[str]:
    """A sentence for each candidate and problem where runs with the tuned settings diverged."""
    fresh = protocol.rows_of(runs, kind=protocol.FRESH)
    notes = []
    for task in plan.tasks:
        if task.optimizer in plan.candidates:
            mine = protocol.rows_of(fresh, problem=task.problem.name, optimizer=task.optimizer)
            if diverged := np.count_nonzero(mine["diverged"]):
                notes.append(
                    f"{task.optimizer} diverged on {task.problem.name} in {diverged} of {len(mine)} runs "
                    "with tuned settings: their metric was not finite, or worse than before training. The "
                    "metric before training is used."
                )
    return notes


def _worse_than_default(plan: Plan, runs: pd.DataFrame, problems: Mapping[str, Any]) -> list[str]:
    """A sentence for each optimizer whose tuned settings are worse than its default on a problem."""
    table = sensitivity(runs, problems)
    worse: Any = table[(table["gain_low"] > 0) & table["optimizer"].isin(plan.candidates + plan.baselines)]
    return [
        f"{row['optimizer']} on {row['problem']} is worse with its tuned settings than with its default: the "
        f"metric is {change(row['gain'])}. Tuning needs more trials, or a better search space."
        for row in worse.to_dict("records")
    ]


def _notes(plan: Plan, results: Mapping[tuple[str, str], Result], problems: int) -> list[str]:
    """Sentences about search spaces and the number of studies that a reader of the verdicts has to know."""
    notes = []
    for task in plan.tasks:
        result = results[task.key]
        name = f"{task.optimizer} on {task.problem.name}"
        for side, decades in zip(("lower", "upper"), result.widened, strict=True):
            if decades:
                notes.append(
                    f"{name} was tuned again: the {side} end of its learning rates was moved by a factor of "
                    f"{10**decades}."
                )
        low, high = bounded_sides(task, result)
        sides = " and ".join(side for side, bounded in (("low", low), ("high", high)) if bounded)
        if sides:
            advice = "Widen the space." if any(result.widened) else "Widen the space, or use --extend."
            notes.append(
                f"{name} is bounded by its search space: the selected learning rates are at its {sides} end. "
                + advice
            )
    if not protocol.can_decide(plan.budget.studies, problems):
        notes.append(
            "No verdict of better or worse is possible: there are too few studies "
            f"({plan.budget.studies}) for the number of problems ({problems})."
        )
    return notes


def _spaces(tasks: Sequence[Task]) -> dict[str, list[str]]:
    """By optimizer, the tuned hyper-parameters and their ranges, in words. They can depend on the problem."""
    spaces: dict[str, dict[str, list[str]]] = {}
    for task in tasks:
        words = ", ".join(f"{name} {space}" for name, space in task.space.items()) or "nothing is tuned"
        spaces.setdefault(task.optimizer, {}).setdefault(words, []).append(task.problem.name)
    return {
        optimizer: [
            f"{words} ({', '.join(names)})" if len(by_words) > 1 else words
            for words, names in by_words.items()
        ]
        for optimizer, by_words in spaces.items()
    }


def _about(
    plan: Plan,
    results: Mapping[tuple[str, str], Result],
    timings: pd.DataFrame,
    notes: list[str],
    command: str,
) -> dict[str, Any]:
    budget = plan.budget
    here = environment()
    return {
        "command": command,
        "budget": budget.name,
        "studies": budget.studies,
        "trials": budget.trials,
        "fresh_seeds": budget.fresh,
        "defaults": budget.defaults,
        "versions": here.pop("versions"),
        "machine": here,
        "schedules": list(budget.schedules),
        "spaces": _spaces(plan.tasks),
        "seeds": f"studies {budget.study_numbers[0]} to {budget.study_numbers[-1]}",
        "notes": notes,
        "audits": shipped_audits(),
        "seconds": seconds_alone(timings),
        "shipped": {
            result.made_on: sorted({o for (o, _), r in results.items() if r.made_on == result.made_on})
            for result in results.values()
            if result.made_on
        },
    }
