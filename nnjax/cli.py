"""The `nnjax` command: train, evaluate, data."""

import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import platformdirs
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from tyro.conf import Positional, subcommand

import nnjax
from nnjax.codes import CODES
from nnjax.data import Dataset, load
from nnjax.data.sources import NAMES, URLS, cache_path, manual_path, prepared_path, resolve_data_dir
from nnjax.evaluate import confusion, count_correct
from nnjax.files import check_writable
from nnjax.loop import Run, fit
from nnjax.names import choose
from nnjax.network import ACTIVATIONS, INITIAL_WEIGHTS, identity, init, sigmoid
from nnjax.objective import COSTS, Dense, Objective, check_fits, quadratic
from nnjax.optimizers import OPTIMIZERS
from nnjax.runs import environment, read_model, save, write_record

INTERRUPTED = 130  # the shell's 128 + SIGINT


@dataclass
class Train:
    """Train a network to read handwritten digits, by stochastic gradient descent."""

    dataset: str = "auto"
    """mnist, fashion_mnist, kmnist, digits, or auto: mnist where it can be had, else digits."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    hidden: tuple[int, ...] = (30,)
    """Neurons in each hidden layer, such as 30, or 30 20 for two layers."""
    epochs: int = 30
    """How many times every training image is used."""
    batch_size: int = 10
    """Images in a mini-batch (the book's m)."""
    learning_rate: float | None = None
    """The book's η; by default 3.0 for sgd, and what suits this network for the others."""
    seed: int = 0
    """Draws the initial weights and the order of the images; the same seed, the same network."""
    optimizer: str = "sgd"
    """sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw or lion."""
    cost: str = "quadratic"
    """quadratic, sigmoid_cross_entropy or softmax_cross_entropy."""
    activation: str = "sigmoid"
    """Of the hidden layers: sigmoid, tanh, relu, step or identity."""
    output_code: str = "one_hot"
    """one_hot (a neuron a digit), binary (four bits) or "is_digit(9)" (one neuron: yes or no)."""
    initial_weights: str = "gaussian"
    """gaussian, N(0, 1), or scaled, N(0, 1/n_in)."""
    save: Path | None = None
    """Write the trained model to this file (safetensors)."""
    json: Path | None = None
    """Write settings, history and environment to this file."""

    def run(self) -> int:
        objective = self._objective()
        variant = choose("optimizer", self.optimizer, OPTIMIZERS)
        initial_weights = choose("initial weights", self.initial_weights, INITIAL_WEIGHTS)
        rate = variant.learning_rate if self.learning_rate is None else self.learning_rate
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}")
        self._check_paths()

        console.print(f"loading {self.dataset}")
        data = load(self.dataset, self.data_dir)
        sizes = (data.train.images.shape[1], *self.hidden, objective.code.outputs(data.num_classes))
        init_key, fit_key = jax.random.split(jax.random.key(self.seed))
        params = init(init_key, sizes, initial_weights)
        console.print(f"{data.name}: training {list(sizes)} on {len(data.train.labels):,} images")
        with _Display(self.epochs, data) as display:
            run = _fit_until_interrupted(
                display.show,
                (fit_key, params, data),
                objective=objective,
                optimizer=variant.factory,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=rate,
            )
        settings = {k: v for k, v in asdict(self).items() if k not in ("save", "json", "data_dir")}
        self._write(run, objective, data, settings | {"dataset": data.name, "learning_rate": rate})
        return _summarise(run, data, self.epochs)

    def _check_paths(self) -> None:
        for path in filter(None, (self.save, self.json)):
            check_writable(path)
        if self.save and self.json and self.save.resolve() == self.json.resolve():
            raise ValueError(f"--save and --json both name {self.save}: one would replace the other")

    def _write(self, run: Run, objective: Objective, data: Dataset, settings: dict[str, Any]) -> None:
        if self.save:
            save(self.save, run.params, objective, data, settings)
        if self.json:
            write_record(self.json, {"settings": settings, "history": asdict(run.history)} | environment())
        # Only now, with all in files: where a pipe's reader has left, printing ends the command.
        if self.save:
            console.print(f"model in {self.save}: nnjax evaluate {self.save}")
        if self.json:
            console.print(f"record in {self.json}")

    def _objective(self) -> Objective:
        cost = choose("cost", self.cost, COSTS)
        activation = choose("activation", self.activation, ACTIVATIONS)
        output = sigmoid if cost is quadratic else identity
        return Objective(Dense(activation, output), cost, choose("output code", self.output_code, CODES))


@dataclass
class Evaluate:
    """Count what a saved model reads rightly, and what it takes for what."""

    model: Positional[Path]
    """A model file, as `nnjax train --save` writes it."""
    dataset: str | None = None
    """Where to take the images from; by default the data set that the model was trained on."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""

    def run(self) -> int:
        model = read_model(self.model)
        if not self.dataset and model.dataset not in NAMES:
            raise ValueError(f"the model was trained on {model.dataset!r}: say --dataset with one of {NAMES}")
        data = load(self.dataset or model.dataset, self.data_dir)
        check_fits(model.objective, model.params, *data.train, data.num_classes)
        for which, split in (("validation", data.validation), ("test", data.test)):
            right = int(count_correct(model.params, *split, model.objective))
            console.print(f"{data.name} {which}: {_share(right, len(split.labels))}")
        matrix = np.asarray(confusion(model.params, *data.test, model.objective))
        table = Table("truth", *map(str, range(len(matrix))), title="test: answers by truth")
        for truth, row in enumerate(matrix):
            table.add_row(str(truth), *map(str, row))
        console.print(table)
        return 0


@dataclass
class Data:
    """Prepare a data set once, or say where it is and where to put files fetched by hand."""

    action: Positional[Literal["prepare", "where"]]
    dataset: Positional[str] = "mnist"
    """mnist, fashion_mnist or kmnist; digits is embedded and needs no preparation."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""

    def run(self) -> int:
        choose("data set to prepare", self.dataset, URLS)
        if self.action == "prepare":
            console.print(repr(load(self.dataset, self.data_dir)))
            return 0
        root = resolve_data_dir(self.data_dir)
        places = {
            "prepared": prepared_path(self.dataset, root),
            "decoded": cache_path(self.dataset, root),
            "by hand": manual_path(self.dataset, root),
        }
        for what, path in places.items():
            console.print(f"{what:9} {'yes' if path.exists() else 'no':4} {path}")
        return 0


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader of a pipe has left: say no more, and end as Ctrl-C does."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise KeyboardInterrupt


console = _Console(highlight=False, soft_wrap=True)


class _Display:
    """A line an epoch, and on a terminal a bar below them."""

    def __init__(self, epochs: int, data: Dataset):
        self._epochs, self._of = epochs, len(data.test.labels)
        self._began = time.perf_counter()
        self._bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("compiling", total=epochs)

    def __enter__(self):
        self._bar.__enter__()
        return self

    def __exit__(self, *error):
        self._bar.__exit__(*error)

    def show(self, run: Run) -> None:
        done, history = len(run.history), run.history
        line = f"cost {history.cost[-1]:.4f}  test {history.test_correct[-1]:,} / {self._of:,}"
        rate = done / (time.perf_counter() - self._began)
        self._bar.update(self._task, completed=done, description=f"{line}  {rate:.1f} epochs/s")
        console.print(f"epoch {done:3} / {self._epochs}  {line}")


def _fit_until_interrupted(show: Callable[[Run], None], arguments: tuple, **settings: Any) -> Run:
    """What `fit` returns, or after Ctrl-C the whole epochs that it reached, where there are any."""
    reached: list[Run] = []

    def keep(run: Run) -> None:
        reached[:] = [run]
        show(run)

    try:
        return fit(*arguments, callback=keep, **settings)
    except KeyboardInterrupt:
        if not reached:
            raise
        return reached[0]


def _share(right: int, of: int) -> str:
    return f"{right:,} of {of:,} right ({right / of:.2%})"


def _summarise(run: Run, data: Dataset, epochs: int) -> int:
    """Say what was reached, and return the exit code."""
    history = run.history
    console.print(f"validation: {_share(history.validation_correct[-1], len(data.validation.labels))}")
    console.print(f"test: {_share(history.test_correct[-1], len(data.test.labels))}")
    console.print(f"{len(history)} epochs in {history.seconds.sum():.1f} s of training")
    if history.diverged_at >= 0:
        console.print(f"diverged in epoch {history.diverged_at + 1}: a smaller learning rate usually helps")
    if len(history) < epochs:
        console.print(f"interrupted after {len(history)} of {epochs} epochs")
        return INTERRUPTED
    return 0


def _use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder: a second start compiles nothing."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = platformdirs.user_cache_path("nnjax") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Data, subcommand("data")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `nnjax` command and return its exit code: 2 for what the user can mend."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"nnjax {nnjax.__version__}")
        return 0
    command = tyro.cli(Command, args=arguments, prog="nnjax", description=__doc__)
    errors = Console(stderr=True)
    warnings.showwarning = lambda message, *_: errors.print(f"nnjax: {message}", markup=False, soft_wrap=True)
    _use_compilation_cache()
    try:
        return command.run()
    except (ValueError, OSError) as error:
        errors.print(f"nnjax: error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        told = str(error).partition("\n")[0]
        errors.print(f"nnjax: error: this machine cannot do that: {told}", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        errors.print("nnjax: interrupted, nothing was trained")
        return INTERRUPTED
