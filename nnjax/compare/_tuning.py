"""The effect of tuning: the best of k trials, the share of good trials, the gain over the default setting."""

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from nnjax.compare._studies import Problems, by_pair, of_kind, study_results
from nnjax.compare.scores import BestOfK, best_of_k, wilson_interval
from nnjax.compare.verdicts import MARGIN


def tuning_curves(runs: pd.DataFrame, problems: Problems) -> dict[tuple[str, str], BestOfK]:
    """The result of tuning with k trials, by (problem, optimizer): geometric mean, 10 % and 90 % quantile."""
    trials = of_kind(runs, problems, "trial")
    curves = {}
    for pair, group in by_pair(trials):
        curve = best_of_k(group["selection"], group["y"])
        curves[pair] = curve._replace(**{f: np.exp(getattr(curve, f)) for f in ("expected", "low", "high")})
    return curves


def sensitivity(runs: pd.DataFrame, problems: Problems, level: float = 0.95) -> pd.DataFrame:
    """How much the result depends on tuning, a row per (problem, optimizer).

    Returns:
      A table with these columns:
      problem, optimizer, trials: the names, and the number of trials.
      near_best, near_low, near_high: the share of trials within 5 % of the best one, with Wilson's interval.
      diverged: the share of diverged trials.
      rate, rate_low, rate_high: the median, the lowest and the highest learning rate that a study selects.
      gain, gain_low, gain_high: the mean of y of the tuned settings minus the mean of y of the default
        setting, with Welch's interval.
      untuned: y of the setting that is best on all other problems, minus the mean of y of the tuned settings.
    """
    trials, defaults = of_kind(runs, problems, "trial"), of_kind(runs, problems, "default")
    studies, untuned = study_results(runs, problems), _untuned(trials, problems)
    selected = {pair: _learning_rates(group) for pair, group in by_pair(runs[runs["kind"] == "fresh"])}
    rows = []
    for (problem, optimizer), group in by_pair(trials):
        tuned, default = (
            table.loc[(table["problem"] == problem) & (table["optimizer"] == optimizer), "y"].to_numpy()
            for table in (studies, defaults)
        )
        y = group["y"].to_numpy()
        near = int((y <= y.min() + MARGIN).sum())
        near_low, near_high = wilson_interval(near, len(group), level)
        mean = tuned.mean() if len(tuned) else np.nan
        gain, gain_low, gain_high = mean_difference(tuned, default, level)
        rows.append(
            {
                "problem": problem, "optimizer": optimizer, "trials": len(group),
                "near_best": near / len(group), "near_low": near_low, "near_high": near_high,
                "diverged": group["diverged"].mean(),
                **_median_and_range(selected.get((problem, optimizer), np.full(1, np.nan))),
                "gain": gain, "gain_low": gain_low, "gain_high": gain_high,
                "untuned": untuned.get((problem, optimizer), np.nan) - mean,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _learning_rates(runs: pd.DataFrame) -> np.ndarray:
    """The learning rates of runs; NaN for an optimizer that has none."""
    return np.array([json.loads(text).get("learning_rate") for text in runs["settings"]], float)


def _median_and_range(rates: np.ndarray) -> dict[str, float]:
    return {"rate": float(np.median(rates)), "rate_low": rates.min(), "rate_high": rates.max()}


def mean_difference(
    values: np.ndarray, others: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
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
    with warnings.catch_warnings():  # scipy warns of a variance near 0, if metrics are equal
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        ends = ttest_ind(values, others, equal_var=False).confidence_interval(level)
    return difference, float(ends.low), float(ends.high)


def _untuned(trials: Any, problems: Problems) -> dict[tuple[str, str], float]:
    """y of the trial whose setting is best on all other problems, by (problem, optimizer).

    Trials with the same study and index have the same point of the search space on every problem. The
    progress of a point on a problem is (ln m₀ − y) / (ln m₀ − y of the optimizer's best trial). The best
    point has the largest mean progress.
    """
    usable = {name for name, facts in problems.items() if not facts["censored"]}
    results = {}
    for optimizer, group in trials[trials["problem"].isin(list(usable))].groupby("optimizer"):
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


def tunes_learning_rate(trials: pd.DataFrame) -> bool:
    """Whether trials have different learning rates; if not, their quantile decides nothing."""
    return len(np.unique(_learning_rates(trials))) > 1


def default_quantiles(runs: pd.DataFrame) -> dict[tuple[str, str], float]:
    """The position of the default learning rate in its range, by (problem, optimizer).

    The range is log-uniform, so the quantile is a linear function of the logarithm of the learning rate. This
    function is fitted to the trials. Optimizers whose trials do not lie on such a line are left out.
    """
    table = runs.assign(log_rate=np.log(_learning_rates(runs)))
    positions = {}
    for pair, group in by_pair(table):
        trials, defaults = (group.loc[group["kind"] == kind] for kind in ("trial", "default"))
        x, quantile = trials["log_rate"].to_numpy(), trials["quantile"].to_numpy()
        if (
            not len(trials)
            or not len(defaults)
            or not np.isfinite(x).all()
            or not np.isfinite(quantile).all()
        ):
            continue
        slope, start = np.polyfit(x, quantile, 1) if np.ptp(x) else (np.nan, np.nan)
        if np.allclose(slope * x + start, quantile, atol=1e-3):
            positions[pair] = float(slope * defaults["log_rate"].iloc[0] + start)
    return positions
