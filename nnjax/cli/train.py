"""`nnjax train`."""

import contextlib
import shlex
import sys
import warnings
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from nnjax.cli.console import Display, console
from nnjax.cli.outcome import TrainingOutcome
from nnjax.cli.signals import stop_after_epoch, stop_at_once
from nnjax.config import TrainConfig, configs
from nnjax.data import Dataset, load
from nnjax.nn.conv import layer_sizes
from nnjax.nn.dense import ACTIVATIONS, INITIAL_WEIGHTS
from nnjax.nn.objective import COSTS
from nnjax.nn.output_codes import CODES
from nnjax.optim.optimizers import OPTIMIZERS
from nnjax.runtime.checks import check_positive_int, lookup
from nnjax.runtime.environment import environment
from nnjax.runtime.files import check_writable, make_dir
from nnjax.runtime.multihost import INIT_TIMEOUT_S, check_consistent, connect, primary_first
from nnjax.storage import CheckpointPolicy, save_model, write_record
from nnjax.storage.model_store import model_dir, model_path
from nnjax.training._fit import fit

# What may differ between two trainings of the same model.
NOT_OF_THE_MODEL = (
    *("save", "keep", "json", "data_dir", "checkpoint", "checkpoint_seconds", "checkpoint_epochs"),
    *("data_parallel", "distributed", "coordinator", "processes", "process_id", "heartbeat"),
)


# What a recipe settles, and what it is without one.
SETTLED = {
    "hidden": (30,),
    "batch_size": 10,
    "learning_rate": None,
    "optimizer": "sgd",
    "cost": "quadratic",
    "activation": "sigmoid",
    "output_code": "one_hot",
    "initial_weights": "gaussian",
}

# What only several processes need.
JOINING = ("coordinator", "processes", "process_id")


def _as_module() -> bool:
    """Whether this is `python -m nnjax`: there may be no `nnjax` on the PATH."""
    return Path(sys.argv[0]).parts[-2:] == ("nnjax", "__main__.py")


@dataclass
class Train:
    """Train a network to read handwritten digits, by stochastic gradient descent."""

    dataset: str = "auto"
    """mnist, fashion_mnist, kmnist, digits, or auto: mnist where it can be had, else digits."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    recipe: str | None = None
    """best-cpu, a convolutional network that comes to 99 % in minutes on two cores, or book, the chapter's;
    instead of --hidden and, but for --seed, the flags from --batch-size to --initial-weights, which then
    are refused."""
    hidden: tuple[int, ...] | None = None
    """Neurons in each hidden layer, such as 30, the default, or 30 20 for two layers."""
    epochs: int | None = None
    """How many times every training image is used; by default 30, or what the recipe says."""
    batch_size: int | None = None
    """Images in a mini-batch (the book's m); by default 10."""
    learning_rate: float | None = None
    """The book's η; by default 3.0 for sgd, and what suits this network for the others."""
    seed: int = 0
    """Draws the initial weights and the order of the images; the same seed, the same network."""
    optimizer: str | None = None
    """sgd (the default), momentum, nesterov, adagrad, rmsprop, adam, adamw or lion."""
    cost: str | None = None
    """quadratic (the default), sigmoid_cross_entropy or softmax_cross_entropy."""
    activation: str | None = None
    """Of the hidden layers: sigmoid (the default), tanh, relu, step or identity."""
    output_code: str | None = None
    """one_hot (the default; a neuron a digit), binary (four bits) or "is_digit(9)" (one neuron)."""
    initial_weights: str | None = None
    """gaussian, N(0, 1), the default; scaled, N(0, 1/n_in); or he, N(0, 2/n_in) and biases 0."""
    save_model: Path | None = None
    """Write the trained model to this file (safetensors); by default into your model folder."""
    keep: bool = True
    """Whether to keep the model in your model folder, where `nnjax predict` finds the best."""
    json: Path | None = None
    """Write settings, history and environment to this file."""

    checkpoint: Path | None = None
    """A folder to keep the training in as it goes: started again, it goes on from there, bit for bit."""
    checkpoint_seconds: float = 10.0
    """How often it is kept,"""
    checkpoint_epochs: int | None = None
    """or after how many epochs."""
    data_parallel: bool = False
    """Split each mini-batch among all devices."""
    distributed: bool = False
    """And among processes: start this command once for each, alike but for --process-id. Under Slurm
    and on a TPU pod they know each other; elsewhere they need the next three."""
    coordinator: str | None = None
    """HOST:PORT that the others reach process 0 by; by default $JAX_COORDINATOR_ADDRESS."""
    processes: int | None = None
    """How many there are; by default $JAX_NUM_PROCESSES."""
    process_id: int | None = None
    """Which of them this is, from 0; by default $JAX_PROCESS_ID."""
    heartbeat: int = 30
    """Seconds after which a process that is silent counts as dead, and the others end."""

    def run(self) -> int:
        self._checked_recipe()
        self._checkpoint()
        self._check_paths()
        if self.distributed:
            self._join()
        elif told := [f"--{name.replace('_', '-')}" for name in JOINING if getattr(self, name) is not None]:
            raise ValueError(f"{', '.join(told)}: for several processes, so --distributed is wanted too")
        console.print(f"loading {self.dataset}")
        try:
            data = primary_first(lambda: load(self.dataset, self.data_dir))
            reached = self.fit(data)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("nothing was trained") from None
        primary_first(lambda: jax.process_index() or self._write(reached, data))
        go_on = f"to go on: {self.command()}" if self.checkpoint else "with --checkpoint it could go on"
        return reached.told(data, self._checked_recipe().epochs, go_on)

    def _join(self) -> None:
        """Come together with the other processes, which must have been started alike."""
        console.print(f"waiting for the other processes, {INIT_TIMEOUT_S} seconds at most")
        with stop_at_once():
            connect(self.coordinator, self.processes, self.process_id, self.heartbeat)
        console.quiet = jax.process_index() > 0
        epochs = self._checked_recipe().epochs
        check_consistent(self._named() | {"--epochs": epochs, "--checkpoint": self.checkpoint is not None})

    def fit(self, data: Dataset) -> TrainingOutcome:
        """Train on `data`, showing how it goes, until done, diverged or interrupted."""
        recipe = self._checked_recipe()
        init_key, fit_key = jax.random.split(jax.random.key(self.seed))
        params = self._drawn(recipe, data, init_key)
        sizes = list(layer_sizes(params, data.train.inputs.shape[1]))
        console.print(f"{data.name}: training {sizes} on {len(data.train.targets):,} images")
        settings = recipe.settings(data) | {"checkpoint": self._checkpoint(), "mesh": self._mesh()}
        with Display(recipe.epochs, data) as display, stop_after_epoch() as ending:
            reached = TrainingOutcome(display.show, ending, self.checkpoint)
            settings |= {"callback": reached.see, "stop_on_nan": True, "locate_nan": True}
            with contextlib.suppress(KeyboardInterrupt):
                fit(fit_key, params, data, **settings)
        if reached.run is None:
            raise KeyboardInterrupt
        return reached

    def _drawn(self, recipe: TrainConfig, data: Dataset, key: jax.Array) -> Any:
        try:
            return recipe.draw(data)(key)
        except ValueError as error:
            if self.recipe is None:
                raise
            raise ValueError(f"recipe {self.recipe} does not suit {data.name}: {error}") from error

    def _checked_recipe(self) -> TrainConfig:
        """What is to be trained, and how; a ValueError where a flag is wrong."""
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}")
        recipe = self._named_recipe() if self.recipe is not None else self._recipe_of_flags()
        return recipe if self.epochs is None else replace(recipe, epochs=self.epochs)

    def _named_recipe(self) -> TrainConfig:
        recipe = lookup("recipe", str(self.recipe), configs)
        if given := [name for name in SETTLED if getattr(self, name) is not None]:
            told = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ValueError(f"--recipe {self.recipe} settles {told} itself: leave out the one or the other")
        return recipe

    def _recipe_of_flags(self) -> TrainConfig:
        flags = self._flags()
        return TrainConfig(
            hidden=flags["hidden"],
            activation=lookup("activation", flags["activation"], ACTIVATIONS),
            initial_weights=lookup("initial weights", flags["initial_weights"], INITIAL_WEIGHTS),
            cost=lookup("cost", flags["cost"], COSTS),
            code=lookup("output code", flags["output_code"], CODES),
            optimizer=OPTIMIZERS[flags["optimizer"]].factory,
            hyperparameters={"learning_rate": flags["learning_rate"]},
            batch_size=flags["batch_size"],
        )

    def _flags(self) -> dict[str, Any]:
        """What a recipe would settle, as the flags or their defaults say."""
        given = {name: getattr(self, name) for name in SETTLED}
        flags = {name: SETTLED[name] if value is None else value for name, value in given.items()}
        usual = lookup("optimizer", flags["optimizer"], OPTIMIZERS).learning_rate
        return flags | ({"learning_rate": usual} if flags["learning_rate"] is None else {})

    def _checkpoint(self) -> CheckpointPolicy | None:
        if self.checkpoint is None:
            return None
        if self.checkpoint == Path():
            raise ValueError("--checkpoint must name a folder of its own")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"--checkpoint-seconds must be 0 or more, not {self.checkpoint_seconds:g}")
        if self.checkpoint_epochs is not None:
            check_positive_int("--checkpoint-epochs", self.checkpoint_epochs)
        return CheckpointPolicy(
            self.checkpoint, self.checkpoint_seconds, self.checkpoint_epochs, display_settings=self._named()
        )

    def _named(self) -> dict[str, str]:
        """What must be alike in all processes, and when training goes on, as options are named."""
        told = self._told()
        # Where the rate falls, it depends on how many epochs are to come.
        if not self._checked_recipe().falls:
            del told["epochs"]
        in_words = (" ".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in told.values())
        return dict(zip((f"--{name.replace('_', '-')}" for name in told), in_words, strict=True))

    def _told(self) -> dict[str, Any]:
        """What makes the model what it is: flags, and of a recipe its name."""
        left_out = SETTLED if self.recipe is not None else ("recipe",)
        told = {k: v for k, v in asdict(self).items() if k not in (*NOT_OF_THE_MODEL, *left_out)}
        told |= {"epochs": self._checked_recipe().epochs}
        return told if self.recipe is not None else told | self._flags()

    def _check_paths(self) -> None:
        for path in filter(None, (self.save, self.json)):
            check_writable(path)
        if self.save and self.json and self.save.resolve() == self.json.resolve():
            raise ValueError(f"--save and --json both name {self.save}: one would replace the other")

    def _place(self, settings: dict[str, Any]) -> Path | None:
        """Where the model is kept unless --save says so; None, with a warning, where it cannot be."""
        if not self.keep:
            return None
        try:
            make_dir(model_dir())
        except ValueError as error:
            warnings.warn(f"the model is not kept: {error}", stacklevel=2)
            return None
        return model_path(settings)

    def _write(self, reached: TrainingOutcome, data: Dataset) -> None:
        """Write the model of the last good epoch, and the record."""
        good, run = reached.good, reached.run
        epochs = len(good.history) if good else 0  # another number, another model
        told = self._told() | {"dataset": data.name, "epochs": epochs}
        if self.recipe is not None:
            told |= {"trained": self._checked_recipe().parts}  # the epochs that were planned are among them
        place = (self.save or self._place(told)) if good else None
        if good and place:
            try:
                save_model(place, good.params, self._checked_recipe().objective(data), data, told)
            except OSError as error:
                if self.save:
                    raise
                warnings.warn(f"the model is not kept: {error}", stacklevel=2)
                place = None
        if self.json and run:
            record = {
                "settings": told,
                "history": asdict(run.history),
                "divergence": run.divergence and run.divergence._asdict(),
            }
            write_record(self.json, record | environment())
        # Only now, with all in files: where a pipe's reader has left, printing ends the command.
        if place:
            console.print(f"model in {place}: nnjax evaluate {place}")
        if self.json:
            console.print(f"record in {self.json}")

    def _mesh(self) -> Mesh | None:
        """All devices, of all processes, where they are to share the work."""
        split = self.data_parallel or self.distributed
        return jax.make_mesh((jax.device_count(),), ("data",)) if split else None

    def command(self) -> str:
        """The command line that is this one."""
        told = []
        for field in fields(self):
            value, flag = getattr(self, field.name), field.name.replace("_", "-")
            if value == field.default:
                continue
            if isinstance(value, bool):
                told.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                told += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
        program = [Path(sys.executable).name, "-m", "nnjax"] if _as_module() else ["nnjax"]
        return shlex.join([*program, "train", *told])
