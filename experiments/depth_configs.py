"""The configurations of deep networks that are compared, from the chapter's to a modern one."""

from dataclasses import dataclass, replace

import nnjax
from nnjax.nn import LayerNormMLP

BOOK = nnjax.TrainConfig(epochs=10)
MODERN_CONFIG = replace(
    BOOK, activation="relu", initial_weights="he", cost="softmax_cross_entropy", optimizer="adam"
)


@dataclass(frozen=True)
class Setup:
    """A configuration, its learning rates, and a forward function that replaces the configuration's."""

    config: nnjax.TrainConfig
    rates: tuple[float, ...]
    forward: nnjax.Dense | None = None

    def objective(self, data: nnjax.Dataset) -> nnjax.Objective:
        """The objective of the training."""
        objective = self.config.objective(data)
        return replace(objective, forward=self.forward) if self.forward else objective


SIGMOID_RATES, NORM_RATES = (0.1, 0.3, 1.0, 3.0, 10.0), (0.0003, 0.001, 0.003, 0.01)
CHAPTER = "sigmoid, N(0, 1)"
CONFIGS = {
    CHAPTER: Setup(BOOK, SIGMOID_RATES),
    "sigmoid, N(0, 1/n_in)": Setup(replace(BOOK, initial_weights="lecun"), SIGMOID_RATES),
    "modern": Setup(MODERN_CONFIG, (0.0001, 0.0003, 0.001, 0.003, 0.01)),
    "layer norm": Setup(MODERN_CONFIG, NORM_RATES, LayerNormMLP(nnjax.relu, nnjax.identity)),
    "layer norm, residual": Setup(MODERN_CONFIG, NORM_RATES, LayerNormMLP(nnjax.relu, nnjax.identity, True)),
}
MODERN = tuple(CONFIGS)[2:]
QUICK = (CHAPTER, "layer norm, residual")
