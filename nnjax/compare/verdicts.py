"""Verdicts: whether a candidate is better than a baseline, from the paired results of tuning studies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit
from scipy.stats import nct

from nnjax.compare.statistics import holm_correction, paired_permutation_test, t_interval

ALPHA = 0.05
MARGIN = math.log(1.05)  # differences of at most 5 % count as equal
POWER = 0.8
MAX_STUDIES = 1000

EQUIVALENT, BETTER, WORSE, UNDECIDED = "equivalent", "better", "worse", "undecided"
NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Verdict:
    """What the studies say about a candidate and a baseline on one problem.

    Attributes:
      verdict: "equivalent", "better", "worse", "undecided" or, for censored metrics, "not reached".
      effect: the mean difference of ln(metric), candidate minus baseline: negative is better.
      low, high: the confidence interval of the effect at the level 1 − α/P, for P problems; NaN for censored
        metrics, which are the numbers of steps to a target.
      p: the p-value of the sign-flip test, corrected by Holm's method for the P problems.
      by_margin: whether the whole interval is outside ±5 %.
      studies_needed: for "undecided", the number of studies that would show the difference with a probability
        of 80 %, if the observed mean and standard deviation are the true ones; None if it is over 1,000, or
        if the metric is censored.
    """

    verdict: str
    effect: float
    low: float
    high: float
    p: float
    by_margin: bool = False
    studies_needed: int | None = None


def is_equivalent(differences: ArrayLike, problems: int = 1, alpha: float = ALPHA) -> bool:
    """Whether the mean difference is within ±5 %: two one-sided t-tests at the level α/P.

    This holds if the t-interval at the level 1 − 2α/P is inside ±5 % (Schuirmann, 1987).

    >>> is_equivalent([0.0, 0.001, -0.001, 0.002])
    True
    """
    low, high = t_interval(differences, 1 - 2 * alpha / problems)
    return low > -MARGIN and high < MARGIN


def smallest_p(studies: int) -> float:
    """The smallest p-value of the two-sided sign-flip test of `studies` pairs.

    >>> smallest_p(8)
    0.0078125
    """
    return 2.0 ** (1 - studies)


def studies_needed(differences: ArrayLike, problems: int = 1, alpha: float = ALPHA) -> int | None:
    """The smallest number of studies with 80 % power, for the observed mean and standard deviation.

    The power is that of the two-sided t-test at the level α/P, which the sign-flip test approaches.

    Returns:
      The number, or None if it is over 1,000.

    >>> studies_needed([0.2, 0.0, 0.3, 0.1, 0.15, -0.05])
    12
    """
    differences = np.asarray(differences, float)
    mean, sd = abs(differences.mean()), differences.std(ddof=1)
    if mean == 0:
        return None
    level = alpha / problems
    minimum = math.ceil(1 - math.log2(level))  # with fewer studies no p-value is small enough
    studies = np.arange(max(minimum, 2), MAX_STUDIES + 1)
    if sd <= 1e-9 * mean:  # equal differences, apart from rounding
        return int(studies[0])
    freedom, noncentrality = studies - 1, mean / sd * np.sqrt(studies)
    critical = stdtrit(freedom, 1 - level / 2)
    power = nct.sf(critical, freedom, noncentrality) + nct.cdf(-critical, freedom, noncentrality)
    return next(map(int, studies[power >= POWER]), None)


def judge(
    differences: Mapping[str, ArrayLike], censored: Mapping[str, bool] | None = None, alpha: float = ALPHA
) -> dict[str, Verdict]:
    """The verdicts of one candidate and one baseline on all problems.

    A verdict of better or worse needs a p-value of the sign-flip test below alpha, after Holm's correction
    for the number of problems. A verdict of equivalent needs two one-sided t-tests with Bonferroni's
    correction. If both hold, the verdict is equivalent. If neither holds, it is undecided.

    Args:
      differences: by problem, the difference of ln(metric) of candidate and baseline in each study.
      censored: by problem, whether the metric is the number of steps to a target, which may not be reached.
        Such a problem has neither an interval nor a test of equivalence.
      alpha: the level of all tests together.

    >>> judge({"a": [-0.3, -0.2, -0.4, -0.3, -0.2, -0.3, -0.25, -0.3]})["a"].verdict
    'better'
    """
    arrays = {name: np.asarray(values, float) for name, values in differences.items()}
    p_values = holm_correction(
        {name: paired_permutation_test(a, np.zeros_like(a)) for name, a in arrays.items()}
    )
    return {
        name: _judge_problem(a, p_values[name], len(arrays), bool((censored or {}).get(name)), alpha)
        for name, a in arrays.items()
    }


def _judge_problem(differences: np.ndarray, p: float, problems: int, censored: bool, alpha: float) -> Verdict:
    effect = float(differences.mean())
    direction = (BETTER if effect < 0 else WORSE) if p < alpha and effect else UNDECIDED
    if censored:
        return Verdict(direction, effect, math.nan, math.nan, p)
    low, high = t_interval(differences, 1 - alpha / problems)
    if is_equivalent(differences, problems, alpha):
        direction = EQUIVALENT
    by_margin = direction in (BETTER, WORSE) and (high < -MARGIN or low > MARGIN)
    needed = studies_needed(differences, problems, alpha) if direction == UNDECIDED else None
    return Verdict(direction, effect, low, high, p, by_margin, needed)
