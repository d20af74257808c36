"""Trains the detector of digits, which is part of the package: `python -m experiments.digit_detector`.

A small convolutional network learns the examples of experiments/detector_examples.py, in two rounds. The
second one adds the candidates that the first network takes for digits. With test digits, the experiment
real_pictures draws the scenes of SCENES, also the held-out ones, and several_digits the same kinds of
damage. Drawing the examples and training take 30 minutes together on two cores.
"""

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jax
import numpy as np

import nnjax
from experiments.detector_examples import SEED, Examples, examples_of_picture, single_digits
from experiments.photographs import Random
from nnjax.recognition import NO_DIGIT

CONFIG = replace(nnjax.configs["best-cpu"], hidden=(64,), channels=(16, 32), augment=None, epochs=9)
FIRST_PICTURES, PICTURES = 1000, 7000  # of the first round, and of both
VALIDATION = 20  # one of this number of pictures is for validation


def main() -> None:
    """Draws the pictures, trains the network in two rounds, and writes its file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("nnjax/recognition/digit_detector.safetensors"))
    parser.add_argument("--pictures", type=int, default=PICTURES)
    arguments = parser.parse_args()
    first = range(arguments.pictures * FIRST_PICTURES // PICTURES)
    if len(first) < VALIDATION:
        parser.error(f"--pictures must be at least {VALIDATION * PICTURES // FIRST_PICTURES}")
    examples = draw_examples(first, None)
    with tempfile.TemporaryDirectory() as folder:
        first_detector = Path(folder) / "first.safetensors"
        save_detector(first_detector, examples)
        examples += draw_examples(range(len(first), arguments.pictures), first_detector)
    save_detector(arguments.output, examples)


def draw_examples(numbers: range, detector: Path | None) -> list[Examples]:
    """The examples of each of the pictures with these numbers."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(examples_of_picture, detector=detector), numbers, chunksize=20))


def save_detector(path: Path, examples: Sequence[Examples]) -> None:
    """Trains the detector on nineteen of twenty pictures, and writes its file."""
    rng = np.random.default_rng(SEED)
    validation, training = np.split(rng.permutation(len(examples)), [len(examples) // VALIDATION])
    train = balanced(rng, [*(examples[i] for i in training), single_digits(rng)])
    dataset = nnjax.Dataset.from_arrays(train, balanced(rng, [examples[i] for i in validation]))
    init_key, fit_key = jax.random.split(jax.random.key(SEED))
    params, objective = CONFIG.init_fn(dataset)(init_key), CONFIG.objective(dataset)
    run = nnjax.fit(fit_key, params, dataset, **CONFIG.fit_kwargs(dataset))
    accuracy = run.history.validation_accuracy[-1]
    print(f"{len(dataset.train.targets):,} examples, validation accuracy {accuracy:.2%}", flush=True)
    nnjax.save_model(path, run.params, objective, dataset)


def balanced(rng: Random, examples: Sequence[Examples]) -> Examples:
    """All examples of digits and at most as many others, in random order."""
    images, labels = (np.concatenate(part) for part in zip(*examples, strict=True))
    order = rng.permutation(len(labels))
    is_digit = labels[order] < NO_DIGIT
    others = order[~is_digit][: is_digit.sum()]
    chosen = rng.permutation(np.concatenate([order[is_digit], others]))
    return images[chosen], labels[chosen]


if __name__ == "__main__":
    main()
