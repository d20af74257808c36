"""Intervals and tests over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats


def interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The interval of the mean of `values`, (seeds,), by bootstrap (percentiles, fixed draws)."""
    values = np.asarray(values, float)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=9999, method="percentile", confidence_level=level, rng=0
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def student(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The interval of the mean of a few `values` as if they were normal: by Student's t.

    >>> [f"{end:.2f}" for end in student([1.0, 2.0, 3.0])]
    ['-0.48', '4.48']
    """
    values = np.asarray(values, float)
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def paired(values: Sequence[float] | np.ndarray, others: Sequence[float] | np.ndarray) -> float:
    """The p-value of pairs, seed by seed, under no difference: of all ways to sign the differences.

    Two-sided, and exact up to twenty pairs; of more, a hundred thousand signings are drawn.

    >>> paired([1, 2, 3], [0, 0, 0])
    0.25
    """
    differences = np.subtract(values, others).astype(float)
    if len(differences) > 20:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (100_000, len(differences)))
        sums = np.append(signs @ differences, differences.sum())  # as it is, is one of the signings
    else:
        sums = np.zeros(1)
        for difference in differences:
            sums = np.concatenate([sums - difference, sums + difference])
    return float(np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9))


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


def recall(matrix: np.ndarray) -> np.ndarray:
    """The share of each label's images that are read rightly, of a confusion matrix.

    >>> recall(np.array([[3, 1], [0, 4]])).tolist()
    [0.75, 1.0]
    """
    return np.diagonal(matrix) / np.sum(matrix, axis=1)


STUCK = 0.5


def stuck(recalls: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Which networks, of their recalls (network, label), read some label less than half the time.

    The output neuron of such a label is as a rule stuck near 0.
    """
    return np.min(recalls, axis=1) < STUCK
