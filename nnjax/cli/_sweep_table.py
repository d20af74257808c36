"""The table of `nnjax sweep`, a row for each setting."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from nnjax.data import Dataset
from nnjax.sweep import Progress

_RESULT_WIDTH = len("100.00 ± 10.00 %")

Row = dict[str, Any]


class SweepTable:
    """Collects the results of a sweep, and prints the row of each setting when its last seed is trained.

    Args:
      axes: the labels of each axis.
      seeds: networks of each setting.
      data: the data set, whose splits are the columns: accuracies, or costs if there are no classes.
      console: where the rows are printed.
    """

    def __init__(self, axes: Mapping[str, Iterable[Any]], seeds: int, data: Dataset, console: Console):
        self._axes = {name: list(labels) for name, labels in axes.items()}
        self._seeds, self._console = seeds, console
        self.measure = "cost" if data.num_classes is None else "accuracy"
        self._splits = [name for name in ("validation", "test") if len(getattr(data, name).targets)]
        self._networks: dict[tuple, dict[int, Row]] = defaultdict(dict)  # by setting, and then by seed
        self._num_printed = 0

    def add(self, progress: Progress) -> None:
        """Adds the networks in training if they are finished."""
        history = progress.history
        if progress.done < progress.total:
            return
        settings = [tuple(labels[name] for name in self._axes) for labels in progress.settings]
        for i, (setting, labels) in enumerate(zip(settings, progress.settings, strict=True)):
            row = {column: float(getattr(history, column)[-1, i]) for column in self._columns()}
            row["diverged"] = int(history.diverged_at[i] >= 0)
            self._networks[setting][labels["seed"]] = row
        for setting in dict.fromkeys(settings):
            if len(self._networks[setting]) == self._seeds:
                self._print(self._row(setting))

    def rows(self) -> list[Row]:
        """For each setting: its labels, the results of all seeds, and how many networks diverged."""
        return [self._row(setting) for setting in itertools.product(*self._axes.values())]

    def best(self) -> str | None:
        """The setting with the best mean on validation; one that diverged only if all did.

        None without validation examples.
        """
        if "validation" not in self._splits:
            return None
        sign = 1 if self.measure == "accuracy" else -1
        column = f"validation_{self.measure}"
        best = max(self.rows(), key=lambda row: (-row["diverged"], sign * sum(row[column])))
        settings = ", ".join(f"{name} {best[name]}" for name in self._axes)
        line = f"best on validation: {settings}"
        if "test" in self._splits:
            line += f"; test {self.measure} {self._text(best[f'test_{self.measure}'])}"
        return line

    def _columns(self) -> list[str]:
        return [f"{split}_{self.measure}" for split in self._splits]

    def _row(self, setting: tuple) -> Row:
        networks = [self._networks[setting][seed] for seed in range(self._seeds)]
        results = {column: [network[column] for network in networks] for column in self._columns()}
        diverged = sum(network["diverged"] for network in networks)
        return dict(zip(self._axes, setting, strict=True)) | results | {"diverged": diverged}

    def _print(self, row: Row) -> None:
        table = Table(box=None, pad_edge=False, show_header=not self._num_printed)
        for name, labels in self._axes.items():
            table.add_column(name, min_width=max(len(str(text)) for text in (name, *labels)))
        for split in self._splits:
            table.add_column(split, min_width=_RESULT_WIDTH)
        table.add_column()
        results = (self._text(row[column]) for column in self._columns())
        note = f"{row['diverged']} of {self._seeds} diverged" if row["diverged"] else ""
        table.add_row(*(str(row[name]) for name in self._axes), *results, note)
        self._console.print(table)
        self._num_printed += 1

    def _text(self, values: list[float]) -> str:
        """The mean, and of several values the standard deviation; accuracies in percent."""
        scale, number, unit = (100, "{:.2f}", " %") if self.measure == "accuracy" else (1, "{:.4f}", "")
        parts = [fmean(values), *([stdev(values)] if len(values) > 1 else [])]
        return " ± ".join(number.format(scale * part) for part in parts) + unit
