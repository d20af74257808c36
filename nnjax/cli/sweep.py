"""`nnjax sweep`.

A record has the configuration, the data set and the seed, as that of `nnjax train`; the values of each axis;
for each combination of them the accuracies of all seeds; the histories, as `xarray.Dataset.from_dict` takes
them; and the environment.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import jax
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from tyro.conf import OmitArgPrefixes, arg

from nnjax.cli._figures import sweep_figure, write_figure
from nnjax.cli._flags import (
    ModelAxes,
    ObjectiveFlags,
    OptimizerAxes,
    SweepRunFlags,
    command_line,
    to_arguments,
    used_flags,
)
from nnjax.cli._runtime_flags import ConfigFlag, StorageFlags, Switch
from nnjax.cli._settings import Settings, load_settings
from nnjax.cli.console import console, percent, print_json
from nnjax.cli.signals import StopRequest, stop_after_epoch
from nnjax.config import SWEEP_ARGUMENTS, TrainConfig
from nnjax.data import Dataset, load
from nnjax.runtime.checks import check_positive_int
from nnjax.runtime.environment import environment
from nnjax.storage import write_record
from nnjax.sweep import Grid
from nnjax.sweep import Progress as SweepProgress

MAX_PLOT_AXES = 2


@dataclass
class Sweep:
    """Train a network for every combination of settings and seeds, and compare the accuracies.

    Example: nnjax sweep --hidden 10 30 100 --learning-rate 0.3 1 3 --seeds 5
    """

    config: ConfigFlag = "book"
    json: Switch = False
    """Print the record of the sweep as JSON on standard output, and messages on standard error."""
    model: OmitArgPrefixes[ModelAxes] = field(default_factory=ModelAxes)
    objective: OmitArgPrefixes[ObjectiveFlags] = field(default_factory=ObjectiveFlags)
    optimizer: OmitArgPrefixes[OptimizerAxes] = field(default_factory=OptimizerAxes)
    run_flags: Annotated[OmitArgPrefixes[SweepRunFlags], arg(name="run")] = field(
        default_factory=SweepRunFlags
    )
    storage: OmitArgPrefixes[StorageFlags] = field(default_factory=StorageFlags)

    def settings(self) -> tuple[Settings, dict[str, dict[Any, Any]]]:
        """What all networks have in common, and of each axis the values by their labels.

        Raises:
          ValueError: a flag is wrong.
        """
        flags, axes = used_flags(self.model, self.objective, self.optimizer, self.run_flags), {}
        for name in SWEEP_ARGUMENTS & set(flags):
            if not flags[name]:
                raise ValueError(f"--{name.replace('_', '-')} must have at least one value")
            if len(flags[name]) > 1:
                axes[name] = flags.pop(name)
            else:
                (flags[name],) = flags[name]
        settings = load_settings(self.config).changed(flags)
        # In the order of the fields, which is that of the table.
        return settings, {
            f: _axis(settings.config, f, axes[f]) for f in settings.config.to_json() if f in axes
        }

    def run(self) -> int:
        settings, axes = self.settings()
        seeds = check_positive_int("seeds", self.run_flags.seeds)
        self.storage.check()
        if self.storage.plot and not 1 <= len(axes) <= MAX_PLOT_AXES:
            raise ValueError(f"--plot must have one or two flags with several values, got {len(axes)}")
        console.print(f"loading {settings.dataset}")
        data = load(settings.dataset, self.run_flags.data_dir)
        settings = settings._replace(dataset=data.name)
        with _Display(settings.config.epochs) as display, stop_after_epoch() as stop:
            try:
                grid = self._train(settings, axes, seeds, data, display, stop)
            except KeyboardInterrupt:
                console.print(self._interrupted())
                return stop.code
        rows = list(_rows(grid, axes))
        record = settings.to_json() | {
            "axes": {name: list(values) for name, values in axes.items()},
            "seeds": seeds,
            "results": rows,
            "grid": grid.data.to_dict(),
            "environment": environment(),
        }
        self._write(grid, data, record)
        console.print(_table(rows, list(axes), seeds, data))
        if len(rows) > 1:
            console.print(_best(rows, list(axes)))
        if self.json:
            print_json(record)
        return 0

    def _train(
        self,
        settings: Settings,
        axes: dict[str, dict[Any, Any]],
        seeds: int,
        data: Dataset,
        display: "_Display",
        stop: StopRequest,
    ) -> Grid:
        def on_epoch(progress: SweepProgress) -> None:
            display.show(progress)
            if stop.signal is not None:
                raise KeyboardInterrupt

        sizes = " x ".join(
            [f"{len(v)} {name}" for name, v in axes.items()] + [f"{seeds} seed{'s' * (seeds > 1)}"]
        )
        console.print(f"{data.name}: training {sizes} on {len(data.train.targets):,} images")
        resume = settings.resume_settings() | {
            f"--{name.replace('_', '-')}": " ".join(map(str, values)) for name, values in axes.items()
        }
        checkpoint = self.storage.checkpoint_policy(resume | {"--seeds": str(seeds)})
        key = jax.random.key(settings.seed)
        return settings.config.sweep(key, data, seeds=seeds, callback=on_epoch, checkpoint=checkpoint, **axes)

    def _interrupted(self) -> str:
        if self.storage.checkpoint_dir is None:
            return "interrupted, nothing is saved; with --checkpoint-dir it could be resumed"
        return f"interrupted; resume from the last checkpoint with: {command_line('sweep', self)}"

    def _write(self, grid: Grid, data: Dataset, record: dict[str, Any]) -> None:
        if self.storage.record:
            write_record(self.storage.record, record)
            console.print(f"record in {self.storage.record}")
        if self.storage.plot:
            accuracy = grid.validation_accuracy.isel(epoch=-1)
            write_figure(self.storage.plot, sweep_figure(accuracy, f"{data.name}: validation accuracy"))
            console.print(f"figure in {self.storage.plot}")


def _axis(config: TrainConfig, name: str, values: tuple) -> dict[Any, Any]:
    """The values of an axis by their labels, checked as fields of a configuration."""
    labels = [value if isinstance(value, int | float) else to_arguments((value,))[0] for value in values]
    if name == "hidden":
        labels = [value[0] if len(value) == 1 else label for value, label in zip(values, labels, strict=True)]
    if len(set(labels)) < len(labels):
        raise ValueError(f"--{name.replace('_', '-')} must have different values, got {labels}")
    fields = [getattr(replace(config, **{name: value}), name) for value in values]
    return dict(zip(labels, fields, strict=True))


def _rows(grid: Grid, axes: dict[str, dict[Any, Any]]) -> Iterator[dict[str, Any]]:
    """For each combination of labels: the accuracies of all seeds, and how many networks diverged."""
    for labels in itertools.product(*axes.values()):
        setting = dict(zip(axes, labels, strict=True))
        yield setting | {
            "validation_accuracy": grid.validation_accuracy.isel(epoch=-1).sel(setting).values.tolist(),
            "test_accuracy": grid.test_accuracy.isel(epoch=-1).sel(setting).values.tolist(),
            "diverged": int((grid.diverged_at.sel(setting) >= 0).sum()),
        }


def _table(rows: list[dict[str, Any]], axes: list[str], seeds: int, data: Dataset) -> Table:
    title = f"{data.name}: accuracy after the last epoch"
    if seeds > 1:
        title += f", mean ± standard deviation of {seeds} seeds"
    diverged = any(row["diverged"] for row in rows)
    table = Table(*axes, "validation", "test", *(["diverged"] if diverged else []), title=title)
    for row in rows:
        accuracies = (_mean_and_spread(row[f"{split}_accuracy"]) for split in ("validation", "test"))
        cells = [f"{row['diverged']} of {seeds}"] if diverged else []
        table.add_row(*(str(row[name]) for name in axes), *accuracies, *cells)
    return table


def _mean_and_spread(accuracies: list[float]) -> str:
    mean = sum(accuracies) / len(accuracies)
    if len(accuracies) == 1:
        return percent(mean)
    variance = sum((a - mean) ** 2 for a in accuracies) / (len(accuracies) - 1)
    return f"{100 * mean:.2f} ± {100 * variance**0.5:.2f} %"


def _best(rows: list[dict[str, Any]], axes: list[str]) -> str:
    best = max(rows, key=lambda row: (-row["diverged"], sum(row["validation_accuracy"])))
    settings = ", ".join(f"{name} {best[name]}" for name in axes)
    return f"best on validation: {settings}: test {_mean_and_spread(best['test_accuracy'])}"


class _Display:
    """On a terminal, a progress bar of a sweep."""

    def __init__(self, epochs: int):
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("compiling", total=1.0)

    def __enter__(self):
        self._bar.__enter__()
        return self

    def __exit__(self, *error):
        self._bar.__exit__(*error)

    def show(self, progress: SweepProgress) -> None:
        """Draws the progress after an epoch."""
        networks = f"{progress.networks} of {progress.num_networks} networks"
        epoch = f"epoch {progress.epoch} / {progress.num_epochs}"
        self._bar.update(self._task, completed=progress.fraction, description=f"{networks}, {epoch}")
