"""Comparison of trained networks: statistics over seeds, plots, and the HTML report."""

from nnjax.compare import plots, report, statistics

__all__ = ["plots", "report", "statistics"]
