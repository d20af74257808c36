"""The candidates of `time_to_accuracy`: configurations, and how the search draws and changes them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from benchmarks.harness import Record
from nnjax.nn import ACTIVATIONS
from nnjax.optim import OPTIMIZERS
from nnjax.runtime import registered_name

MIN_RATE_FACTOR = 0.05  # the minimum of the schedule, as a fraction of the learning rate
MUTATION_PROBABILITY = 0.3

# For each optimizer, the center of the learning rate for mini-batches of 10, and the power of the batch size
# by which it scales.
LEARNING_RATES = {"sgd": (0.15, 1.0), "nesterov": (0.015, 1.0), "adam": (0.0015, 0.5)}

DENSE = nnjax.TrainConfig(initial_weights=nnjax.lecun, cost=nnjax.softmax_cross_entropy)
CONVOLUTIONAL = replace(
    nnjax.configs["fast-cpu"], augment=None, schedule="constant", epochs=2
)  # the schedule is that of the candidates


@cache  # jit compiles a training again if its schedule is another function
def decay_then_constant(num_steps: int, warmup: float) -> Callable[[jax.Array], jax.Array]:
    """A linear warm-up, a linear decay to the minimum at the middle of training, and then a constant.

    The warm-up takes the fraction `warmup` of the first half.
    """
    decay_steps = num_steps / 2
    rise = warmup * decay_steps

    def factor(step):
        falling = jnp.maximum(1 - step / decay_steps, MIN_RATE_FACTOR)
        return jnp.minimum((step + 1) / rise, falling) if rise >= 1 else falling

    return factor


class Candidate(NamedTuple):
    """A configuration, and how many training images it uses."""

    config: nnjax.TrainConfig
    examples: int

    @property
    def decay_epochs(self) -> int:
        """The epochs in which the learning rate decays."""
        return self.config.epochs // 2

    @property
    def schedule(self) -> Callable[[jax.Array], jax.Array]:
        """The schedule of the learning rate."""
        steps = self.config.epochs * -(-self.examples // self.config.batch_size)
        return decay_then_constant(steps, 0.1 if self.config.channels else 0.0)

    def settings(self) -> Record:
        """What the search varies, as JSON values."""
        config = self.config
        factories = {name: default.factory for name, default in OPTIMIZERS.items()}
        convolutional = {"channels": list(config.channels), "distortions": config.augment is not None}
        return {
            "hidden": config.hidden[0] if config.hidden else 0,
            "activation": registered_name("activation", config.activation, ACTIVATIONS),
            "optimizer": registered_name("optimizer", config.optimizer, factories),
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            "examples": self.examples,
            "decay_epochs": self.decay_epochs,
        } | (convolutional if config.channels else {})

    @classmethod
    def from_settings(cls, settings: Record) -> "Candidate":
        """The candidate with these settings, as in a record."""
        channels = tuple(settings.get("channels", ()))
        config = replace(
            CONVOLUTIONAL if channels else DENSE,
            channels=channels,
            hidden=(settings["hidden"],) if settings["hidden"] else (),
            augment={} if settings.get("distortions") else None,
            epochs=2 * settings["decay_epochs"],
            **{name: settings[name] for name in ("activation", "optimizer", "learning_rate", "batch_size")},
        )
        return cls(config, settings["examples"])


def draw_dense(rng: np.random.Generator) -> Candidate:
    """A dense candidate, with a learning rate from a third to three times the center of the search."""
    optimizer, batch_size = str(rng.choice(list(LEARNING_RATES))), int(rng.choice((10, 20, 50, 100)))
    center, power = LEARNING_RATES[optimizer]
    learning_rate = center * (batch_size / 10) ** power * 3 ** rng.uniform(-1, 1)
    config = replace(
        DENSE,
        hidden=(int(rng.choice((30, 50, 80, 120, 200, 300, 500))),),
        activation=str(rng.choice(("relu", "tanh"))),
        optimizer=optimizer,
        learning_rate=float(f"{learning_rate:.2g}"),
        batch_size=batch_size,
    )
    examples = int(rng.choice((10_000, 25_000, 50_000)))
    return Candidate(replace(config, epochs=2 * int(rng.choice((1, 2, 3, 4, 6, 8)))), examples)


def draw_convolutional(rng: np.random.Generator) -> Candidate:
    """A convolutional candidate for Adam, with or without distortions."""
    channels = ((8, 24), (12, 32), (16, 32), (16, 48), (24, 48), (32, 64))
    config = replace(
        CONVOLUTIONAL,
        channels=channels[rng.integers(len(channels))],
        hidden=(128,) if rng.random() < 0.3 else (),
        augment={} if rng.random() < 0.3 else None,
        learning_rate=float(rng.choice((0.003, 0.004, 0.005, 0.007, 0.01))),
        batch_size=int(rng.choice((50, 100, 200))),
        epochs=2 * int(rng.choice((1, 2, 3, 4, 6))),
    )
    return Candidate(config, 50_000)


def mutate(candidate: Candidate, other: Candidate, rng: np.random.Generator) -> Candidate:
    """The candidate with each setting replaced by that of another one with a probability of 0.3."""
    new, changes = candidate.settings(), other.settings()
    return Candidate.from_settings(
        {name: changes[name] if rng.random() < MUTATION_PROBABILITY else value for name, value in new.items()}
    )


@dataclass(frozen=True)
class Space:
    """The search for one group of target accuracies.

    Attributes:
      targets: validation accuracies, in increasing order.
      draw: a function of a random generator that draws a candidate.
      tries: the number of candidates that are trained with one seed.
      max_seconds: training stops after this time, even if the last target is not reached.
      finalists: the number of candidates for each target that are trained with more seeds.
    """

    targets: tuple[float, ...]
    draw: Callable[[Any], Candidate]
    tries: int
    max_seconds: float
    finalists: int


SPACES = {
    "dense": Space((0.95, 0.97, 0.98), draw_dense, 240, 8.0, 8),
    "convolutional": Space((0.99, 0.995), draw_convolutional, 30, 90.0, 6),
}
