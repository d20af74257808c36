"""The frozen reference of a problem: the results of tuned AdamW, which define scores and targets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nnjax.compare.protocol import DEFAULT, EPSILON, FRESH, rows_of, study_means

REFERENCE = "adamw"
TARGETS = {"1/4": 0.25, "1/2": 0.5, "1": 1.0}  # shares of the budget


def make_reference(runs: pd.DataFrame, censored: bool) -> dict[str, Any]:
    """The numbers of a problem that scores and profiles need, as JSON values.

    Args:
      runs: the runs on one problem. If none of them is of the reference, the problem has no reference.
      censored: whether the metric is a number of steps to a target. It then has no score and no targets.

    Returns:
      m0: the metric before training, the median of the default runs.
      epsilon: metrics below it count as equal.
      reference: the metric of the reference, the geometric mean of its studies; None if there is none.
      targets: by share of the budget, the median metric of the fresh runs of the reference at this share.
    """
    m0 = float(np.median(rows_of(runs, kind=DEFAULT)["initial"].to_numpy()))
    numbers = {"m0": m0, "epsilon": 0.0 if censored else EPSILON * m0, "reference": None}
    fresh = rows_of(runs, kind=FRESH, optimizer=REFERENCE)
    if censored or fresh.empty:
        return numbers | {"targets": dict.fromkeys(TARGETS)}
    reference = float(np.exp(study_means(fresh, numbers["epsilon"]).mean()))
    return numbers | {"reference": reference, "targets": _targets(fresh)}


def _targets(fresh: pd.DataFrame) -> Mapping[str, float]:
    curves = np.array(fresh.curve.tolist())
    used = np.array(fresh.budget_used.iloc[0])
    median = np.median(np.where(np.isfinite(curves), curves, np.inf), axis=0)
    return {name: float(median[np.sum(used <= share + 1e-9) - 1]) for name, share in TARGETS.items()}
