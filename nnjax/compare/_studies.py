"""The final metrics and the learning curves of tuning studies."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nnjax.compare import protocol
from nnjax.compare.statistics import t_interval

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
    return protocol.log_metric(runs["metric"].to_numpy(float), _epsilon(runs, problems))


def _epsilon(runs: pd.DataFrame, problems: Problems) -> np.ndarray:
    """ε of the problem of each run."""
    return np.array([problems[name]["epsilon"] for name in runs["problem"]], float)


def of_kind(runs: pd.DataFrame, problems: Problems, kind: str) -> pd.DataFrame:
    """The runs of one kind, with a column y = ln max(m, ε)."""
    table = runs.loc[runs["kind"] == kind]
    return table.assign(y=log_metric(table, problems))


def by_pair(table: Any) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """The rows of each (problem, optimizer)."""
    yield from table.groupby(["problem", "optimizer"])


def study_results(runs: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The result of each tuning study: the mean over its fresh seeds.

    Returns:
      A row per (problem, optimizer, study) with y, metric = exp(y), error, the share that diverged, and
      whether all metrics are at most ε.
    """
    fresh = of_kind(runs, problems, "fresh")
    fresh = fresh.assign(floored=fresh["metric"] <= _epsilon(fresh, problems))
    studies = fresh.groupby(["problem", "optimizer", "study"], as_index=False).agg(
        y=("y", "mean"), error=("error", "mean"), diverged=("diverged", "mean"), floored=("floored", "all")
    )
    return studies.assign(metric=np.exp(studies["y"]))


def final_metrics(studies: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The geometric mean over studies of the final metric, with its t-interval.

    Args:
      studies: from `study_results`.
      level: the level of confidence.
    """
    rows = []
    for (problem, optimizer), group in by_pair(studies):
        low, high = np.exp(t_interval(group["y"], level))
        errors = group["error"].dropna()
        rows.append(
            {
                "problem": problem, "optimizer": optimizer, "studies": len(group),
                "metric": np.exp(group["y"].mean()), "low": low, "high": high,
                "error": errors.mean() if len(errors) else np.nan, "diverged": group["diverged"].mean(),
                "floored": group["floored"].all(),
            }
        )  # fmt: skip
    columns = ["problem", "optimizer", "studies", "metric", "low", "high", "error", "diverged", "floored"]
    return pd.DataFrame(rows, columns=columns)


def learning_curves(runs: pd.DataFrame, problems: Problems) -> dict[tuple[str, str], Band]:
    """The learning curves of the fresh runs, by (problem, optimizer).

    Between two evaluations, a curve keeps the value of the first. A value that is not finite counts as the
    metric before training, and a value below ε as ε. A metric that is a number of steps has no curve.
    """
    usable = runs["problem"].isin([name for name, facts in problems.items() if not facts["censored"]])
    fresh = runs[usable & (runs["kind"] == "fresh") & runs["curve"].notna()]
    bands = {}
    for (problem, optimizer), group in by_pair(fresh):
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
