"""The tables of a comparison: results of studies, tuning, learning curves, scores and times to targets.

All functions are pure. They start from the table of runs, one row per run, and the facts of the problems:

- `runs` has the columns optimizer, problem, kind ("trial", "fresh" or "default"), study, index, seed, quantile,
  batch_multiplier, settings, selection, metric, initial, diverged, error, curve and budget_used;
- `problems` maps a name to separates_by, reported, m0, epsilon, reference, targets, censored, steps and
  batch_size.

Metrics are compared as y = ln max(m, ε), as in `nnjax.compare.verdicts`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind, wilcoxon

from nnjax.compare.scores import (
    BestOfK,
    best_of_k,
    log_score,
    stratified_interquartile_mean,
    wilson_interval,
)
from nnjax.compare.statistics import holm_correction, t_interval
from nnjax.compare.verdicts import ALPHA, MARGIN, smallest_p

Problems = Mapping[str, Mapping[str, Any]]


class Band(NamedTuple):
    """A learning curve: the share of the budget, and the median, 10th and 90th percentile of the runs."""

    budget: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


def log_metric(runs: pd.DataFrame, problems: Problems) -> np.ndarray:
    """y = ln max(m, ε) of each run.

    >>> runs = pd.DataFrame({"problem": ["a", "a"], "metric": [1.0, 0.0]})
    >>> log_metric(runs, {"a": {"epsilon": np.exp(-7.0)}}).tolist()
    [0.0, -7.0]
    """
    epsilon = np.array([problems[name]["epsilon"] for name in runs["problem"]], float)
    return np.log(np.maximum(runs["metric"].to_numpy(float), epsilon))


def study_results(runs: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The result of each tuning study: the mean over its fresh seeds.

    Returns:
      A row per (problem, optimizer, study) with y, metric = exp(y), error, and the share that diverged.
    """
    fresh = _of_kind(runs, problems, "fresh")
    groups = fresh.groupby(["problem", "optimizer", "study"], as_index=False)
    studies = groups.agg(y=("y", "mean"), error=("error", "mean"), diverged=("diverged", "mean"))
    return studies.assign(metric=np.exp(studies["y"]))


def final_metrics(studies: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The geometric mean over studies of the final metric, with its t-interval.

    Args:
      studies: from `study_results`.
      level: the level of confidence.
    """
    rows = []
    for (problem, optimizer), group in studies.groupby(["problem", "optimizer"]):
        low, high = np.exp(t_interval(group["y"], level))
        errors = group["error"].dropna()
        rows.append(
            {
                "problem": problem, "optimizer": optimizer, "studies": len(group),
                "metric": np.exp(group["y"].mean()), "low": low, "high": high,
                "error": errors.mean() if len(errors) else np.nan, "diverged": group["diverged"].mean(),
            }
        )  # fmt: skip
    columns = ["problem", "optimizer", "studies", "metric", "low", "high", "error", "diverged"]
    return pd.DataFrame(rows, columns=columns)


def learning_curves(runs: pd.DataFrame, problems: Problems) -> dict[tuple[str, str], Band]:
    """The learning curves of the fresh runs, by (problem, optimizer).

    Between two evaluations, a curve keeps the value of the first. A value that is not finite counts as the
    metric before training, and a value below ε as ε.
    """
    fresh = runs[(runs["kind"] == "fresh") & runs["curve"].notna()]
    bands = {}
    for (problem, optimizer), group in fresh.groupby(["problem", "optimizer"]):
        budgets = [np.append(0.0, used) for used in group["budget_used"]]
        budget = np.unique(np.concatenate(budgets))
        curves = []
        for used, curve, initial in zip(budgets, group["curve"], group["initial"]):
            values = np.append(initial, np.asarray(curve, float))
            values = np.where(np.isfinite(values), values, initial)
            curves.append(values[np.searchsorted(used, budget, side="right") - 1])
        curves = np.maximum(curves, problems[problem]["epsilon"])
        low, median, high = np.quantile(curves, [0.1, 0.5, 0.9], axis=0)
        bands[problem, optimizer] = Band(budget, median, low, high)
    return bands


def tuning_curves(runs: pd.DataFrame, problems: Problems) -> dict[tuple[str, str], BestOfK]:
    """What tuning with k trials would have given, by (problem, optimizer): geometric mean, 10 % and 90 %."""
    trials = _of_kind(runs, problems, "trial")
    curves = {}
    for pair, group in trials.groupby(["problem", "optimizer"]):
        curve = best_of_k(group["selection"], group["y"])
        curves[pair] = curve._replace(**{f: np.exp(getattr(curve, f)) for f in ("expected", "low", "high")})
    return curves


def sensitivity(runs: pd.DataFrame, problems: Problems, level: float = 0.95) -> pd.DataFrame:
    """How much the result depends on tuning, a row per (problem, optimizer).

    Returns:
      A table with the number of trials; near_best, the share of trials within 5 % of the best one, and its
      Wilson interval near_low and near_high; diverged, the share of trials; gain, the mean of y of the tuned
      setting minus that of the default, with Welch's interval gain_low and gain_high; untuned, y of the
      setting that is best on all other problems, minus the mean of y of the tuned setting.
    """
    trials, defaults = _of_kind(runs, problems, "trial"), _of_kind(runs, problems, "default")
    studies, untuned = study_results(runs, problems), _untuned(trials, problems)
    rows = []
    for (problem, optimizer), group in trials.groupby(["problem", "optimizer"]):
        tuned, default = (
            table.loc[(table["problem"] == problem) & (table["optimizer"] == optimizer), "y"].to_numpy()
            for table in (studies, defaults)
        )
        near = int((group["y"] <= group["y"].min() + MARGIN).sum())
        near_low, near_high = wilson_interval(near, len(group), level)
        gain, gain_low, gain_high = mean_difference(tuned, default, level)
        rows.append(
            {
                "problem": problem, "optimizer": optimizer, "trials": len(group),
                "near_best": near / len(group), "near_low": near_low, "near_high": near_high,
                "diverged": group["diverged"].mean(),
                "gain": gain, "gain_low": gain_low, "gain_high": gain_high,
                "untuned": untuned.get((problem, optimizer), np.nan) - (tuned.mean() if len(tuned) else np.nan),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def mean_difference(values: np.ndarray, others: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """The difference of two means with Welch's interval; NaN where there are too few values.

    >>> mean_difference(np.array([1.0, 1.0]), np.array([3.0, 3.0]))
    (-2.0, -2.0, -2.0)
    """
    if not len(values) or not len(others):
        return np.nan, np.nan, np.nan
    difference = float(values.mean() - others.mean())
    if min(len(values), len(others)) < 2:
        return difference, np.nan, np.nan
    if np.ptp(values) == np.ptp(others) == 0:
        return difference, difference, difference
    ends = ttest_ind(values, others, equal_var=False).confidence_interval(level)
    return difference, float(ends.low), float(ends.high)


def _untuned(trials: pd.DataFrame, problems: Problems) -> dict[tuple[str, str], float]:
    """y of the trial whose setting is best on all other problems, by (problem, optimizer).

    Trials with the same study and index have the same point of the search space on every problem. The best
    point has the largest mean share of the way from m₀ to the optimizer's best trial, in logarithms.
    """
    usable = {name for name, facts in problems.items() if not facts["censored"]}
    results = {}
    for optimizer, group in trials[trials["problem"].isin(usable)].groupby("optimizer"):
        by_point = group.pivot_table(index=["study", "index"], columns="problem", values="y").dropna()
        points = group.groupby(["study", "index"])["quantile"].nunique()
        if by_point.shape[1] < 2 or by_point.empty or (points > 1).any():
            continue
        start = np.log([problems[name]["m0"] for name in by_point.columns])
        way = (start - by_point) / np.maximum(start - by_point.min(), 1e-12)
        for problem in by_point.columns:
            best = way.drop(columns=problem).mean(axis=1).idxmax()
            results[problem, optimizer] = float(by_point.loc[best, problem])
    return results


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
        by_problem = {}
        for problem, part in group.groupby("problem"):
            facts = problems[str(problem)]
            reference = max(facts["reference"], facts["epsilon"])
            by_problem[problem] = log_score(part["metric"], facts["m0"], reference)
        score, low, high = stratified_interquartile_mean(list(by_problem.values()))
        worst = min(by_problem, key=lambda problem: by_problem[problem].mean())
        rows.append(
            {
                "optimizer": optimizer, "score": score, "low": low, "high": high,
                "worst_problem": worst, "worst_score": by_problem[worst].mean(), "problems": len(by_problem),
            }
        )  # fmt: skip
    columns = ["optimizer", "score", "low", "high", "worst_problem", "worst_score", "problems"]
    return pd.DataFrame(rows, columns=columns)


def times_to_targets(bands: Mapping[tuple[str, str], Band], problems: Problems) -> pd.DataFrame:
    """The share of the budget at which each optimizer's median curve reaches each target.

    Args:
      bands: from `learning_curves`.
      problems: the facts of the problems.

    Returns:
      A row per (problem, target, optimizer) with budget, infinite if the target is not reached; and ratio, the
      budget relative to the fastest optimizer.
    """
    rows = []
    for (problem, optimizer), band in bands.items():
        for target, value in problems[problem]["targets"].items():
            if value is not None and not problems[problem]["censored"]:
                reached = band.budget[(band.median <= value) & (band.budget > 0)]
                budget = reached[0] if len(reached) else np.inf
                rows.append({"problem": problem, "target": target, "optimizer": optimizer, "budget": budget})
    times = pd.DataFrame(rows, columns=["problem", "target", "optimizer", "budget"]).astype({"budget": float})
    fastest = times.groupby(["problem", "target"])["budget"].transform("min")
    return times.assign(ratio=np.where(np.isfinite(times["budget"]), times["budget"] / fastest, np.inf))


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
      possible, which is whether so few problems can give a p-value below alpha at all.
    """
    usable = studies[[not problems[name]["censored"] for name in studies["problem"]]]
    means = usable.groupby(["problem", "optimizer"])["y"].mean().unstack()
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
    return float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def _of_kind(runs: pd.DataFrame, problems: Problems, kind: str) -> pd.DataFrame:
    table = runs[runs["kind"] == kind]
    return table.assign(y=log_metric(table, problems))
