"""Scores of tuned optimizers: best of k trials, scores across problems, and shares with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri


class BestOfK(NamedTuple):
    """The results of tuning with k trials, for several k.

    Attributes:
      k: the numbers of trials, 1, 2, 3 and so on.
      expected: the mean result of the best of k trials.
      low, high: the 10th and the 90th percentile of this result.
    """

    k: np.ndarray
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray


def best_of_k(selection: ArrayLike, results: ArrayLike, maximum: int | None = None) -> BestOfK:
    """The result of the best of k trials, for each k, over all subsets of k of the n trials.

    In a share w_i of the subsets, the best trial by selection is the i-th best of all n trials: w_1 = k/n and
    w_{i+1} = w_i (n − i − k + 1)/(n − i). This is the unbiased estimate (a U-statistic) of Tang and others,
    *Showing your work doesn't always work* (2020); the estimate of Dodge and others (2019) is biased.

    Args:
      selection: the values by which trials are selected, (n,); smaller is better.
      results: the values that are reported, (n,).
      maximum: the largest k; by default n/2.

    >>> best_of_k([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 3).expected.tolist()
    [2.0, 1.3333333333333333, 1.0]
    """
    selection, results = np.asarray(selection, float), np.asarray(results, float)
    if selection.ndim != 1 or selection.shape != results.shape or not selection.size:
        raise ValueError(
            f"selection and results must be (n,) for n trials, got {selection.shape} and {results.shape}"
        )
    n = len(results)
    by_rank = results[np.argsort(selection, kind="stable")]
    ks = range(1, (n // 2 if maximum is None else maximum) + 1)
    weights = np.array([_weights(n, k) for k in ks]).reshape(len(ks), n)
    order = np.argsort(by_rank, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)

    def quantile(level):
        return by_rank[order[(cumulative >= level - 1e-12).argmax(axis=1)]]

    return BestOfK(np.array(ks), weights @ by_rank, quantile(0.1), quantile(0.9))


def _weights(n: int, k: int) -> Float[np.ndarray, " n"]:
    """For each i, the share of the subsets of k of n trials whose best trial is the i-th best of all."""
    i = np.arange(1, n)
    return np.cumprod(np.append(k / n, np.maximum(n - i - k + 1, 0) / (n - i)))


def log_score(metric: ArrayLike, initial: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """The score (ln m₀ − ln m) / (ln m₀ − ln m_ref) of a metric m, between 0 and 1.5.

    The score is 0 for the initial metric, 1 for the metric of the reference, and larger for a better metric.

    Args:
      metric: positive metrics; smaller is better.
      initial: the metric before training, m₀.
      reference: the metric of the reference, m_ref, smaller than m₀.

    >>> log_score([1.0, 0.1, 0.01], 1.0, 0.1).tolist()
    [0.0, 1.0, 1.5]
    """
    metric, initial, reference = (np.log(np.asarray(x, float)) for x in (metric, initial, reference))
    return np.clip((initial - metric) / (initial - reference), 0, 1.5)


def interquartile_mean(values: ArrayLike, axis: int | None = None) -> np.ndarray:
    """The mean without the lowest and the highest quarter of the values.

    A quarter of n values is n/4 rounded down, as in `scipy.stats.trim_mean`.

    >>> float(interquartile_mean([100.0, 1.0, 2.0, 3.0]))
    2.5
    """
    values = np.asarray(values, float)
    values = values.ravel() if axis is None else np.moveaxis(values, axis, -1)
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def stratified_interquartile_mean(
    groups: Sequence[ArrayLike], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """The interquartile mean of the scores of all problems, with its stratified bootstrap interval.

    Every resample draws as many scores of each problem as there are, with replacement (Agarwal and others,
    *Deep reinforcement learning at the edge of the statistical precipice*, 2021).

    Args:
      groups: for each problem, the scores of its studies.
      level: the level of confidence.
      resamples: the number of resamples.
      seed: the random seed of the resamples.

    Returns:
      The interquartile mean, and the ends of the interval.

    >>> stratified_interquartile_mean([[1.0, 1.0], [1.0]])
    (1.0, 1.0, 1.0)
    """
    random = np.random.default_rng(seed)
    arrays = [np.asarray(group, float) for group in groups]
    draws = [array[random.integers(0, len(array), (resamples, len(array)))] for array in arrays]
    means = interquartile_mean(np.concatenate(draws, axis=1), axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(interquartile_mean(np.concatenate(arrays))), float(low), float(high)


def performance_profile(ratios: ArrayLike, at: ArrayLike) -> np.ndarray:
    """The share of problems that an optimizer solves within τ times the time of the fastest one, for each τ.

    Dolan and Moré, *Benchmarking optimization software with performance profiles* (2002).

    Args:
      ratios: for each problem, the optimizer's time divided by the smallest of all optimizers; infinite if
        the target was not reached.
      at: the values of τ.

    >>> performance_profile([1.0, 3.0, np.inf], [1, 2, 4]).tolist()
    [0.3333333333333333, 0.3333333333333333, 0.6666666666666666]
    """
    return (np.asarray(ratios, float)[:, None] <= np.asarray(at, float)[None]).mean(axis=0)


def wilson_interval(successes: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """The approximate interval of a share (Wilson, 1927).

    >>> [round(end, 3) for end in wilson_interval(5, 10)]
    [0.237, 0.763]
    """
    z, share = ndtri((1 + level) / 2), successes / total
    center = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    return float(max(center - half, 0)), float(min(center + half, 1))


def binomial_interval(successes: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, 1934).

    >>> [round(end, 3) for end in binomial_interval(0, 20)]
    [0.0, 0.168]
    """
    tail = (1 - level) / 2
    low = betaincinv(successes, total - successes + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, total - successes, 1 - tail) if successes < total else 1.0
    return float(low), float(high)
