"""Intervals, tests and summaries of one number for each seed.

The project uses one method for each quantity: a mean over seeds has a t-interval, an optimizer is compared
with another by a paired permutation test with Holm's correction, a setting is selected by its mean on
validation, and a distribution is described by its median, minimum and maximum.

All functions take plain sequences, NumPy arrays or `xarray.DataArray`s, such as
`grid.test_accuracy.isel(epoch=-1)`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy
from jaxtyping import Float
from numpy.typing import ArrayLike

from nnjax.compare._series import to_series

# All sign patterns are tried for up to this number of pairs; 2**20 sums take a hundredth of a second.
MAX_EXACT_PAIRS = 20
RANDOM_SIGN_PATTERNS = 100_000


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The confidence interval of the mean of `values`, by Student's t distribution.

    Args:
      values: one number for each seed, (seeds,).
      level: the probability that the interval contains the mean, for normally distributed values.

    Returns:
      The ends of the interval; NaN for fewer than two values.

    >>> [round(end, 2) for end in t_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    values = _flat(values)
    if len(values) < 2:
        return float("nan"), float("nan")
    half = scipy.special.stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def bootstrap_interval(
    values: ArrayLike,
    level: float = 0.95,
    statistic: Callable[..., Any] = np.mean,
    resamples: int = 9999,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic of `values`.

    Use it for statistics without a t-interval, such as a median. Efron, *Bootstrap methods* (1979).

    Args:
      values: one number for each seed, (seeds,).
      level: the level of confidence.
      statistic: a function with the argument `axis`, such as `np.median`.
      resamples: number of samples that are drawn with replacement.
      seed: random seed of the samples; equal values and seeds give equal intervals.

    >>> bootstrap_interval([3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    values = _flat(values)
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(statistic(values[draws], axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_permutation_test(values: ArrayLike, others: ArrayLike) -> float:
    """The two-sided p-value of paired values; under the null hypothesis, the signs of differences are random.

    The statistic is the mean difference. The test tries all sign patterns for up to 20 pairs, and 100,000
    random sign patterns for more pairs.

    Args:
      values, others: one number for each seed, (seeds,); seed i of both is a pair.

    >>> paired_permutation_test([1, 2, 3], [0, 0, 0])
    0.25
    """
    differences = np.subtract(_flat(values), _flat(others))
    if len(differences) > MAX_EXACT_PAIRS:
        shape = (RANDOM_SIGN_PATTERNS, len(differences))
        signs = np.random.default_rng(0).choice([-1.0, 1.0], shape)
        # The observed pattern counts as one of the patterns, so that p is never 0.
        sums = np.append(signs @ differences, differences.sum())
    else:
        sums = np.zeros(1)
        for difference in differences:
            sums = np.concatenate([sums - difference, sums + difference])
    tolerance = 1e-9 * np.abs(differences).sum()
    return float(np.mean(np.abs(sums) >= abs(differences.sum()) - tolerance))


def holm_correction(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for several comparisons, the smallest first.

    Holm, *A simple sequentially rejective multiple test procedure* (1979).

    >>> holm_correction({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected, previous = {}, 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        previous = max(previous, min(1.0, (len(p_values) - i) * p))
        corrected[name] = previous
    return corrected


def select_best(validation: ArrayLike) -> int:
    """The index of the setting with the highest mean over seeds on validation, the first of equal ones.

    Args:
      validation: correct predictions or accuracy, (settings, seeds).

    >>> select_best([[90, 92], [95, 10], [91, 93]])
    2
    """
    values = np.asarray(validation, float)
    if values.ndim != 2:
        raise ValueError(f"validation must have the shape (settings, seeds), got {values.shape}")
    return int(np.argmax(values.mean(axis=1)))


def final_values(results: Any, metric: str = "test accuracy") -> dict[str, Float[np.ndarray, " seeds"]]:
    """Each seed's value after the last epoch, by label; accuracy and error in percent.

    Args:
      results: a `Grid`, a `History`, a `DataArray`, an array of shape (seeds, epochs), or a mapping from
        labels to histories or arrays.
      metric: "test accuracy", "test error", "validation accuracy", "validation error" or "training cost";
        it selects what is read from a `Grid` or a `History`.

    >>> final_values({"book": [[90.0, 95.0], [91.0, 94.0]]})
    {'book': array([95., 94.])}
    """
    return {label: series[:, -1] for label, series in to_series(results, metric).items()}


def percent(correct: ArrayLike, total: int) -> np.ndarray:
    """Counts as a percentage of `total`.

    >>> percent([9485], 10_000)
    array([94.85])
    """
    return 100 * np.asarray(correct, float) / total


def format_median_range(values: ArrayLike, number: str = "{:.1f} %") -> str:
    """The median of `values`, and in brackets minimum, maximum and number of values.

    >>> format_median_range([94.1, 95.2, 94.6])
    '94.6 % (94.1 % to 95.2 %, n = 3)'
    """
    values = _flat(values)
    low, median, high = (number.format(f(values)) for f in (np.min, np.median, np.max))
    return f"{median} ({low} to {high}, n = {len(values)})" if len(values) > 1 else median


def format_mean_interval(values: ArrayLike, level: float = 0.95, number: str = "{:.2f}") -> str:
    """The mean of `values` in percent, and in brackets its t-interval and the number of values.

    >>> format_mean_interval([99.1, 99.2, 99.3])
    '99.20 % (98.95 to 99.45, n = 3)'
    """
    values = _flat(values)
    mean = f"{number.format(values.mean())} %"
    if len(values) < 2:
        return mean
    low, high = (number.format(end) for end in t_interval(values, level))
    return f"{mean} ({low} to {high}, n = {len(values)})"


def _flat(values: ArrayLike) -> Float[np.ndarray, " seeds"]:
    flat = np.asarray(values, float)
    if flat.ndim != 1 or not flat.size:
        raise ValueError(f"values must be one number for each seed, got an array of shape {flat.shape}")
    return flat
