"""Trains the detector of digits, which is part of the package: `python -m experiments.digit_detector`.

Pictures of all scenes are drawn from the training digits of MNIST, and others without digits. Their
candidates for digits are cut out as `read_picture` does it. A candidate that covers one digit is a positive
example. One that covers only a part of a digit, or several digits, is a negative example. Single training
images, and the same at low resolution, are positive examples, too. A small convolutional network learns to
distinguish the two. The experiment real_pictures draws the same scenes with test digits. Drawing the pictures
takes a quarter of an hour on two cores, training two minutes.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import nnjax
from experiments.corruptions import crop_to_ink
from experiments.no_digits import no_digits
from experiments.photographs import Box, Random
from experiments.scenes import SCENES, draw
from nnjax.recognition import find_digit_candidates, open_picture, to_mnist

CONFIG = replace(nnjax.configs["best-cpu"], hidden=(32,), channels=(8, 16), augment=None, epochs=9)
PICTURES, MAX_DIGITS, MAX_OTHERS = 4600, 8, 40
MIN_OVERLAP, MAX_OVERLAP = 0.8, 0.6  # of the boxes of a candidate and of a digit; between them it is unclear
SINGLE_DIGITS, COARSE_DIGITS, OTHERS = 30_000, 11_000, 80_000
SEED = 41


def main() -> None:
    """Draws the pictures, trains the network, and writes its file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("nnjax/recognition/digit_detector.safetensors"))
    parser.add_argument("--pictures", type=int, default=PICTURES)
    arguments = parser.parse_args()
    data = nnjax.load("mnist")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        parts = pool.map(partial(crops_of_picture, data.train), range(arguments.pictures), chunksize=20)
        digits, others = (np.concatenate(part) for part in zip(*parts, strict=True))
    rng, images = np.random.default_rng(SEED), np.asarray(data.train.inputs)
    single = images[rng.permutation(len(images))[:SINGLE_DIGITS]]
    coarse = np.stack([coarse_digit(rng, images[i]) for i in rng.integers(0, len(images), COARSE_DIGITS)])
    digits = np.concatenate([single, coarse, digits])
    others = others[rng.permutation(len(others))[:OTHERS]]
    crops, is_digit = np.concatenate([digits, others]), np.repeat([1, 0], [len(digits), len(others)])
    # Crops of one picture can be in both splits, so the validation accuracy is a bit too high.
    order = rng.permutation(len(crops))
    train, validation = np.split(order, [int(0.95 * len(order))])
    pairs = ((crops[part], is_digit[part]) for part in (train, validation))
    dataset = nnjax.Dataset.from_arrays(*pairs)
    init_key, fit_key = jax.random.split(jax.random.key(SEED))
    params, objective = CONFIG.init_fn(dataset)(init_key), CONFIG.objective(dataset)
    run = nnjax.fit(fit_key, params, dataset, **CONFIG.fit_kwargs(dataset))
    accuracy = run.history.validation_accuracy[-1]
    print(f"{len(digits):,} digits, {len(others):,} others: {accuracy:.2%} validation accuracy")
    nnjax.save_model(arguments.output, run.params, objective, dataset)


def crops_of_picture(split: nnjax.Split, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The crops of digits, and other crops, of the picture with this number; a quarter has no digits."""
    rng, digits = np.random.default_rng((SEED, number)), []
    if number % 4 == 3:
        picture = no_digits(rng, (number // 4) % 3)  # without sample images, which are used for tests
    else:
        scenes = list(SCENES.values())
        chosen = rng.integers(0, len(split.targets), rng.integers(1, MAX_DIGITS + 1))
        images, labels = np.asarray(split.inputs)[chosen], np.asarray(split.targets)[chosen]
        picture, digits, _ = draw(rng, images, labels, scenes[number % len(scenes)])
    page = find_digit_candidates(open_picture(picture))
    segmentations = [part.segmentation for part in page.parts]
    candidates = [(ink, candidate) for ink in segmentations for candidate in ink.candidates]
    boxes = page.in_picture([candidate.box for _, candidate in candidates])
    covered = np.array([max((overlap(box, b) for _, b in digits), default=0.0) for box in boxes.tolist()])
    others = rng.permutation(np.flatnonzero(covered <= MAX_OVERLAP))[:MAX_OTHERS]

    def crops(chosen):
        images = [
            to_mnist(page.crop(ink.pixels(candidate))) for ink, candidate in (candidates[i] for i in chosen)
        ]
        return np.array(images, np.uint8).reshape(-1, 28, 28)

    return crops(np.flatnonzero(covered >= MIN_OVERLAP)), crops(others)


def overlap(a: Box, b: Box) -> float:
    """The area that two boxes share, divided by the area that at least one of them covers.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def coarse_digit(rng: Random, image: np.ndarray) -> np.ndarray:
    """A digit of 8 to 12 pixels height, enlarged again."""
    digit = crop_to_ink(image, 30)
    height = int(rng.integers(8, 13))
    width = max(3, round(height * digit.shape[1] / digit.shape[0] * rng.uniform(0.8, 1.3)))
    small = np.pad(np.asarray(Image.fromarray(digit).resize((width, height), Image.Resampling.BOX)), 2)
    methods = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
    size = tuple(int(rng.integers(5, 10)) * n for n in small.shape[::-1])
    large = np.asarray(Image.fromarray(small).resize(size, methods[rng.integers(len(methods))])) / 255
    return to_mnist(crop_to_ink(large, 0.1))


if __name__ == "__main__":
    main()
