"""The variants of gradient descent that are compared, and what is tried of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optax

import nnjax
from nnjax.optim.optimizers import num_train_steps

BASE = "SGD"
QUICK = (BASE, "SGD, cosine schedule", "Gauss-Newton")


@dataclass(frozen=True)
class Variant:
    """A method, the mini-batch it gets, and the log grid of the one hyper-parameter that is tuned."""

    factory: Callable
    batch_size: int | None  # None: all training images
    grid: tuple[float, ...]
    tuned: str = "learning_rate"


def _grid(least: float, most: float) -> tuple[float, ...]:
    """Seven values, evenly spaced on a log scale."""
    return tuple(float(f"{value:.2g}") for value in np.geomspace(least, most, 7))


VARIANTS = {
    BASE: Variant(optax.sgd, 10, _grid(0.03, 30)),
    "batch descent": Variant(optax.sgd, None, _grid(0.3, 300)),
    "SGD, cosine schedule": Variant(nnjax.Falling(optax.sgd), 10, _grid(0.03, 30)),
    "momentum": Variant(nnjax.momentum, 10, _grid(0.003, 3)),
    "Nesterov": Variant(nnjax.nesterov, 10, _grid(0.003, 3)),
    "AdaGrad": Variant(optax.adagrad, 10, _grid(0.01, 10)),
    "RMSProp": Variant(optax.rmsprop, 10, _grid(0.0001, 0.1)),
    "Adam": Variant(optax.adam, 10, _grid(0.0001, 0.1)),
    "AdamW": Variant(optax.adamw, 10, _grid(0.0001, 0.1)),
    "Lion": Variant(optax.lion, 10, _grid(0.00001, 0.01)),
    "Muon": Variant(optax.contrib.muon, 100, _grid(0.001, 1)),
    "L-BFGS": Variant(optax.lbfgs, None, (200, 500, 1000, 2000, 5000, 10_000, 25_000), "batch_size"),
    "Gauss-Newton": Variant(nnjax.gauss_newton, 1000, _grid(0.0001, 0.1), "damping"),
}


def grid_of(variant: Variant, n: int) -> list[float]:
    """What is tried for a variant, with n training images."""
    if variant.tuned != "batch_size":
        return list(variant.grid)
    return sorted({int(min(size, n)) for size in variant.grid})


def arguments(variant: Variant, tuned: Any, n: int, epochs: int) -> dict[str, Any]:
    """What `fit` and `sweep` are given for a variant beside the data: optimizer, mini-batch, numbers."""
    given = {"optimizer": variant.factory, "batch_size": variant.batch_size or n, variant.tuned: tuned}
    if isinstance(variant.factory, nnjax.Falling):
        given["steps"] = num_train_steps(epochs, n, given["batch_size"])
    return given
