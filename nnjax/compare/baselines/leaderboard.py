"""The tables of docs/leaderboard.md, from the shipped results."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nnjax.compare._references import REFERENCE
from nnjax.compare._shipped import shipped_audits
from nnjax.compare._wording import SIGNS, number, p_value, studies_needed
from nnjax.compare.analysis import Analysis, analyse
from nnjax.compare.claims import markdown_table
from nnjax.compare.problems import PROBLEMS, SUITES
from nnjax.compare.protocol import rows_of
from nnjax.compare.report import make_verdicts, problem_facts, seconds_alone
from nnjax.compare.scores import performance_profile
from nnjax.compare.verdicts import ALPHA, BETTER, EQUIVALENT, UNDECIDED, WORSE

FOLDER = Path(__file__).parent

FACTORS = (1.0, 1.5, 2.0, 4.0, math.inf)  # in profiles, multiples of the time of the fastest optimizer


@cache
def shipped_analysis(budget: str) -> Analysis:
    """The analysis of the shipped results of a budget on its suite, against the reference."""
    references = json.loads((FOLDER / f"{budget}.json").read_text("utf-8"))["references"]
    problems = {
        name: references[name]["numbers"] | problem_facts(PROBLEMS[name])
        for name in SUITES[budget] if name in references
    }  # fmt: skip
    runs = pd.read_parquet(FOLDER / f"{budget}-runs.parquet")
    runs = runs.loc[runs.problem.isin(problems)]
    others = [name for name in runs.optimizer.unique() if name != REFERENCE]
    return analyse(runs, problems, make_verdicts(runs, problems, others, [REFERENCE]))


def verdicts_table(budget: str) -> str:
    """Optimizers × problems: the sign of the verdict, and the ratio of the metric to the reference's."""
    analysis = shipped_analysis(budget)
    problems = list(analysis.problems)
    cells = {(row["optimizer"], row["problem"]): _verdict(row) for row in _rows(analysis.verdicts)}
    rows = [
        [optimizer, *(cells.get((optimizer, problem), "") for problem in problems)]
        for optimizer in _by_score(analysis)
        if optimizer != REFERENCE
    ]
    return markdown_table(["optimizer", *problems], rows)


def _verdict(row: dict[str, Any]) -> str:
    ratio = math.exp(row["effect"])
    return f"{SIGNS[row['verdict']]} {ratio:.3g}" if ratio != 1 else SIGNS[row["verdict"]]


def scores_table(budget: str) -> str:
    """Scores with their intervals, the worst problem, the test over all problems, and counts of verdicts."""
    analysis = shipped_analysis(budget)
    scores = {row["optimizer"]: row for row in _rows(analysis.scores)}
    overall = {row["optimizer"]: _overall(row) for row in _rows(analysis.overall)}
    rows = []
    for optimizer in _by_score(analysis):
        score = scores[optimizer]
        verdicts = analysis.verdicts[analysis.verdicts.optimizer == optimizer].verdict
        counts = [str(sum(verdicts == word)) for word in (BETTER, EQUIVALENT, WORSE, UNDECIDED)]
        rows.append(
            [
                optimizer,
                f"{score['score']:.2f} ({score['low']:.2f} to {score['high']:.2f})",
                f"{score['worst_problem']} ({score['worst_score']:.2f})",
                overall.get(optimizer, "–"),
                *(counts if optimizer != REFERENCE else ["–"] * 4),
            ]
        )
    return markdown_table(
        [
            "optimizer", "score (95 %)", "worst problem", "all problems together", "better", "equivalent",
            "worse", "undecided",
        ],
        rows,
    )  # fmt: skip


def _overall(row: dict[str, Any]) -> str:
    """The result of the test over all problems; a dash if it cannot be significant."""
    if not row["possible"]:
        return "–"
    if row["p"] >= ALPHA:
        return f"undecided (p = {p_value(row['p'])})"
    return f"{BETTER if row['effect'] < 0 else WORSE} (p = {p_value(row['p'])})"


def profile_table(budget: str) -> str:
    """The share of all targets that each optimizer reaches within a factor of the fastest one's time."""
    analysis = shipped_analysis(budget)
    rows = []
    for optimizer in _by_score(analysis):
        ratios = analysis.times[analysis.times.optimizer == optimizer].ratio.to_numpy()
        at = [*FACTORS[:-1], np.finfo(float).max]  # the last one counts every target that was reached
        rows.append([optimizer, *(f"{share:.0%}" for share in performance_profile(ratios, at))])
    head = [
        "as fast as the fastest optimizer",
        *(f"within {factor:g} times" for factor in FACTORS[1:-1]),
        "reached",
    ]
    return markdown_table(["optimizer", *head], rows)


def undecided_table(budget: str) -> str:
    """For each undecided verdict, the number of studies that would decide it."""
    analysis = shipped_analysis(budget)
    rows = []
    for optimizer in _by_score(analysis):
        undecided = rows_of(analysis.verdicts, optimizer=optimizer, verdict=UNDECIDED)
        needed = [f"{row['problem']} ({studies_needed(row)})" for row in _rows(undecided)]
        if needed:
            rows.append([optimizer, ", ".join(needed)])
    return markdown_table(["optimizer", "undecided on (studies needed)"], rows)


def seconds_table(budget: str) -> str:
    """The seconds of one network that is trained alone, summed over the problems, and relative to SGD."""
    analysis = shipped_analysis(budget)
    alone = seconds_alone(pd.read_parquet(FOLDER / f"{budget}-timings.parquet"))
    table = alone.pivot_table(index="optimizer", columns="problem", values="seconds_alone")
    ratios = (table / table.loc["sgd"]).median(axis=1)
    rows = [
        [optimizer, f"{table.loc[optimizer].sum():.3g}", f"{ratios[optimizer]:.2g}"]
        for optimizer in _by_score(analysis)
        if optimizer in table.index
    ]
    return markdown_table(["optimizer", "seconds, all problems", "relative to SGD (median)"], rows)


class UnitCosts(NamedTuple):
    """The number and the time of the units of an optimizer on a suite, as medians over shipped optimizers.

    Attributes:
      number: how many units there are.
      core_hours: the hours that they take on one core, if a worker compiles the program of each unit.
      processor: where they were measured.
    """

    number: int
    core_hours: float
    processor: str


def unit_costs(budget: str) -> UnitCosts:
    """The costs of the units of a budget on its suite.

    Only the first unit of an optimizer on a problem included the compilation; all are taken to last as long.
    """
    timings = pd.read_parquet(FOLDER / f"{budget}-timings.parquet")
    units = timings[timings.kind == "unit"].groupby(["optimizer", "problem"]).total
    count, first = units.count(), units.first()
    number, seconds = (each.groupby("optimizer").sum().median() for each in (count, count * first))
    environment = json.loads((FOLDER / f"{budget}.json").read_text("utf-8"))["environment"]
    return UnitCosts(int(number), seconds / 3600, environment["processor"])


def problems_table(budget: str) -> str:
    """The problems: the metric before training, and that of the reference."""
    analysis = shipped_analysis(budget)
    rows = [
        [name, facts["reported"], str(facts["steps"]), number(facts["m0"]),
         number(facts["reference"]) if facts["reference"] else "–"]
        for name, facts in analysis.problems.items()
    ]  # fmt: skip
    return markdown_table(["problem", "metric", "steps", "before training", f"tuned {REFERENCE}"], rows)


def audits_table() -> str:
    """The audits, with their results."""
    return markdown_table(
        ["audit", "result", "details"],
        [[audit["name"], audit["result"], audit["detail"]] for audit in shipped_audits()],
    )


def _by_score(analysis: Analysis) -> list[str]:
    """The optimizers, those with the highest score first."""
    return analysis.scores.sort_values("score", ascending=False, kind="stable").optimizer.tolist()


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.to_dict("records")


TABLES = {
    "verdicts": verdicts_table,
    "scores": scores_table,
    "profile": profile_table,
    "undecided": undecided_table,
    "seconds": seconds_table,
    "problems": problems_table,
}
