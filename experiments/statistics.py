"""Intervals and tests over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of `values`, (seeds,), by bootstrap (percentiles, fixed draws)."""
    values = np.asarray(values, float)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=0)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired(values: Sequence[float] | np.ndarray, others: Sequence[float] | np.ndarray) -> float:
    """The p-value of pairs, seed by seed, under no difference: its signs permuted, two-sided."""
    differences = np.subtract(values, others)
    if len(differences) < 2 or not differences.any():
        return 1.0
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=99_999, rng=0
    )
    return float(found.pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for being many, step by step (Holm, 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected, least = {}, 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(p_values) - i) * p))
        corrected[name] = least
    return corrected
