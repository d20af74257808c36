"""Seconds of whole trainings on an accelerator: a sweep, a comparison, and networks of high accuracy.

The settings of the accurate networks come from committed records. They were found on CPUs.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from benchmarks import compare, harness, peers, time_to_accuracy
from benchmarks.candidates import Candidate
from benchmarks.harness import Record

MIN_TARGET = 0.99  # of the validation accuracies of `time_to_accuracy` that are measured here
LADDER = Path(__file__).parents[1] / "experiments" / "results" / "ladder.json"
# With augmentation, compiling a convolutional network takes half a minute on a CPU.
QUICK_CONFIG: dict[str, Any] = {"channels": (4,), "hidden": (30,), "augment": None, "epochs": 1}


def sweep_rows(data: nnjax.Dataset, networks: int, epochs: int = 30) -> Iterator[Record]:
    """The seconds of a whole sweep, with initialization, compilation and evaluation."""
    start = time.perf_counter()
    nnjax.sweep(jax.random.key(0), data, seeds=networks, epochs=epochs, learning_rate=peers.LEARNING_RATE)
    yield {"networks": networks, "epochs": epochs, "seconds": time.perf_counter() - start}


def compare_rows(problems: tuple[str, ...], rounds: int) -> Iterator[Record]:
    """The seconds of `nnjax compare` with an empty compilation cache, as in `benchmarks.compare`."""
    compare.check_plan(problems)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            seconds, training_seconds = compare.time_command(Path(folder), problems)
        yield {"problems": problems, "seconds": seconds, "training_seconds": training_seconds}


def time_to_accuracy_rows(data: nnjax.Dataset, seeds: int) -> Iterator[Record]:
    """For each target of at least 99 % in the record of `time_to_accuracy`, trainings with its settings.

    Raises:
      ValueError: the record has no such target.
    """
    parts = json.loads((harness.RESULTS / "time_to_accuracy.json").read_text()).values()
    results = [result for part in parts for result in part["results"]]
    chosen = [result for result in results if result["target"] >= MIN_TARGET]
    if not chosen:
        raise ValueError(
            f"time_to_accuracy.json must have a target of at least {MIN_TARGET:g}, got "
            f"{', '.join(str(result['target']) for result in results)}"
        )
    for target, settings in ((result["target"], result["settings"]) for result in chosen):
        candidate = Candidate.from_settings(settings)
        runs = time_to_accuracy.final_runs(target, candidate, data, seeds)
        yield {"target": target, "settings": settings, "runs": runs}


def ladder_rows(data: nnjax.Dataset, changes: dict[str, Any]) -> Iterator[Record]:
    """One network of the ladder's best step, and one ensemble of its best step with ensembles.

    Args:
      data: the data set.
      changes: fields of the configurations that differ from the ladder's.
    """
    steps = json.loads(LADDER.read_text())["steps"]
    for is_ensemble in (False, True):
        candidates = [step for step in steps if (step["ensemble_size"] > 1) == is_ensemble]
        step = max(candidates, key=lambda step: np.mean(step["validation_correct"]))
        config = replace(nnjax.TrainConfig.from_json(step["config"]), **changes)
        start = time.perf_counter()
        networks, training_seconds = train_networks(config, data, step["ensemble_size"])
        seconds = time.perf_counter() - start
        yield {
            "name": step["name"],
            "config": config.to_json(),
            "networks": len(networks),
            "seconds": seconds,
            "training_seconds": training_seconds,
            "validation_accuracy": accuracy(networks, config.objective(data), data.validation),
            "test_accuracy": accuracy(networks, config.objective(data), data.test),
        }


def train_networks(config: nnjax.TrainConfig, data: nnjax.Dataset, networks: int) -> tuple[list[Any], float]:
    """Trains one network with `fit`, or several with `sweep`: their parameters, and the seconds of epochs."""
    key = jax.random.key(0)
    if networks == 1:
        run = config.fit(key, data)
        return [run.params], float(run.history.seconds.sum())
    grid = config.sweep(key, data, seeds=networks, shared_batches=False)
    return [grid.params(seed=seed) for seed in range(networks)], float(grid.seconds.sum())


def accuracy(networks: Sequence[Any], objective: nnjax.Objective, split: nnjax.Split) -> float:
    """The accuracy of the networks' mean probabilities."""
    inputs = jnp.asarray(split.inputs)
    outputs = np.mean([nnjax.outputs(params, inputs, objective) for params in networks], axis=0)
    return float(np.mean(outputs.argmax(axis=-1) == np.asarray(split.targets)))
