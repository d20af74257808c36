"""Seconds of training until a network reads 95, 97 and 98 % of the validation images: a record to beat.

    python -m benchmarks.time_to_accuracy           # about 20 minutes on 2 quiet cores
    python -m benchmarks.time_to_accuracy --tries 5 --seeds 2 --output /tmp/time.json

The rules. One network, from random parameters, trained by `nnjax.fit` on the first so many of MNIST's
50,000 training images. After each epoch the validation images are read, and the first epoch after
which the share is reached ends the training. What counts is the wall time of the epochs until then:
shuffling, gradients, updates. What does not: starting Python, loading, compiling (told apart),
reading validation and test images. Settings are searched on validation with seeds of their own; what
is chosen is tried with 10 other seeds, all of which count. Test images choose nothing.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import nnjax
from benchmarks import turns
from nnjax.nn.dense import ACTIVATIONS
from nnjax.optim.optimizers import num_train_steps

SHARES = (0.95, 0.97, 0.98)
LONGEST = 8.0  # seconds of training, until any settings have reached the last share
LEAST = 0.05  # of the learning rate, at the end of its fall


@dataclass(frozen=True)
class Flags(turns.Place):
    """The flags of this benchmark."""

    tries: int = 240
    """Settings, half of them at random and half near the soonest, each tried with one seed."""
    finalists: int = 8
    """The soonest of them for each share, tried with nine seeds more."""
    seeds: int = 10
    """For the settings that are chosen."""


class Settings(NamedTuple):
    """What is searched. Weights are scaled at first; the cost is cross-entropy of a softmax."""

    hidden: int
    activation: str
    optimizer: str
    learning_rate: float
    batch_size: int
    examples: int
    falls_for: int  # epochs, until the learning rate has come to its least


def _falling(learning_rate: Any, steps: Any) -> Callable:
    """A straight fall of the learning rate; of traced numbers, so that another compiles nothing."""
    return lambda step: learning_rate * jnp.maximum(1 - step / steps, LEAST)


def sgd(learning_rate: float, steps: float) -> optax.GradientTransformation:
    return optax.sgd(_falling(learning_rate, steps))


def nesterov(learning_rate: float, steps: float) -> optax.GradientTransformation:
    return optax.sgd(_falling(learning_rate, steps), 0.9, nesterov=True)


def adam(learning_rate: float, steps: float) -> optax.GradientTransformation:
    return optax.adam(_falling(learning_rate, steps))


# With a learning rate that suits mini-batches of 10, and the power by which it grows with them.
OPTIMIZERS = {"sgd": (sgd, 0.15, 1.0), "nesterov": (nesterov, 0.015, 1.0), "adam": (adam, 0.0015, 0.5)}


def drawn(rng: np.random.Generator) -> Settings:
    """Settings at random, learning rates from a third to three times of what suits."""
    optimizer, batch_size = str(rng.choice(list(OPTIMIZERS))), int(rng.choice((10, 20, 50, 100)))
    _, usual, power = OPTIMIZERS[optimizer]
    rate = usual * (batch_size / 10) ** power * 3 ** rng.uniform(-1, 1)
    return Settings(
        hidden=int(rng.choice((30, 50, 80, 120, 200, 300, 500))),
        activation=str(rng.choice(("relu", "tanh"))),
        optimizer=optimizer,
        learning_rate=float(f"{rate:.2g}"),
        batch_size=batch_size,
        examples=int(rng.choice((10_000, 25_000, 50_000))),
        falls_for=int(rng.choice((1, 2, 3, 4, 6, 8))),
    )


def near(settings: Settings, rng: np.random.Generator) -> Settings:
    """The same, but each part with a chance of three in ten another."""
    return Settings._make(b if rng.random() < 0.3 else a for a, b in zip(settings, drawn(rng), strict=True))


def train(settings: Settings, data: nnjax.Dataset, seed: int, share: float, longest: float) -> dict[str, Any]:
    """Train until the share is reached, or for so many seconds, or twice as long as the rate falls."""
    some = nnjax.Dataset.from_arrays(
        tuple(part[: settings.examples] for part in data.train), data.validation, data.test
    )
    of = len(data.validation.targets)
    init_key, fit_key = jax.random.split(jax.random.key(seed))
    params = nnjax.init(init_key, (data.train.inputs.shape[1], settings.hidden, 10), nnjax.lecun)
    forward = nnjax.Dense(ACTIVATIONS[settings.activation], nnjax.identity)
    steps = num_train_steps(settings.falls_for, settings.examples, settings.batch_size)
    began, ended = time.perf_counter(), []

    def ends(run: nnjax.Run) -> bool:
        ended.append(time.perf_counter())
        return bool(run.history.validation_correct[-1] / of >= share or run.history.seconds.sum() > longest)

    history = nnjax.fit(
        fit_key,
        params,
        some,
        objective=nnjax.Objective(forward, nnjax.softmax_cross_entropy),
        optimizer=OPTIMIZERS[settings.optimizer][0],
        learning_rate=settings.learning_rate,
        steps=float(steps),
        batch_size=settings.batch_size,
        epochs=2 * settings.falls_for,
        callback=ends,
        stop_on_nan=True,
    ).history
    return {
        "seed": seed,
        "seconds": history.seconds.cumsum().tolist(),
        "validation": (history.validation_correct / of).tolist(),
        "test_correct": int(history.test_correct[-1]),
        "compiling": float(ended[0] - began - history.seconds[0]),  # and evaluating once
    }


def until(share: float, run: dict[str, Any]) -> float:
    """The seconds after which a run had reached the share; infinity where it had not."""
    return next((s for s, v in zip(run["seconds"], run["validation"], strict=True) if v >= share), np.inf)


def soonest(share: float, tried: list[tuple[Settings, dict[str, Any]]]) -> list:
    """What came to a share, the soonest first."""
    came = [one for one in tried if until(share, one[1]) < np.inf]
    return sorted(came, key=lambda one: until(share, one[1]))


def search(flags: Flags, data: nnjax.Dataset) -> list[tuple[Settings, dict[str, Any]]]:
    """Settings and a run of each, which ends when it takes half as long again as the soonest."""
    rng, tried, longest = np.random.default_rng(0), [], LONGEST
    for i in range(flags.tries):
        known = soonest(SHARES[i % len(SHARES)], tried)[:3]
        by_chance = i < flags.tries / 2 or not known
        settings = drawn(rng) if by_chance else near(known[rng.integers(len(known))][0], rng)
        run = train(settings, data, 0, SHARES[-1], longest)
        tried.append((settings, run))
        longest = min(longest, 1.5 * until(SHARES[-1], run))
        reached = ", ".join(f"{until(share, run):.2f}" for share in SHARES)
        print(f"{i + 1:4} of {flags.tries}: {reached} s  {tuple(settings)}", flush=True)
    return tried


def chosen(share: float, tried: list, finalists: int, data: nnjax.Dataset) -> Settings:
    """Of the settings that came to a share soonest, those with the least mean over ten seeds."""
    known = soonest(share, tried)[:finalists]

    def mean(one):
        settings, run = one
        longest = 3 * until(share, run)
        more = [train(settings, data, seed, share, longest) for seed in range(1, 10)]
        taken = statistics.mean(until(share, r) for r in (run, *more))
        print(f"{share:.0%}: {taken:.2f} s, the mean of ten seeds  {tuple(settings)}", flush=True)
        return taken

    means = {settings: mean((settings, run)) for settings, run in known}
    best = min(means, key=lambda settings: means[settings], default=None)
    if best is None or means[best] == np.inf:
        raise RuntimeError(f"of {len(tried)} settings none came to {share:.0%} with every seed: try more")
    return best


def run(flags: Flags) -> dict[str, Any]:
    """Search, choose, and train with seeds that nothing was chosen on."""
    data = nnjax.load(flags.dataset)
    tried, results = search(flags, data), []
    for share in SHARES:
        settings = chosen(share, tried, flags.finalists, data)
        runs = []
        for seed in range(100, 100 + flags.seeds):
            jax.clear_caches()  # so that each tells what compiling takes
            runs.append(train(settings, data, seed, share, LONGEST))
        results.append({"share": share, "settings": settings._asdict(), "runs": runs})
        print(share, settings, [round(until(share, one), 2) for one in runs], flush=True)
    found = [{"settings": settings._asdict(), "run": one} for settings, one in tried]
    return {
        "dataset": data.name,
        **turns.circumstances(),
        "results": results,
        "searched": found,
    }


def main() -> None:
    """Run, and write the record."""
    flags = tyro.cli(Flags, description=__doc__)
    turns.write(run(flags), "time_to_accuracy", flags.output)


if __name__ == "__main__":
    main()
