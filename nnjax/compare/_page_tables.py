"""The tables of the page. A cell has words or a number, and the query that selects the rows of the number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from nnjax.compare._wording import (
    SIGNS,
    change,
    number,
    overall,
    p_value,
    share,
    share_interval,
    studies_needed,
)
from nnjax.compare.analysis import Analysis
from nnjax.compare.verdicts import MAX_STUDIES

TARGET_NAMES = {"1/4": "a quarter", "1/2": "half", "1": "all"}


@dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Attributes:
      text: the number or the words.
      query: the pandas query that selects the rows of the number in `file`; "" if there is no link.
      notes: further lines in small print.
      sign, style: for verdicts, the sign before the text and the CSS class of the cell.
      order: the value by which a column is sorted; by default the text.
      file: the file with the rows.
    """

    text: str
    query: str = ""
    notes: tuple[str, ...] = ()
    sign: str = ""
    style: str = ""
    order: float | str | None = None
    file: str = "runs.parquet"


@dataclass(frozen=True)
class Table:
    """A table: the column headings, and rows whose first cell is a label."""

    name: str
    head: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)


def where(**columns: str | Sequence[str]) -> str:
    """The pandas query that selects the rows with these values in these columns.

    >>> where(problem="bigram", optimizer=["sgd", "adam"])
    "problem == 'bigram' and optimizer in ['sgd', 'adam']"
    """
    tests = ((name, "==" if isinstance(value, str) else "in", value) for name, value in columns.items())
    return " and ".join(f"{name} {operator} {value!r}" for name, operator, value in tests)


def verdict_matrix(analysis: Analysis) -> Table:
    """Problems × optimizers: verdict, change of the metric, and interval."""
    baselines = {baseline for _, baseline in analysis.pairs}
    head = [
        candidate if len(baselines) == 1 else f"{candidate} against {baseline}"
        for candidate, baseline in analysis.pairs
    ]
    rows = {
        (row["problem"], row["optimizer"], row["baseline"]): row
        for row in analysis.verdicts.to_dict("records")
    }
    table = Table("verdicts", ["problem", *head])
    for problem in analysis.problems:
        cells = [rows.get((problem, *pair)) for pair in analysis.pairs]
        table.rows.append([Cell(problem), *(_verdict(row) if row else Cell("no result") for row in cells)])
    return table


def _verdict(row: dict[str, Any]) -> Cell:
    return Cell(
        row["verdict"] + " by at least 5\u00a0%" * bool(row["by_margin"]),
        _pair_query(row),
        (change(row["effect"], row["low"], row["high"]),),
        SIGNS[row["verdict"]],
        f"verdict {row['verdict'].replace(' ', '-')}",
        row["effect"],
    )


def _pair_query(row: dict[str, Any]) -> str:
    return where(problem=row["problem"], optimizer=[row["optimizer"], row["baseline"]], kind="fresh")


def verdict_details(analysis: Analysis) -> Table:
    """A row per verdict, with its p-value, and the number of studies that would decide an undecided one."""
    head = ["problem", "optimizer", "baseline", "metric", "verdict", "p", "studies needed"]
    table = Table("details", head)
    for row in analysis.verdicts.to_dict("records"):
        needed = studies_needed(row)
        table.rows.append(
            [
                *(Cell(row[key]) for key in ("problem", "optimizer", "baseline")),
                Cell(change(row["effect"], row["low"], row["high"]), _pair_query(row), order=row["effect"]),
                Cell(row["verdict"]),
                Cell(p_value(row["p"]), _pair_query(row), order=row["p"]),
                Cell(needed, order=MAX_STUDIES if needed.startswith("over") else None),
            ]
        )
    return table


def metrics_table(analysis: Analysis) -> Table:
    """The final metric of each optimizer on each problem."""
    table = Table("metrics", ["problem", *analysis.optimizers])
    rows = {(row["problem"], row["optimizer"]): row for row in analysis.metrics.to_dict("records")}
    for problem, facts in analysis.problems.items():
        cells = [Cell(problem, notes=(facts["reported"],))]
        for optimizer in analysis.optimizers:
            row = rows.get((problem, optimizer))
            cells.append(_metric(row) if row else Cell("–"))
        table.rows.append(cells)
    return table


def _metric(row: dict[str, Any]) -> Cell:
    has_interval = not (row["floored"] or math.isnan(row["low"]))
    notes = [f"{number(row['low'])} to {number(row['high'])}"] * has_interval
    notes += [f"error on the test split {number(row['error'])}"] * (not math.isnan(row["error"]))
    notes += [f"{share(row['diverged'])} diverged"] * (row["diverged"] > 0)
    query = where(problem=row["problem"], optimizer=row["optimizer"], kind="fresh")
    text = "≤ " * row["floored"] + number(row["metric"])
    return Cell(text, query, tuple(notes), order=row["metric"])


def sensitivity_table(analysis: Analysis) -> Table:
    """How much each result depends on tuning."""
    head = [
        "problem",
        "optimizer",
        "selected learning rates",
        "trials near the best",
        "diverged",
        "tuned, against default",
        "other problems' setting, against tuned",
    ]
    table = Table("tuning", head)
    rows = {(row["problem"], row["optimizer"]): row for row in analysis.sensitivity.to_dict("records")}
    for problem in analysis.problems:
        for optimizer in analysis.optimizers:
            if row := rows.get((problem, optimizer)):
                pair = where(problem=problem, optimizer=optimizer)
                trials = f"{pair} and kind == 'trial'"
                near = share_interval(row["near_best"], row["near_low"], row["near_high"])
                gain = change(row["gain"], row["gain_low"], row["gain_high"])
                compared = f"{pair} and kind != 'trial'"
                others = f"{where(optimizer=optimizer)} and kind == 'trial'"
                table.rows.append(
                    [
                        Cell(problem),
                        Cell(optimizer),
                        _selected(row, f"{pair} and kind == 'fresh'"),
                        Cell(near, trials, order=row["near_best"]),
                        Cell(share(row["diverged"]), trials, order=row["diverged"]),
                        _number(gain, compared, row["gain"]),
                        _number(change(row["untuned"]), others, row["untuned"]),
                    ]
                )
    return table


def _selected(row: dict[str, Any], query: str) -> Cell:
    if math.isnan(row["rate"]):
        return Cell("–")
    notes = (f"{number(row['rate_low'])} to {number(row['rate_high'])}",)
    return Cell(number(row["rate"]), query, notes, order=row["rate"])


def _number(text: str, query: str, order: float, file: str = "runs.parquet") -> Cell:
    """A number with a link; a dash without one if there is no number."""
    return Cell(text, query, order=order, file=file) if math.isfinite(order) else Cell("–")


def scores_table(analysis: Analysis) -> Table:
    """The score of each optimizer across problems, and its worst problem."""
    table = Table("scores", ["optimizer", "score", "interval", "problems", "worst problem", "worst score"])
    for row in analysis.scores.sort_values("score", ascending=False, kind="stable").to_dict("records"):
        query = where(optimizer=row["optimizer"], kind="fresh")
        worst = where(optimizer=row["optimizer"], problem=row["worst_problem"], kind="fresh")
        table.rows.append(
            [
                Cell(row["optimizer"]),
                Cell(f"{row['score']:.2f}", query, order=row["score"]),
                Cell(f"{row['low']:.2f} to {row['high']:.2f}", query, order=row["low"]),
                Cell(str(row["problems"])),
                Cell(row["worst_problem"]),
                Cell(f"{row['worst_score']:.2f}", worst, order=row["worst_score"]),
            ]
        )
    return table


def overall_table(analysis: Analysis) -> Table:
    """The test over all problems, for each pair."""
    table = Table("overall", ["optimizer", "baseline", "problems", "median change", "p", "conclusion"])
    for row in analysis.overall.to_dict("records"):
        query = where(optimizer=[row["optimizer"], row["baseline"]], kind="fresh")
        table.rows.append(
            [
                Cell(row["optimizer"]),
                Cell(row["baseline"]),
                Cell(str(row["problems"])),
                _number(change(row["effect"]), query, row["effect"]),
                Cell(p_value(row["p"]), query, order=row["p"]),
                Cell(overall(row["problems"], row["effect"], row["p"], row["possible"])),
            ]
        )
    return table


def times_table(analysis: Analysis) -> Table:
    """The share of the budget after which each optimizer reaches each target."""
    table = Table("times", ["problem", "target", *analysis.optimizers])
    targets: dict[tuple[str, str, float], dict[str, Any]] = {}
    for row in analysis.times.to_dict("records"):
        targets.setdefault((row["problem"], row["target"], row["value"]), {})[row["optimizer"]] = row
    for (problem, target, value), rows in targets.items():
        cells = [
            _time(rows[optimizer]) if (problem, optimizer) in analysis.curves else Cell("–")
            for optimizer in analysis.optimizers
        ]
        label = Cell(TARGET_NAMES.get(target, target), notes=(f"metric {number(value)}",), order=-value)
        table.rows.append([Cell(problem), label, *cells])
    return table


def _time(row: dict[str, Any]) -> Cell:
    query = where(problem=row["problem"], optimizer=row["optimizer"], kind="fresh")
    if math.isinf(row["budget"]):
        return Cell("not reached", query, order=math.inf)
    return Cell(share(row["budget"]), query, order=row["budget"])


def seconds_table(analysis: Analysis, seconds: pd.DataFrame) -> Table:
    """The seconds of one network that is trained alone."""
    table = Table("seconds", ["problem", *analysis.optimizers])
    times = {(row["problem"], row["optimizer"]): row["seconds_alone"] for row in seconds.to_dict("records")}
    for problem in analysis.problems:
        cells = [Cell(problem)]
        for optimizer in analysis.optimizers:
            value = times.get((problem, optimizer), math.nan)
            query = where(problem=problem, optimizer=optimizer)
            cells.append(_number(f"{value:.3g}", query, value, "timings.parquet"))
        table.rows.append(cells)
    return table


def problems_table(analysis: Analysis) -> Table:
    """What each problem is."""
    head = [
        "problem",
        "distinguishes optimizers by",
        "reported metric",
        "steps",
        "batch size",
        "before training",
        "reference",
    ]
    table = Table("problems", head)
    for name, facts in analysis.problems.items():
        query = where(problem=name)
        reference: Any = facts["reference"]
        table.rows.append(
            [
                Cell(name),
                Cell(facts["separates_by"]),
                Cell(facts["reported"]),
                Cell(str(facts["steps"]), order=facts["steps"]),
                Cell(str(facts["batch_size"]), order=facts["batch_size"]),
                Cell(number(facts["m0"]), query, order=facts["m0"]),
                Cell("–") if reference is None else Cell(number(reference), order=reference),
            ]
        )
    return table
