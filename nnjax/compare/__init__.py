"""Comparison of networks and optimizers: test problems, statistics, verdicts, scores, plots and pages."""

from nnjax.compare import claims, plots, problems, scores, statistics, verdicts
from nnjax.compare._problem import Problem

__all__ = ["Problem", "claims", "plots", "problems", "scores", "statistics", "verdicts"]
