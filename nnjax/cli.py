"""The `nnjax` command: train, evaluate, baselines, data."""

import os
import sys
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
from nnjax.network import ACTIVATIONS, INITIAL_WEIGHTS, Params, identity, init, sigmoid, sizes_of
from nnjax.objective import COSTS, Dense, Objective, check_fits, quadratic
from nnjax.optimizers import OPTIMIZERS
from nnjax.runs import Model, environment, read_model, save, write_record
from nnjax.terminal import INTERRUPTED, Display, console, share, summarise


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
        settings = self._settings()
        self._check_paths()
        console.print(f"loading {self.dataset}")
        data = load(self.dataset, self.data_dir)
        run = self.fit(data)
        told = {k: v for k, v in asdict(self).items() if k not in ("save", "json", "data_dir")}
        told |= {"dataset": data.name, "learning_rate": settings["learning_rate"]}
        self._write(run, settings["objective"], data, told)
        return summarise(run, data, self.epochs)

    def fit(self, data: Dataset) -> Run:
        """Train on `data`, showing how it goes, until done or interrupted."""
        settings = self._settings()
        n_out = settings["objective"].code.outputs(data.num_classes)
        sizes = (data.train.images.shape[1], *self.hidden, n_out)
        init_key, fit_key = jax.random.split(jax.random.key(self.seed))
        params = init(init_key, sizes, choose("initial weights", self.initial_weights, INITIAL_WEIGHTS))
        console.print(f"{data.name}: training {list(sizes)} on {len(data.train.labels):,} images")
        with Display(self.epochs, data) as display:
            return _fit_until_interrupted(display.show, (fit_key, params, data), **settings)

    def _settings(self) -> dict[str, Any]:
        """What `nnjax.fit` is to be called with; a ValueError where a name or the seed is wrong."""
        variant = choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("initial weights", self.initial_weights, INITIAL_WEIGHTS)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}")
        return {
            "objective": self._objective(),
            "optimizer": variant.factory,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": variant.learning_rate if self.learning_rate is None else self.learning_rate,
        }

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
        data = _data_for(model, self.dataset, self.data_dir)
        for which, split in (("validation", data.validation), ("test", data.test)):
            right = int(count_correct(model.params, *split, model.objective))
            console.print(f"{data.name} {which}: {share(right, len(split.labels))}")
        matrix = np.asarray(confusion(model.params, *data.test, model.objective))
        table = Table("truth", *map(str, range(len(matrix))), title="test: answers by truth")
        for truth, row in enumerate(matrix):
            table.add_row(str(truth), *map(str, row))
        console.print(table)
        return 0


@dataclass
class Baselines:
    """Count what can be read without a network, beside what a network reads."""

    dataset: str | None = None
    """Where to take the images from; by default the model's data set, without a model auto."""
    data_dir: Path | None = None
    """Where data is kept; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    model: Path | None = None
    """A model file to compare with; by default the chapter's network is trained for it first."""
    epochs: int = 30
    """How long that network is trained."""
    seed: int = 0
    """Draws that network, and the random guesses."""
    svm: bool = False
    """Fit support vector machines too: on MNIST they take minutes."""

    def run(self) -> int:
        if self.model:
            model = read_model(self.model)
            data = _data_for(model, self.dataset, self.data_dir)
            if model.code.answers(model.sizes[-1]) < data.num_classes:
                raise ValueError(f"{self.model} answers {model.code}: it does not say which label it is")
            return self._compare(model.params, model.objective, data)
        data = load(self.dataset or "auto", self.data_dir)
        run = Train(epochs=self.epochs, seed=self.seed).fit(data)
        return summarise(run, data, self.epochs) or self._compare(run.params, Objective(), data)

    def _compare(self, params: Params, objective: Objective, data: Dataset) -> int:
        from nnjax import baselines  # not above: it imports scikit-learn, which takes a second

        methods: dict[str, Any] = {
            "random guess": baselines.random_guess(self.seed),
            "average darkness": baselines.average_darkness(),
        }
        if self.svm:
            console.print("fitting support vector machines: on MNIST they take minutes")
            methods |= {f"SVM, gamma={gamma}": baselines.svm(gamma) for gamma in ("auto", "scale")}
        scores = baselines.score(methods.values(), data.train, data.test, jobs=2 if self.svm else 1)
        right = {name: score.correct for name, score in zip(methods, scores, strict=True)}
        right[f"network {list(sizes_of(params))}"] = int(count_correct(params, *data.test, objective))
        of = len(data.test.labels)
        table = Table("method", "right", "share", title=f"{data.name}: {of:,} test images")
        for name, correct in right.items():
            table.add_row(name, f"{correct:,}", f"{correct / of:.2%}")
        console.print(table)
        if not self.svm:
            console.print("support vector machines are left out, since they take minutes: --svm fits them")
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


def _data_for(model: Model, dataset: str | None, data_dir: Path | None) -> Dataset:
    """The named data set, else the model's own; a ValueError where the model cannot read it."""
    if not dataset and model.dataset not in NAMES:
        raise ValueError(f"the model was trained on {model.dataset!r}: say --dataset with one of {NAMES}")
    data = load(dataset or model.dataset, data_dir)
    check_fits(model.objective, model.params, *data.train, data.num_classes)
    return data


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
    | Annotated[Baselines, subcommand("baselines")]
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
        errors.print("nnjax: interrupted" + ", nothing was trained" * isinstance(command, Train))
        return INTERRUPTED
