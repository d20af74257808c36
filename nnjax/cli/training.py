"""`nnjax train`."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax

from nnjax.codes import CODES
from nnjax.data import Dataset, load
from nnjax.files import check_writable, make_folder
from nnjax.loop import Run, fit
from nnjax.names import choose
from nnjax.network import ACTIVATIONS, INITIAL_WEIGHTS, identity, init, sigmoid
from nnjax.objective import COSTS, Dense, Objective, quadratic
from nnjax.optimizers import OPTIMIZERS
from nnjax.runs import environment, save, write_record
from nnjax.runs.folder import model_folder, place_of
from nnjax.terminal import Display, console, summarise


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
    """Write the trained model to this file (safetensors); by default into your model folder."""
    keep: bool = True
    """Whether to keep the model in your model folder, where `nnjax predict` finds the best."""
    json: Path | None = None
    """Write settings, history and environment to this file."""

    def run(self) -> int:
        settings = self._settings()
        self._check_paths()
        console.print(f"loading {self.dataset}")
        data = load(self.dataset, self.data_dir)
        run = self.fit(data)
        told = {k: v for k, v in asdict(self).items() if k not in ("save", "keep", "json", "data_dir")}
        told |= {"dataset": data.name, "learning_rate": settings["learning_rate"]}
        told |= {"epochs": len(run.history)}  # fewer than asked for after Ctrl-C, and then another model
        self._write(run, settings["objective"], data, told, self.save or self._place(told))
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

    def _place(self, settings: dict[str, Any]) -> Path | None:
        """Where the model is kept unless --save says so; None, with a warning, where it cannot be."""
        if not self.keep:
            return None
        try:
            make_folder(model_folder())
        except ValueError as error:
            warnings.warn(f"the model is not kept: {error}", stacklevel=2)
            return None
        return place_of(settings)

    def _write(
        self, run: Run, objective: Objective, data: Dataset, settings: dict[str, Any], place: Path | None
    ) -> None:
        if place:
            try:
                save(place, run.params, objective, data, settings)
            except OSError as error:
                if self.save:
                    raise
                warnings.warn(f"the model is not kept: {error}", stacklevel=2)
                place = None
            except ValueError as error:  # of a network that diverged
                warnings.warn(f"the model is not saved: {error}", stacklevel=2)
                place = None
        if self.json:
            write_record(self.json, {"settings": settings, "history": asdict(run.history)} | environment())
        # Only now, with all in files: where a pipe's reader has left, printing ends the command.
        if place:
            console.print(f"model in {place}: nnjax evaluate {place}")
        if self.json:
            console.print(f"record in {self.json}")

    def _objective(self) -> Objective:
        cost = choose("cost", self.cost, COSTS)
        activation = choose("activation", self.activation, ACTIVATIONS)
        output = sigmoid if cost is quadratic else identity
        return Objective(Dense(activation, output), cost, choose("output code", self.output_code, CODES))


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
