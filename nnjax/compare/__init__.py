"""Comparison of trained networks: statistics over seeds, verdicts, scores, plots and HTML pages."""

from nnjax.compare import claims, plots, scores, statistics, verdicts

__all__ = ["claims", "plots", "scores", "statistics", "verdicts"]
