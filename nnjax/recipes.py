"""Recipes: all that trains a network but the data and the key, as one value to vary."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import optax
from jaxtyping import Array

from nnjax.averaging import Averaged
from nnjax.codes import Code, one_hot
from nnjax.convnet import ConvNet
from nnjax.data import Dataset
from nnjax.distort import Distorted
from nnjax.dropout import Dropout
from nnjax.network import Activation, InitialWeights, gaussian, he, identity, init, relu, sigmoid
from nnjax.objective import Cost, Dense, Objective, quadratic, softmax_cross_entropy
from nnjax.optimizers import Factory, Falling

MNIST_SIDE = 28  # of the images whose pixels `distorted` counts in


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained; by default the book's.

    `dataclasses.replace` makes another of one.

    Attributes:
      hidden: neurons of each hidden dense layer.
      channels: of the convolutions before them, if any.
      activation: of the hidden layers.
      initial_weights: how each layer is drawn.
      cost, code, penalty: as of `Objective`.
      dropout: the chance of a hidden unit of a dense layer, and of what the convolutions give, to be
        left out while training; None where none is.
      input_dropout: that of a pixel, where there are no convolutions.
      distorted: what `Distorted` is given, in pixels of images of 28 x 28; None for images as they are.
      optimizer: an optax factory.
      hyperparameters: its own by name; the steps of one that is `Falling` are counted from the data.
      epochs, batch_size: as of `fit`.
    """

    hidden: tuple[int, ...] = (30,)
    channels: tuple[int, ...] = ()
    activation: Activation = sigmoid
    initial_weights: InitialWeights = gaussian
    cost: Cost = quadratic
    code: Code = one_hot
    penalty: Callable[[Any], Array] | None = None
    dropout: float | None = None
    input_dropout: float = 0.0
    distorted: Mapping[str, float] | None = None
    optimizer: Factory = optax.sgd
    hyperparameters: Mapping[str, Any] = field(default_factory=lambda: {"learning_rate": 3.0})
    epochs: int = 30
    batch_size: int = 10

    def draw(self, data: Dataset) -> Callable[[Array], Any]:
        """What draws the parameters of a network for `data` from a key."""
        n_out = self.code.outputs(data.num_classes)
        if self.channels:
            net, dense = ConvNet(data.image_shape), (*self.hidden, n_out)
            net.n_seen(self.channels)
            return partial(
                net.init, channels=self.channels, dense=dense, initial_weights=self.initial_weights
            )
        sizes = (data.train.images.shape[1], *self.hidden, n_out)
        return partial(init, sizes=sizes, initial_weights=self.initial_weights)

    def objective(self, data: Dataset) -> Objective:
        """What is minimised on `data`."""
        output = sigmoid if self.cost is quadratic else identity
        if self.channels:
            forward = ConvNet(
                data.image_shape, activation=self.activation, output=output, dropout=self.dropout
            )
        elif self.dropout is None:
            forward = Dense(self.activation, output)
        else:
            forward = Dropout(self.activation, output, self.dropout, self.input_dropout)
        if self.distorted is not None:
            height, width, *_ = data.image_shape
            pixel = min(height, width) / MNIST_SIDE
            told = {
                k: v * pixel if k in ("shift", "bend", "smooth") else v for k, v in self.distorted.items()
            }
            forward = Distorted(forward, (height, width), **told)
        return Objective(forward, self.cost, self.code, self.penalty)

    def settings(self, data: Dataset) -> dict[str, Any]:
        """What `fit` and `sweep` are given for `data`, beside what `draw` draws."""
        told = dict(self.hyperparameters)
        if "steps" in inspect.signature(self.optimizer).parameters:
            told["steps"] = self.epochs * -(-len(data.train.labels) // self.batch_size)
        return told | {
            "objective": self.objective(data),
            "optimizer": self.optimizer,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
        }


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "book": Recipe(),
        "best-cpu": Recipe(
            hidden=(128,),
            channels=(16, 32),
            activation=relu,
            initial_weights=he,
            cost=softmax_cross_entropy,
            distorted={},
            optimizer=Averaged(Falling(optax.adam)),
            hyperparameters={"learning_rate": 0.002},
            epochs=8,
            batch_size=50,
        ),
    }
)
