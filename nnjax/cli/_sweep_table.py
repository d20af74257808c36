"""The table of `nnjax sweep`, a row for each setting."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from nnjax.cli.console import percent
from nnjax.sweep import Progress

_ACCURACY_WIDTH = len("100.00 ± 10.00 %")

Row = dict[str, Any]


class SweepTable:
    """Collects the results of a sweep, and prints the row of a setting when its last seed is trained.

    Args:
      axes: the labels of each axis.
      seeds: networks of each setting.
      console: where the rows are printed.
    """

    def __init__(self, axes: Mapping[str, Iterable[Any]], seeds: int, console: Console):
        self._axes = {name: list(labels) for name, labels in axes.items()}
        self._seeds, self._console = seeds, console
        self._networks: dict[tuple, dict[int, Row]] = defaultdict(dict)  # by setting, and then by seed
        self._num_printed = 0

    def add(self, progress: Progress) -> None:
        """Adds the networks in training if they are finished."""
        history = progress.history
        if len(history) < progress.num_epochs:
            return
        settings = [tuple(labels[name] for name in self._axes) for labels in progress.settings]
        for i, (setting, labels) in enumerate(zip(settings, progress.settings, strict=True)):
            self._networks[setting][labels["seed"]] = {
                "validation_accuracy": float(history.validation_accuracy[-1, i]),
                "test_accuracy": float(history.test_accuracy[-1, i]),
                "diverged": int(history.diverged_at[i] >= 0),
            }
        for setting in dict.fromkeys(settings):
            if len(self._networks[setting]) == self._seeds:
                self._print(self._row(setting))

    def rows(self) -> list[Row]:
        """For each setting: its labels, the accuracies of all seeds, and how many networks diverged."""
        return [self._row(setting) for setting in itertools.product(*self._axes.values())]

    def best(self) -> str:
        """The setting with the best mean validation accuracy, of those with the fewest diverged networks."""
        best = max(self.rows(), key=lambda row: (-row["diverged"], sum(row["validation_accuracy"])))
        settings = ", ".join(f"{name} {best[name]}" for name in self._axes)
        return f"best on validation: {settings}; test accuracy {_mean_and_deviation(best['test_accuracy'])}"

    def _row(self, setting: tuple) -> Row:
        networks = [self._networks[setting][seed] for seed in range(self._seeds)]
        return dict(zip(self._axes, setting, strict=True)) | {
            "validation_accuracy": [network["validation_accuracy"] for network in networks],
            "test_accuracy": [network["test_accuracy"] for network in networks],
            "diverged": sum(network["diverged"] for network in networks),
        }

    def _print(self, row: Row) -> None:
        table = Table(box=None, pad_edge=False, show_header=not self._num_printed)
        for name, labels in self._axes.items():
            table.add_column(name, min_width=max(len(str(text)) for text in (name, *labels)))
        for split in ("validation", "test"):
            table.add_column(split, min_width=_ACCURACY_WIDTH)
        table.add_column()
        accuracies = (_mean_and_deviation(row[f"{split}_accuracy"]) for split in ("validation", "test"))
        note = f"{row['diverged']} of {self._seeds} diverged" if row["diverged"] else ""
        table.add_row(*(str(row[name]) for name in self._axes), *accuracies, note)
        self._console.print(table)
        self._num_printed += 1


def _mean_and_deviation(accuracies: list[float]) -> str:
    mean = fmean(accuracies)
    if len(accuracies) == 1:
        return percent(mean)
    return f"{100 * mean:.2f} ± {100 * stdev(accuracies):.2f} %"
