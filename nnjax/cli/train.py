"""`nnjax train`.

The settings in a model file are the configuration, the data set, the seed and the number of trained epochs:
{"config": {...}, "dataset": "mnist", "seed": 0, "epochs": 30}. A record has the same, and the path of the
model, the history, the divergence if there was one, and the environment.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
from jax.sharding import Mesh
from tyro.conf import OmitArgPrefixes, arg

from nnjax.cli._datasets import load_dataset
from nnjax.cli._figures import learning_curve, write_figure
from nnjax.cli._flags import (
    ModelFlags,
    ObjectiveFlags,
    OptimizerFlags,
    RunFlags,
    command_line,
    used_flags,
)
from nnjax.cli._outputs import Outputs
from nnjax.cli._runtime_flags import ConfigFlag, DeviceFlags, Switch, TrainStorageFlags
from nnjax.cli._settings import Settings, load_settings
from nnjax.cli.console import Display, console, print_json
from nnjax.cli.outcome import TrainingOutcome
from nnjax.cli.signals import stop_after_epoch
from nnjax.data import Dataset
from nnjax.nn.conv import layer_sizes
from nnjax.runtime.environment import environment
from nnjax.runtime.files import make_dir
from nnjax.runtime.multihost import on_primary, primary_first
from nnjax.storage import CheckpointPolicy, model_dir, model_path, save_model, write_record
from nnjax.training import Run


@dataclass
class Train:
    """Train a network to classify images by stochastic gradient descent."""

    config: ConfigFlag = "book"
    json: Switch = False
    """Print the record of the run as JSON on standard output, and messages on standard error."""
    model: OmitArgPrefixes[ModelFlags] = field(default_factory=ModelFlags)
    objective: OmitArgPrefixes[ObjectiveFlags] = field(default_factory=ObjectiveFlags)
    optimizer: OmitArgPrefixes[OptimizerFlags] = field(default_factory=OptimizerFlags)
    run_flags: Annotated[OmitArgPrefixes[RunFlags], arg(name="run")] = field(default_factory=RunFlags)
    storage: OmitArgPrefixes[TrainStorageFlags] = field(default_factory=TrainStorageFlags)
    devices: Annotated[OmitArgPrefixes[DeviceFlags], arg(name="device")] = field(default_factory=DeviceFlags)

    def settings(self) -> Settings:
        """The configuration, data set and seed; raises ValueError if a flag is wrong."""
        flags = used_flags(self.model, self.objective, self.optimizer, self.run_flags)
        return load_settings(self.config).changed(flags)

    def run(self) -> int:
        settings = self.settings()
        self.storage.check()
        self.devices.check()
        uses_checkpoints = self.storage.checkpoint_dir is not None
        self.devices.connect(settings.by_flag() | {"--checkpoint-dir": uses_checkpoints})
        console.print(f"loading {settings.dataset}")
        try:
            data = primary_first(lambda: load_dataset(settings.dataset, self.run_flags.data_dir))
            settings = settings._replace(dataset=data.name)
            checkpoint = self.storage.checkpoint_policy(settings.resume_settings())
            tracker = self.storage.tracker() if jax.process_index() == 0 else None
            outcome = train(settings, data, checkpoint, self.devices.mesh(), tracker)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("nothing was trained") from None
        try:
            on_primary(lambda: self._write(outcome, settings, data))
        finally:
            hint = "use --checkpoint-dir to resume interrupted trainings"
            if checkpoint:
                hint = f"resume with: {command_line('train', self)}"
            code = outcome.report(settings.config.epochs, hint)
        return code

    def _write(self, outcome: TrainingOutcome, settings: Settings, data: Dataset) -> None:
        """Writes model, record and figure, each of them even if another one fails.

        Raises:
          ValueError: at the end, what could not be written.
        """
        assert outcome.run is not None
        outputs = Outputs()
        model = outputs.attempt(self._save_model, outcome, settings, data)
        record = _record(outcome, settings, model)
        if self.storage.record:
            outputs.write("record", self.storage.record, write_record, record)
        if self.storage.plot:
            figure = learning_curve(outcome.run.history, data.name)
            outputs.write("figure", self.storage.plot, write_figure, figure)
        if model:
            console.print(f"model in {model}: nnjax evaluate {model}")
        outputs.print()
        if self.json:
            print_json(record)
        outputs.check()

    def _save_model(self, outcome: TrainingOutcome, settings: Settings, data: Dataset) -> Path | None:
        """Saves the model of the last finite epoch; returns its file, or None if there is none.

        Raises:
          OSError: the file of --save cannot be written; for the model folder that is a warning.
        """
        run = outcome.last_finite
        if run is None or self.storage.no_save:
            return None
        model_settings = settings.to_json() | {"epochs": len(run.history)}
        path = self.storage.save or model_path(model_settings)
        try:
            if not self.storage.save:
                make_dir(model_dir())
            _save(path, run, settings, data, model_settings)
        except (OSError, ValueError) as error:
            if self.storage.save:
                raise
            warnings.warn(f"the model is not saved: {error}", stacklevel=2)
            return None
        return path


def train(
    settings: Settings,
    data: Dataset,
    checkpoint: CheckpointPolicy | None = None,
    mesh: Mesh | None = None,
    tracker: Callable[[Run], None] | None = None,
) -> TrainingOutcome:
    """Trains on `data`, prints and tracks each epoch, until training is done, diverged or interrupted.

    Raises:
      ValueError: the configuration does not fit the data.
      KeyboardInterrupt: before the first epoch was done.
    """
    config, key = settings.config, jax.random.key(settings.seed)
    try:
        params = jax.eval_shape(config.init_fn(data), key)
    except ValueError as error:
        raise ValueError(f"the configuration does not fit {data.name}: {error}") from error
    sizes = list(layer_sizes(params, math.prod(data.input_shape)))
    console.print(f"{data.name}: training {sizes} on {len(data.train.targets):,} examples")
    with Display(config.epochs) as display, stop_after_epoch() as stop:
        outcome = TrainingOutcome(display.show, stop, checkpoint and Path(checkpoint.directory))

        def on_epoch(run: Run) -> bool:
            if tracker:
                tracker(run)
            return outcome.on_epoch(run)

        with contextlib.suppress(KeyboardInterrupt):
            config.fit(
                key, data, callback=on_epoch, stop_on_nan=True, locate_nan=True,
                checkpoint=checkpoint, mesh=mesh,
            )  # fmt: skip
    if outcome.run is None:
        raise KeyboardInterrupt
    return outcome


def _save(path: Path, run: Run, settings: Settings, data: Dataset, model_settings: Mapping) -> None:
    from nnjax.recognition import calibrate  # not above: other commands do not need it

    objective, accuracy = settings.config.objective(data), run.history.validation_accuracy
    save_model(
        path, run.params, objective, data, calibration=calibrate(run.params, objective, data),
        settings=model_settings, validation_accuracy=None if accuracy is None else accuracy[-1],
    )  # fmt: skip


def _record(outcome: TrainingOutcome, settings: Settings, model: Path | None) -> dict[str, Any]:
    assert outcome.run is not None
    divergence = outcome.run.divergence
    return settings.to_json() | {
        "epochs": len(outcome.run.history),
        "model": model and str(model),
        "history": asdict(outcome.run.history),
        "divergence": divergence and divergence._asdict(),
        "environment": environment(),
    }
