"""Distributions of hyper-parameters, which are sampled by their quantiles."""

import math
import numbers
from dataclasses import dataclass, replace
from typing import Any


def is_number(value: Any) -> bool:
    """Whether `value` is a real number; booleans are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class LogUniform:
    """The distribution of a hyper-parameter whose logarithm is uniform between two bounds.

    Attributes:
      low, high: the bounds of the sample x, 0 < low < high.
      one_minus: whether the hyper-parameter is 1 − x instead of x, as for a momentum near 1.
      zero_share: the probability that the hyper-parameter is exactly 0.
    """

    low: float
    high: float
    one_minus: bool = False
    zero_share: float = 0.0

    def __post_init__(self):
        if not (is_number(self.low) and is_number(self.high) and 0 < self.low < self.high < math.inf):
            raise ValueError(
                f"low and high must be finite numbers with 0 < low < high, got {self.low!r}, {self.high!r}"
            )
        if self.one_minus and self.high > 1:
            raise ValueError(f"high must be at most 1 for a value 1 - x, got {self.high!r}")
        if not (is_number(self.zero_share) and 0 <= self.zero_share < 1):
            raise ValueError(f"zero_share must be at least 0 and less than 1, got {self.zero_share!r}")

    def __str__(self) -> str:
        range_of_sample = f"{self.low:g} to {self.high:g}"
        text = f"1 - ({range_of_sample})" if self.one_minus else range_of_sample
        return f"{text}, or 0" if self.zero_share else text

    def at(self, u: float) -> float:
        """The value at the quantile u of the sample, 0 ≤ u < 1.

        >>> [round(LogUniform(0.01, 1).at(u), 6) for u in (0, 0.5, 0.75)]
        [0.01, 0.1, 0.316228]
        """
        if u < self.zero_share:
            return 0.0
        u = (u - self.zero_share) / (1 - self.zero_share)
        sample = min(max(self.low * (self.high / self.low) ** u, self.low), self.high)
        return 1 - sample if self.one_minus else sample

    def scaled(self, factor: float) -> "LogUniform":
        """The distribution with both bounds multiplied by `factor`."""
        return replace(self, low=factor * self.low, high=factor * self.high)

    def widened(self, below: int, above: int) -> "LogUniform":
        """The distribution with the lower bound `below` decades lower, and the upper bound `above` higher."""
        return replace(self, low=self.low / 10**below, high=self.high * 10**above)

    @property
    def median(self) -> float:
        """The value at the quantile ½: the geometric mean of the bounds, if `zero_share` is 0."""
        return self.at(0.5)


def log_uniform(low: float, high: float) -> LogUniform:
    """The log-uniform distribution between two bounds: every factor of 10 has the same probability.

    Args:
      low, high: the bounds, 0 < low < high.

    Raises:
      ValueError: the bounds do not satisfy this condition.

    >>> round(log_uniform(1e-4, 1).median, 6)
    0.01
    """
    return LogUniform(low, high)


def one_minus_log_uniform(low: float, high: float) -> LogUniform:
    """The distribution of 1 − x for a log-uniform x, as for momenta.

    Args:
      low, high: the bounds of x, 0 < low < high ≤ 1.

    Raises:
      ValueError: the bounds do not satisfy this condition.

    >>> round(one_minus_log_uniform(0.001, 0.1).median, 6)
    0.99
    """
    return LogUniform(low, high, one_minus=True)
