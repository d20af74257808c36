"""Comparison of networks and optimizers: test problems, statistics, verdicts, scores, plots and pages.

Import its modules by name, such as `from nnjax.compare import plots`. The package does not import all of
them, because some are slow to import.
"""

from nnjax.compare._compare import CompareProgress, compare
from nnjax.compare._distributions import LogUniform, log_uniform, one_minus_log_uniform
from nnjax.compare._problem import Problem
from nnjax.compare._tunable import Tunable

__all__ = [
    "CompareProgress",
    "LogUniform",
    "Problem",
    "Tunable",
    "compare",
    "log_uniform",
    "one_minus_log_uniform",
]
