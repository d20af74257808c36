"""`nnjax sweep`.

A record contains the configuration, the data set and the seed, as for `nnjax train`; the values of each axis;
the accuracies of all seeds for each combination of values; the histories, for `xarray.Dataset.from_dict`; and
the environment.
"""

import signal
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import jax
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tyro.conf import OmitArgPrefixes, arg

from nnjax.cli._dask import DaskFlag, UnitTimeout, dask_client
from nnjax.cli._datasets import load_dataset
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
from nnjax.cli._outputs import Outputs
from nnjax.cli._runtime_flags import ConfigFlag, StorageFlags, Switch
from nnjax.cli._settings import Settings, load_settings
from nnjax.cli._sweep_table import SweepTable
from nnjax.cli.console import console, print_json
from nnjax.cli.signals import StopRequest, stop_after_epoch
from nnjax.config import SWEEP_ARGUMENTS, TrainConfig
from nnjax.data import Dataset
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
    dask: DaskFlag = None
    """Train on the workers of the Dask scheduler at this address, such as tcp://HOST:8786."""
    unit_timeout: UnitTimeout = 600.0
    """With --dask, the maximum seconds of a unit of work, the networks of one program."""
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
        """The settings that all networks share, and the values of each axis by their labels.

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
        # The columns of the table are in the order of the fields.
        return settings, {
            f: _axis(settings.config, f, axes[f]) for f in settings.config.to_json() if f in axes
        }

    def run(self) -> int:
        settings, axes = self.settings()
        seeds = check_positive_int("seeds", self.run_flags.seeds)
        self.storage.check()
        if self.storage.plot and not 1 <= len(axes) <= MAX_PLOT_AXES:
            raise ValueError(
                f"--plot must be used with one or two flags that have several values, got {len(axes)}"
            )
        console.print(f"loading {settings.dataset}")
        data = load_dataset(settings.dataset, self.run_flags.data_dir)
        settings = settings._replace(dataset=data.name)
        table = SweepTable(axes, seeds, data, console)
        immediately = self.dask is not None
        with dask_client(self.dask) as client, _ProgressBar() as bar, stop_after_epoch(immediately) as stop:
            try:
                grid = self._train(settings, axes, seeds, data, table, bar, stop, client)
            except KeyboardInterrupt:
                console.print(self._interrupted())
                return stop.code
        rows = table.rows()
        record = settings.to_json() | {
            "axes": {name: list(values) for name, values in axes.items()},
            "seeds": seeds,
            "results": rows,
            "grid": grid.data.to_dict(),
            "environment": environment(),
        }
        outputs = self._write(grid, data, record)
        if len(rows) > 1 and (best := table.best()):
            console.print(best)
        outputs.print()
        if self.json:
            print_json(record)
        outputs.check()
        return 0

    def _train(
        self,
        settings: Settings,
        axes: dict[str, dict[Any, Any]],
        seeds: int,
        data: Dataset,
        table: SweepTable,
        bar: "_ProgressBar",
        stop: StopRequest,
        executor: Any,
    ) -> Grid:
        tracker = self.storage.tracker()

        def on_epoch(progress: SweepProgress) -> None:
            if tracker:
                tracker(progress)
            try:
                bar.show(progress)
                table.add(progress)
            except OSError:  # nobody reads the table: train only for what is written to files
                console.quiet = True
                if not (self.storage.record or self.storage.plot):
                    stop.signal = stop.signal or signal.SIGINT
            if stop.signal is not None:
                raise KeyboardInterrupt

        sizes = " x ".join(
            [f"{len(v)} {name}" for name, v in axes.items()] + [f"{seeds} seed{'s' * (seeds > 1)}"]
        )
        console.print(f"{data.name}: training {sizes} on {len(data.train.targets):,} examples")
        spread = f", mean ± standard deviation of {seeds} seeds" if seeds > 1 else ""
        console.print(f"{table.measure} after the last epoch{spread}:")
        resume = settings.resume_settings() | {
            f"--{name.replace('_', '-')}": " ".join(map(str, values)) for name, values in axes.items()
        }
        checkpoint = self.storage.checkpoint_policy(resume | {"--seeds": str(seeds)})
        key = jax.random.key(settings.seed)
        return settings.config.sweep(
            key,
            data,
            seeds=seeds,
            callback=on_epoch,
            checkpoint=checkpoint,
            executor=executor,
            unit_timeout_s=self.unit_timeout,
            **axes,
        )

    def _interrupted(self) -> str:
        if self.storage.checkpoint_dir is None:
            return "interrupted, nothing is saved; use --checkpoint-dir to resume interrupted sweeps"
        return f"interrupted; resume from the last checkpoint with: {command_line('sweep', self)}"

    def _write(self, grid: Grid, data: Dataset, record: dict[str, Any]) -> Outputs:
        outputs = Outputs()
        if self.storage.record:
            outputs.write("record", self.storage.record, write_record, record)
        if self.storage.plot:
            outputs.write("figure", self.storage.plot, write_figure, sweep_figure(grid, data.name))
        return outputs


def _axis(config: TrainConfig, name: str, values: tuple) -> dict[Any, Any]:
    """The values of an axis by their labels, checked as fields of a configuration."""
    labels = [value if isinstance(value, int | float) else to_arguments((value,))[0] for value in values]
    if name == "hidden":
        labels = [value[0] if len(value) == 1 else label for value, label in zip(values, labels, strict=True)]
    if len(set(labels)) < len(labels):
        raise ValueError(f"--{name.replace('_', '-')} must have different values, got {labels}")
    fields = [getattr(replace(config, **{name: value}), name) for value in values]
    return dict(zip(labels, fields, strict=True))


class _ProgressBar:
    """On a terminal, a progress bar of a sweep."""

    def __init__(self):
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
        epoch = f"epoch {progress.done} / {progress.total}"
        self._bar.update(self._task, completed=progress.fraction, description=f"{networks}, {epoch}")
