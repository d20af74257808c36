"""The tables of a comparison: results of studies, tuning, learning curves, scores and times to targets.

All functions are pure. Their arguments are the table of runs, the facts of the problems, and the table of
verdicts:

- `runs` has a row for each run, with the columns optimizer, problem, kind ("trial", "fresh" or "default"),
  study, index, seed, quantile, batch_multiplier, settings, selection, metric, initial, diverged, error, curve
  and budget_used;
- `problems` maps a name to separates_by, reported, m0, epsilon, reference, targets, censored, steps and
  batch_size;
- `verdicts` has the columns problem, optimizer, baseline, effect, low, high, p, verdict, by_margin and
  studies_needed.

Metrics are compared as y = ln max(m, ε), as in `nnjax.compare.verdicts`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from nnjax.compare._studies import (
    Band,
    Problems,
    final_metrics,
    learning_curves,
    log_metric,
    study_results,
)
from nnjax.compare._tuning import default_quantiles, mean_difference, sensitivity, tuning_curves
from nnjax.compare.scores import BestOfK, log_score, stratified_interquartile_mean
from nnjax.compare.statistics import holm_correction
from nnjax.compare.verdicts import ALPHA, MARGIN, smallest_p

__all__ = [
    "Analysis",
    "Band",
    "analyse",
    "default_quantiles",
    "final_metrics",
    "learning_curves",
    "log_metric",
    "mean_difference",
    "overall_tests",
    "scored_problems",
    "scores",
    "sensitivity",
    "study_results",
    "times_to_targets",
    "tuning_curves",
]


@dataclass(frozen=True)
class Analysis:
    """Everything that the page of a comparison shows.

    Attributes:
      runs, problems, verdicts: the data.
      optimizers: candidates first, then baselines, then others.
      pairs: the candidates and their baselines, in the order of the verdicts.
      metrics: from `final_metrics`.
      curves: from `learning_curves`, by (problem, optimizer).
      tuning: from `tuning_curves`, by (problem, optimizer).
      sensitivity: from `sensitivity`.
      defaults: from `default_quantiles`, by (problem, optimizer).
      scores: from `scores`.
      times: from `times_to_targets`.
      overall: from `overall_tests`.
    """

    runs: pd.DataFrame
    problems: Problems
    verdicts: pd.DataFrame
    optimizers: list[str]
    pairs: list[tuple[str, str]]
    metrics: pd.DataFrame
    curves: Mapping[tuple[str, str], Band]
    tuning: Mapping[tuple[str, str], BestOfK]
    sensitivity: pd.DataFrame
    defaults: Mapping[tuple[str, str], float]
    scores: pd.DataFrame
    times: pd.DataFrame
    overall: pd.DataFrame


def analyse(runs: pd.DataFrame, problems: Problems, verdicts: pd.DataFrame) -> Analysis:
    """All tables of a comparison."""
    pairs = list(dict.fromkeys(zip(verdicts["optimizer"], verdicts["baseline"])))
    named = [candidate for candidate, _ in pairs] + [baseline for _, baseline in pairs]
    studies = study_results(runs, problems)
    curves = learning_curves(runs, problems)
    return Analysis(
        runs=runs,
        problems=problems,
        verdicts=verdicts,
        optimizers=list(dict.fromkeys([*named, *runs["optimizer"]])),
        pairs=pairs,
        metrics=final_metrics(studies),
        curves=curves,
        tuning=tuning_curves(runs, problems),
        sensitivity=sensitivity(runs, problems),
        defaults=default_quantiles(runs),
        scores=scores(studies, problems),
        times=times_to_targets(curves, problems),
        overall=overall_tests(studies, problems, pairs),
    )


def scored_problems(problems: Problems) -> list[str]:
    """The problems that have a score: not censored, and with a reference that is better than m₀."""
    return [
        name
        for name, facts in problems.items()
        if not facts["censored"] and facts["reference"] and facts["reference"] < facts["m0"]
    ]


def scores(studies: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The scores of the optimizers across problems: interquartile mean, its interval, and the worst problem.

    Args:
      studies: from `study_results`.
      problems: the facts of the problems.
    """
    rows = []
    names = scored_problems(problems)
    for optimizer, group in studies[studies["problem"].isin(names)].groupby("optimizer"):
        by_problem: dict[Any, np.ndarray] = {name: np.zeros(1) for name in names}  # of a failed optimizer
        for problem, part in group.groupby("problem"):
            facts = problems[str(problem)]
            reference = max(facts["reference"], facts["epsilon"])
            by_problem[problem] = log_score(part["metric"], facts["m0"], reference)
        score, low, high = stratified_interquartile_mean(list(by_problem.values()))
        worst = min(by_problem, key=lambda problem: by_problem[problem].mean())
        rows.append(
            {
                "optimizer": optimizer, "score": score, "low": low, "high": high,
                "worst_problem": worst, "worst_score": by_problem[worst].mean(),
                "problems": len(set(group["problem"])),
            }
        )  # fmt: skip
    columns = ["optimizer", "score", "low", "high", "worst_problem", "worst_score", "problems"]
    return pd.DataFrame(rows, columns=columns)


def times_to_targets(bands: Mapping[tuple[str, str], Band], problems: Problems) -> pd.DataFrame:
    """The share of the budget at which each optimizer's median curve reaches each target.

    An optimizer without a curve on a problem, because it failed, does not reach the targets. Values below ε
    count as equal in the curves, so a target below ε is ε. A target that is less than 5 % below the last one
    that is kept is left out.

    Args:
      bands: from `learning_curves`.
      problems: the facts of the problems.

    Returns:
      A row per (problem, target, optimizer) with value, the metric to reach; budget, infinite if the target
      is not reached; and ratio, the budget relative to the fastest optimizer.
    """
    rows = [
        {
            "problem": problem, "target": target, "optimizer": optimizer, "value": value,
            "budget": _time_to(value, bands.get((problem, optimizer))),
        }
        for problem in dict.fromkeys(problem for problem, _ in bands)
        for target, value in _distinct(problems[problem]).items()
        for optimizer in dict.fromkeys(optimizer for _, optimizer in bands)
    ]  # fmt: skip
    times = pd.DataFrame(rows, columns=["problem", "target", "optimizer", "value", "budget"])
    times = times.astype({"budget": float})
    fastest = times.groupby(["problem", "target"])["budget"].transform("min")
    return times.assign(ratio=np.where(np.isfinite(times["budget"]), times["budget"] / fastest, np.inf))


def _distinct(facts: Mapping[str, Any]) -> dict[str, float]:
    """The targets that are at least 5 % below the last one that is kept; others measure the same plateau."""
    distinct: dict[str, float] = {}
    for name, target in facts["targets"].items():
        if target is not None:
            value = max(target, facts["epsilon"])
            if value <= min(distinct.values(), default=math.inf) * math.exp(-MARGIN):
                distinct[name] = value
    return distinct


def _time_to(target: float, band: Band | None) -> float:
    """The share of the budget at which a median curve reaches a target; infinite if it does not."""
    if band is None:
        return np.inf
    reached = band.budget[(band.median <= target) & (band.budget > 0)]
    return float(reached[0]) if len(reached) else np.inf


def overall_tests(
    studies: pd.DataFrame, problems: Problems, pairs: Iterable[tuple[str, str]], alpha: float = ALPHA
) -> pd.DataFrame:
    """Wilcoxon's signed-rank test of each (candidate, baseline) over the problems, with Holm's correction.

    The paired values are the means of y over studies, one for each problem; censored problems are left out.

    Args:
      studies: from `study_results`.
      problems: the facts of the problems.
      pairs: candidates and their baselines.
      alpha: the level of all tests together.

    Returns:
      A row per pair with the number of problems, effect (the median difference of y), p (corrected), and
      possible, which is whether this number of problems can give a p-value below alpha.
    """
    usable = studies[[not problems[name]["censored"] for name in studies["problem"]]]
    means: Any = usable.pivot_table(index="problem", columns="optimizer", values="y", aggfunc="mean")
    pairs = [pair for pair in pairs if set(pair) <= set(means.columns)]
    differences = {pair: (means[pair[0]] - means[pair[1]]).dropna().to_numpy() for pair in pairs}
    p_values: Any = {pair: _wilcoxon(values) for pair, values in differences.items()}
    corrected: Any = holm_correction(p_values)
    rows = [
        {
            "optimizer": optimizer, "baseline": baseline, "problems": len(values),
            "effect": float(np.median(values)) if len(values) else np.nan,
            "p": corrected[optimizer, baseline],
            "possible": len(pairs) * smallest_p(len(values)) < alpha,
        }
        for (optimizer, baseline), values in differences.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["optimizer", "baseline", "problems", "effect", "p", "possible"])


def _wilcoxon(differences: np.ndarray) -> float:
    if not np.any(differences):
        return 1.0
    result: Any = wilcoxon(differences)
    return float(result.pvalue)
