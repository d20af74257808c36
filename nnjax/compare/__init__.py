"""Comparison of trained networks: statistics over seeds, plots, and the HTML report."""

from nnjax.compare import plots, report, scores, statistics, verdicts

__all__ = ["plots", "report", "scores", "statistics", "verdicts"]
