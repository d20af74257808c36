"""Seconds of training until a network reaches 95, 97 and 98 % validation accuracy: a record to beat.

    python -m benchmarks.time_to_accuracy           # about 20 minutes on 2 idle cores
    python -m benchmarks.time_to_accuracy --tries 5 --seeds 2 --output /tmp/time.json

The rules:

- `nnjax.fit` trains one network from random parameters, on the first N of MNIST's 50,000 training images.
- Validation accuracy is evaluated after each epoch. Training ends when it has reached the target.
- The result is the wall time of the epochs until then: shuffling, gradients and updates. It excludes starting
  Python, loading data, compiling (reported separately) and evaluating.
- The search selects on validation accuracy and has its own seeds. The selected configuration is then trained
  with 10 other seeds, and all of them count. The test split selects nothing.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import nnjax
from benchmarks import harness
from benchmarks.harness import Record
from nnjax.nn import ACTIVATIONS
from nnjax.optim import OPTIMIZERS
from nnjax.runtime import registered_name

TARGETS = (0.95, 0.97, 0.98)
MAX_TRAINING_S = 8.0  # training stops after this time, even if the last target is not reached
MIN_RATE_FACTOR = 0.05  # of the learning rate, after its decay
NUM_BEST = 3  # candidates to mutate
MUTATION_PROBABILITY = 0.3
FINAL_SEED = 100  # the first seed of the final trainings; the search uses 0 to 9
SEARCH_SEEDS = 10

# The center of the search for mini-batches of 10; it is proportional to this power of the batch size.
LEARNING_RATES = {"sgd": (0.15, 1.0), "nesterov": (0.015, 1.0), "adam": (0.0015, 0.5)}
SEARCHED = ("hidden", "activation", "optimizer", "learning_rate", "batch_size", "epochs")


@dataclass(frozen=True)
class Flags(harness.OutputFlags):
    """The flags of this benchmark."""

    tries: int = 240
    """Number of candidates, half of them random and half near the fastest, each trained with one seed."""
    finalists: int = 8
    """Number of fastest candidates for each target that are trained with nine more seeds."""
    seeds: int = 10
    """Number of seeds of the final trainings."""


@cache  # jit compiles a training again if its schedule is another function
def linear_then_constant(num_steps: int) -> Callable[[jax.Array], jax.Array]:
    """A schedule that decays linearly for the first half of training, and then stays at its minimum."""
    return lambda step: jnp.maximum(1 - 2 * step / num_steps, MIN_RATE_FACTOR)


BASE = nnjax.TrainConfig(initial_weights=nnjax.lecun, cost=nnjax.softmax_cross_entropy)


class Candidate(NamedTuple):
    """A configuration, and how many training images it uses."""

    config: nnjax.TrainConfig
    examples: int

    @property
    def decay_epochs(self) -> int:
        """The epochs in which the learning rate decays."""
        return self.config.epochs // 2

    def settings(self) -> Record:
        """What the search varies, as JSON values."""
        factories = {name: default.factory for name, default in OPTIMIZERS.items()}
        return {
            "hidden": self.config.hidden[0],
            "activation": registered_name("activation", self.config.activation, ACTIVATIONS),
            "optimizer": registered_name("optimizer", self.config.optimizer, factories),
            "learning_rate": self.config.learning_rate,
            "batch_size": self.config.batch_size,
            "examples": self.examples,
            "decay_epochs": self.decay_epochs,
        }

    @classmethod
    def from_settings(cls, settings: Record) -> "Candidate":
        """The candidate whose `settings` a record has."""
        config = settings | {"hidden": (settings["hidden"],), "epochs": 2 * settings["decay_epochs"]}
        return cls(replace(BASE, **{name: config[name] for name in SEARCHED}), settings["examples"])


class Trial(NamedTuple):
    """A candidate and the record of its training."""

    candidate: Candidate
    run: Record


def sample_settings(rng: np.random.Generator) -> Candidate:
    """A random candidate, with a learning rate from a third to three times the center of the search."""
    optimizer, batch_size = str(rng.choice(list(LEARNING_RATES))), int(rng.choice((10, 20, 50, 100)))
    center, power = LEARNING_RATES[optimizer]
    learning_rate = center * (batch_size / 10) ** power * 3 ** rng.uniform(-1, 1)
    config = replace(
        BASE,
        hidden=(int(rng.choice((30, 50, 80, 120, 200, 300, 500))),),
        activation=str(rng.choice(("relu", "tanh"))),
        optimizer=optimizer,
        learning_rate=float(f"{learning_rate:.2g}"),
        batch_size=batch_size,
    )
    examples = int(rng.choice((10_000, 25_000, 50_000)))
    return Candidate(replace(config, epochs=2 * int(rng.choice((1, 2, 3, 4, 6, 8)))), examples)


def mutate(candidate: Candidate, rng: np.random.Generator) -> Candidate:
    """The candidate with each setting replaced by a random one with a probability of 0.3."""
    other = sample_settings(rng)
    config_changes = {
        name: getattr(other.config, name) for name in SEARCHED if rng.random() < MUTATION_PROBABILITY
    }
    examples = other.examples if rng.random() < MUTATION_PROBABILITY else candidate.examples
    return Candidate(replace(candidate.config, **config_changes), examples)


def train(candidate: Candidate, data: nnjax.Dataset, seed: int, target: float, max_seconds: float) -> Record:
    """Trains until validation accuracy reaches the target, the time is over, or all epochs are done."""
    train_split = tuple(part[: candidate.examples] for part in data.train)
    subset = nnjax.Dataset.from_arrays(train_split, data.validation, data.test)
    init_key, fit_key = jax.random.split(jax.random.key(seed))
    params = candidate.config.init_fn(subset)(init_key)
    start, ends = time.perf_counter(), []

    def is_finished(run: nnjax.Run) -> bool:
        ends.append(time.perf_counter())
        history = run.history
        return bool(history.validation_accuracy[-1] >= target or history.seconds.sum() > max_seconds)

    steps = candidate.config.epochs * -(-candidate.examples // candidate.config.batch_size)
    arguments: dict[str, Any] = candidate.config.fit_kwargs(subset) | {
        "schedule": linear_then_constant(steps)
    }
    history = nnjax.fit(fit_key, params, subset, **arguments, callback=is_finished, stop_on_nan=True).history
    return {
        "seed": seed,
        "seconds": history.seconds.cumsum().tolist(),
        "validation_accuracy": history.validation_accuracy.tolist(),
        "test_correct": history.test_correct[-1].item(),  # pyright: ignore[reportOptionalSubscript]
        "compile_seconds": float(ends[0] - start - history.seconds[0]),  # with one evaluation
    }


def time_to_target(target: float, run: Record) -> float:
    """The seconds after which a run reached a validation accuracy; infinity if it did not."""
    epochs = zip(run["seconds"], run["validation_accuracy"], strict=True)
    return next((seconds for seconds, accuracy in epochs if accuracy >= target), np.inf)


def fastest(target: float, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that reached a target, the fastest first."""
    reached = [trial for trial in trials if time_to_target(target, trial.run) < np.inf]
    return sorted(reached, key=lambda trial: time_to_target(target, trial.run))


def search(flags: Flags, data: nnjax.Dataset) -> list[Trial]:
    """Trains candidates with one seed each, for at most 1.5 times as long as the fastest so far."""
    rng, trials, max_seconds = np.random.default_rng(0), [], MAX_TRAINING_S
    for i in range(flags.tries):
        best = fastest(TARGETS[i % len(TARGETS)], trials)[:NUM_BEST]
        if i < flags.tries / 2 or not best:
            candidate = sample_settings(rng)
        else:
            candidate = mutate(best[rng.integers(len(best))].candidate, rng)
        run = train(candidate, data, 0, TARGETS[-1], max_seconds)
        trials.append(Trial(candidate, run))
        max_seconds = min(max_seconds, 1.5 * time_to_target(TARGETS[-1], run))
        times = ", ".join(f"{time_to_target(target, run):.2f}" for target in TARGETS)
        print(f"{i + 1:4} of {flags.tries}: {times} s  {candidate.settings()}", flush=True)
    return trials


def choose(target: float, trials: Sequence[Trial], finalists: int, data: nnjax.Dataset) -> Candidate:
    """The candidate with the smallest mean over ten seeds, of those that reached a target fastest.

    Raises:
      RuntimeError: no candidate reached the target with every seed.
    """
    best, best_mean = None, np.inf
    for candidate, run in fastest(target, trials)[:finalists]:
        max_seconds = 3 * time_to_target(target, run)
        more = [train(candidate, data, seed, target, max_seconds) for seed in range(1, SEARCH_SEEDS)]
        mean = statistics.mean(time_to_target(target, run) for run in (run, *more))
        print(f"{target:.0%}: mean of {SEARCH_SEEDS} seeds {mean:.2f} s  {candidate.settings()}", flush=True)
        if mean < best_mean:
            best, best_mean = candidate, mean
    if best is None:
        raise RuntimeError(
            f"at least one candidate must reach {target:.0%} with every seed, got none of {len(trials)}: "
            "increase --tries"
        )
    return best


def final_runs(target: float, candidate: Candidate, data: nnjax.Dataset, seeds: int) -> list[Record]:
    """The trainings of a candidate with seeds that the search did not use."""
    runs = []
    for seed in range(FINAL_SEED, FINAL_SEED + seeds):
        jax.clear_caches()  # so that every training reports its compilation
        runs.append(train(candidate, data, seed, target, MAX_TRAINING_S))
    return runs


def run(flags: Flags) -> Record:
    """Searches, chooses a candidate for each target, and trains it with seeds that the search did not use."""
    data = nnjax.load(flags.dataset)
    trials, results = search(flags, data), []
    for target in TARGETS:
        candidate = choose(target, trials, flags.finalists, data)
        runs = final_runs(target, candidate, data, flags.seeds)
        results.append({"target": target, "settings": candidate.settings(), "runs": runs})
        print(target, results[-1]["settings"], [round(time_to_target(target, run), 2) for run in runs])
    searched: list[Any] = [{"settings": trial.candidate.settings(), "run": trial.run} for trial in trials]
    return {
        "dataset": data.name,
        "num_test": len(data.test.targets),
        **harness.provenance(),
        "results": results,
        "searched": searched,
    }


def main() -> None:
    """Runs the benchmark and writes the record."""
    flags = tyro.cli(Flags, description=__doc__)
    harness.write_result(run(flags), "time_to_accuracy", flags.output)


if __name__ == "__main__":
    main()
