"""The variants of gradient descent that are compared, and the settings that each tries."""

from dataclasses import dataclass, replace

import optax

import nnjax

BASE = "SGD"
QUICK = (BASE, "SGD, cosine schedule")
CONFIG = nnjax.TrainConfig(initial_weights=nnjax.lecun, epochs=15)


@dataclass(frozen=True)
class Variant:
    """A method, and seven settings of the one hyper-parameter that is tuned.

    Attributes:
      config: the configuration without the tuned hyper-parameter.
      grid: the values of the tuned hyper-parameter, about evenly spaced on a logarithmic scale.
      tuned: the name of the tuned hyper-parameter.
      full_batch: whether the batch size is the number of training images.
    """

    config: nnjax.TrainConfig
    grid: tuple[float, ...]
    tuned: str = "learning_rate"
    full_batch: bool = False

    def resolved(self, num_examples: int) -> nnjax.TrainConfig:
        """The configuration for `num_examples` training images."""
        return replace(self.config, batch_size=num_examples) if self.full_batch else self.config

    def with_setting(self, setting: float, num_examples: int) -> nnjax.TrainConfig:
        """The configuration with a value of the tuned hyper-parameter."""
        config = self.resolved(num_examples)
        if self.tuned in ("learning_rate", "batch_size"):
            return replace(config, **{self.tuned: setting})
        return replace(config, hyperparameters={**config.hyperparameters, self.tuned: setting})

    def settings(self, num_examples: int) -> list[float]:
        """The settings to try; batch sizes are at most the number of training images."""
        if self.tuned != "batch_size":
            return list(self.grid)
        return sorted({int(min(size, num_examples)) for size in self.grid})


def _config(optimizer, **changes) -> nnjax.TrainConfig:
    return replace(CONFIG, optimizer=optimizer, **changes)


VARIANTS = {
    BASE: Variant(CONFIG, (0.03, 0.095, 0.3, 0.95, 3.0, 9.5, 30.0)),
    "batch descent": Variant(CONFIG, (0.3, 0.95, 3.0, 9.5, 30.0, 95.0, 300.0), full_batch=True),
    "SGD, cosine schedule": Variant(
        replace(CONFIG, schedule="cosine"), (0.03, 0.095, 0.3, 0.95, 3.0, 9.5, 30.0)
    ),
    "momentum": Variant(_config(nnjax.momentum), (0.003, 0.0095, 0.03, 0.095, 0.3, 0.95, 3.0)),
    "Nesterov": Variant(_config(nnjax.nesterov), (0.003, 0.0095, 0.03, 0.095, 0.3, 0.95, 3.0)),
    "AdaGrad": Variant(_config(optax.adagrad), (0.01, 0.032, 0.1, 0.32, 1.0, 3.2, 10.0)),
    "RMSProp": Variant(_config(optax.rmsprop), (0.0001, 0.00032, 0.001, 0.0032, 0.01, 0.032, 0.1)),
    "Adam": Variant(_config(optax.adam), (0.0001, 0.00032, 0.001, 0.0032, 0.01, 0.032, 0.1)),
    "AdamW": Variant(_config(optax.adamw), (0.0001, 0.00032, 0.001, 0.0032, 0.01, 0.032, 0.1)),
    "Lion": Variant(_config(optax.lion), (0.00001, 0.000032, 0.0001, 0.00032, 0.001, 0.0032, 0.01)),
    "Muon": Variant(
        _config(optax.contrib.muon, batch_size=100), (0.001, 0.0032, 0.01, 0.032, 0.1, 0.32, 1.0)
    ),
    "L-BFGS": Variant(_config(optax.lbfgs), (200, 500, 1000, 2000, 5000, 10_000, 25_000), "batch_size"),
    "Gauss-Newton": Variant(
        _config(nnjax.gauss_newton, batch_size=1000), (0.0001, 0.00032, 0.001, 0.0032, 0.01, 0.032, 0.1),
        "damping",
    ),
}  # fmt: skip
