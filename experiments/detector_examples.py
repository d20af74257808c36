"""Examples for the detector of digits: candidates of drawn pictures, with their digit or `NO_DIGIT`.

The pictures are scenes with training digits of MNIST, letters or both, and pictures without digits. Their
candidates for digits are cut out as `read_picture` does it. A candidate that covers one digit gets its
label. A part of a digit, several digits or something else get the label `NO_DIGIT`.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import nnjax
from experiments.corruptions import add_noise, blur, break_strokes, crop_to_ink, grow_strokes
from experiments.letters import letter_images
from experiments.no_digits import KINDS, no_digits
from experiments.photographs import Box, Ink, Page, Random
from experiments.scenes import SCENES, Scene, draw, touching
from nnjax.recognition import NO_DIGIT, digit_probability, find_digit_candidates, open_picture, to_mnist

HELD_OUT = ("photo with a shadow", "photo of boxes", "showing through", "text", "sample image")  # for tests
BLANK_KINDS = [kind for kind in KINDS if kind not in HELD_OUT]
MAX_DIGITS = 8  # of a picture
MAX_GAP = 0.5  # between the digits of a scene with damage, relative to their height
MAX_THINNER_PX, MAX_THICKER_PX = 2, 4  # the change of strokes on each side
MIN_SCALE, MAX_SCALE = 0.4, 1.5  # pictures are resized by a random factor
COARSE_PICTURES = 0.2  # the fraction of pictures with coarse digits, half of them from the 8x8 digits
MIN_OVERLAP, MAX_OVERLAP = 0.8, 0.6  # of the boxes of a candidate and of a digit; between them it is unclear
MAX_OTHERS = 24  # random candidates of a picture that are no digits, and as many hard ones
SINGLE_DIGITS, COARSE_DIGITS = 30_000, 11_000
SEED = 41


def _noisy(rng: Random, page: Page) -> Ink:
    """The ink with noise and specks, which are added to a white page."""
    white_page = 1 - page.ink[..., None]
    return 1 - add_noise(rng, white_page, page.height)[..., 0]


DAMAGES: list[Callable[[Random, Page], Ink]] = [
    lambda rng, page: page.ink,
    lambda rng, page: grow_strokes(page.ink, int(rng.integers(-MAX_THINNER_PX, MAX_THICKER_PX + 1))),
    lambda rng, page: break_strokes(rng, page.ink, page.height),
    lambda rng, page: blur(rng, page.ink, page.height),
    _noisy,
]
DIGIT_SCENES = [
    *(scene for name, scene in SCENES.items() if name not in HELD_OUT),
    *2 * [SCENES["touching digits"]],  # the most difficult ones
    *(Scene(partial(touching, max_gap=MAX_GAP), damage) for damage in DAMAGES),
]

SHAPE = (28, 28, 2)  # of an image: a candidate, and the strokes around it
Examples = tuple[np.ndarray, np.ndarray]  # images (n, *SHAPE) uint8, and their labels (n,)
Digits = list[tuple[int, Box]]  # the label and the box of each digit of a picture


@cache
def training_digits(dataset: str = "mnist") -> nnjax.Split:
    """The training digits of MNIST or of another dataset, loaded once in each process."""
    return nnjax.load(dataset).train


def examples_of_picture(
    number: int, split: nnjax.Split | None = None, detector: Path | None = None
) -> Examples:
    """Candidates of the picture with this number.

    Args:
      number: decides the random numbers, the content and the scene.
      split: the digits; by default the training digits of MNIST.
      detector: adds up to `MAX_OTHERS` other candidates, those with its highest probabilities.
    """
    rng = np.random.default_rng((SEED, number))
    picture, digits = draw_picture(rng, split or training_digits(), number)
    page = find_digit_candidates(open_picture(picture))
    candidates = [
        (part.segmentation, candidate) for part in page.parts for candidate in part.segmentation.candidates
    ]
    labels, covered = _shown(page.in_picture([candidate.box for _, candidate in candidates]), digits)

    def images(chosen: np.ndarray) -> np.ndarray:
        pixels = (
            segmentation.pixels(candidate) for segmentation, candidate in (candidates[i] for i in chosen)
        )
        return np.array([page.detector_image(p) for p in pixels], np.uint8).reshape(-1, *SHAPE)

    shown = np.flatnonzero(covered >= MIN_OVERLAP)
    others = rng.permutation(np.flatnonzero(covered <= MAX_OVERLAP))
    chosen = [images(shown), images(others[:MAX_OTHERS])]
    if detector:
        rest = images(others[MAX_OTHERS:])
        chosen.append(rest[np.argsort(-digit_probability(rest, load_detector(detector)))[:MAX_OTHERS]])
    others = np.full(sum(map(len, chosen[1:])), NO_DIGIT)
    return np.concatenate(chosen), np.concatenate([labels[shown], others])


load_detector = cache(nnjax.load_model)


def _shown(boxes: np.ndarray, digits: Digits) -> tuple[np.ndarray, np.ndarray]:
    """For each box, the label of the digit that overlaps it most, and how much it does."""
    digits = digits or [(NO_DIGIT, (0, 0, 0, 0))]
    overlaps = [[overlap(box, region) for _, region in digits] for box in boxes.tolist()]
    overlaps = np.array(overlaps).reshape(len(boxes), len(digits))
    labels = np.array([label for label, _ in digits])
    return labels[overlaps.argmax(axis=1)], overlaps.max(axis=1)


def overlap(a: Box, b: Box) -> float:
    """The area that two boxes share, divided by the area that at least one of them covers.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / max(1, sum(areas) - shared)  # a box can be smaller than a pixel


def draw_picture(rng: Random, split: nnjax.Split, number: int) -> tuple[np.ndarray, Digits]:
    """A picture and its digits; `number` selects digits, digits and letters, letters, or neither."""
    content = number % 4
    if content == 3:
        return resized(rng, no_digits(rng, BLANK_KINDS[number // 4 % len(BLANK_KINDS)]), [])
    count, is_coarse = int(rng.integers(1, MAX_DIGITS + 1)), rng.random() < COARSE_PICTURES
    images, labels = coarse_digits(rng, split, count) if is_coarse else random_digits(rng, split, count)
    is_letter = rng.random(count) < (0, 0.3, 1)[content]
    if is_letter.any():
        images[is_letter] = _resized_images(letter_images(rng, is_letter.sum()), images.shape[1])
        labels[is_letter] = NO_DIGIT
    picture, digits, _ = draw(rng, images, labels, DIGIT_SCENES[number // 4 % len(DIGIT_SCENES)])
    return resized(rng, picture, [(label, box) for label, box in digits if label < NO_DIGIT])


def resized(rng: Random, picture: np.ndarray, digits: Digits) -> tuple[np.ndarray, Digits]:
    """A picture and the boxes of its digits, resized by a random factor."""
    scale = MIN_SCALE * (MAX_SCALE / MIN_SCALE) ** rng.random()
    size: Any = tuple(max(1, round(scale * n)) for n in picture.shape[::-1])
    image = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    boxes: Any = [tuple(scale * x for x in box) for _, box in digits]
    return np.asarray(image), [(label, box) for (label, _), box in zip(digits, boxes, strict=True)]


def single_digits(rng: Random) -> Examples:
    """Training digits with nothing around them, and coarse ones."""
    split = training_digits()
    images, labels = np.asarray(split.inputs), np.asarray(split.targets)
    single = rng.permutation(len(labels))[:SINGLE_DIGITS]
    coarse = [coarse_digits(rng, split, 1) for _ in range(COARSE_DIGITS)]
    alone = np.concatenate([images[single], *(image for image, _ in coarse)])
    labels = np.concatenate([labels[single], *(label for _, label in coarse)])
    return np.stack([alone, np.zeros_like(alone)], axis=-1), labels


def random_digits(rng: Random, split: nnjax.Split, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of random digits."""
    chosen = rng.integers(0, len(split.targets), count)
    return np.asarray(split.inputs)[chosen], np.array(split.targets)[chosen]


def coarse_digits(rng: Random, split: nnjax.Split, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of coarse digits, either from the split or from the 8x8 digits."""
    split = training_digits("digits") if rng.random() < 0.5 else split
    images, labels = random_digits(rng, split, count)
    return np.stack([coarse_digit(rng, image) for image in images]), labels


def coarse_digit(rng: Random, image: np.ndarray) -> np.ndarray:
    """A digit of 8 to 12 pixels height, enlarged again."""
    digit = crop_to_ink(image, 30)
    height = int(rng.integers(8, 13))
    width = max(3, round(height * digit.shape[1] / digit.shape[0] * rng.uniform(0.7, 1.2)))
    small = np.pad(np.asarray(Image.fromarray(digit).resize((width, height), Image.Resampling.BOX)), 2)
    methods = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
    size = tuple(int(rng.integers(5, 10)) * n for n in small.shape[::-1])
    large = np.asarray(Image.fromarray(small).resize(size, methods[rng.integers(len(methods))])) / 255
    return to_mnist(crop_to_ink(large, 0.1))


def _resized_images(images: np.ndarray, side: int) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in images])
