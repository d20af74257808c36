"""How well are digits recognized in photographs, scans and forms?

The experiment several_digits draws clean strings. Here 2,000 pictures of one to eight test digits are drawn
as people write and photograph them: photographs taken at an angle, with shadows and dark objects, boxes,
ruled and squared paper, thin pens, scattered digits, letters. The best network for CPUs recognizes them.
Recall is the fraction of the digits that are found with the correct label. Precision is the fraction of the
reported digits that are correct. In 1,000 other pictures there is no digit, so every reported digit is wrong.
Last, pictures are resized to half and to twice their size, which should not change the text.

Expected: separate digits at most 1 point below single test digits, touching ones at most 5, at least 85 %
recall and 95 % precision for every kind, digits reported in at most 2 % of the pictures without digits, and
the same text for at least 98 % of the resized pictures.
"""

import itertools
import time
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

import nnjax
from experiments.bars_and_examples import bars_and_examples
from experiments.experiment import Claim, Experiment, Record, RunContext
from experiments.no_digits import KINDS, no_digits
from experiments.scenes import SCENES, draw
from experiments.several_digits import thumbnail, train

CONFIG = nnjax.configs["best-cpu"]
PICTURES, QUICK_PICTURES = 2000, 15
BLANK_PICTURES, QUICK_BLANK_PICTURES = 1000, 6
RESIZED_PICTURES, QUICK_RESIZED_PICTURES = 300, 2
QUICK_CHANNELS = (8,)
MAX_DIGITS = 8
SEED = 31
SEPARATE, TOUCHING = list(SCENES)[:2]


def run(context: RunContext) -> Record:
    """Trains the network, then recognizes all pictures; counts by kind."""
    data = context.load()
    quick, config = context.quick, replace(CONFIG, epochs=context.epochs)
    model = train(data, replace(config, channels=QUICK_CHANNELS) if quick else config)
    pictures = QUICK_PICTURES if quick else PICTURES
    kinds = []
    for i, name in enumerate(SCENES):
        kinds.append(read_scene(model, data.test, name, range(i, pictures, len(SCENES))))
        context.report(f"{i + 1} of {len(SCENES)} kinds")
    return {
        "num_test": len(data.test.targets),
        "single_correct": int(nnjax.count_correct(model.params, *data.test, model.objective)),
        "kinds": kinds,
        "blank": read_blank(model, QUICK_BLANK_PICTURES if quick else BLANK_PICTURES),
        "resized": read_resized(model, data.test, QUICK_RESIZED_PICTURES if quick else RESIZED_PICTURES),
    }


def draw_scene(split: nnjax.Split, name: str, number: int) -> tuple[np.ndarray, list, str]:
    """The picture of this kind with this number, which is its random seed."""
    rng = np.random.default_rng((SEED, number))
    chosen = rng.integers(0, len(split.targets), rng.integers(1, MAX_DIGITS + 1))
    return draw(rng, np.asarray(split.inputs)[chosen], split.targets[chosen], SCENES[name])


def read_scene(model: nnjax.Model, split: nnjax.Split, name: str, numbers: range) -> Record:
    """Draws the pictures with these numbers, and recognizes them."""
    counts: Record = dict.fromkeys(("digits", "reported", "correct", "correct_strings"), 0)
    seconds = []
    for number in numbers:
        picture, digits, text = draw_scene(split, name, number)
        counts.setdefault("example", thumbnail(picture, 60))
        start = time.perf_counter()
        reading = nnjax.read_picture(picture, model)
        seconds.append(time.perf_counter() - start)
        counts["digits"] += len(digits)
        counts["reported"] += len(reading.confidence)
        counts["correct"] += num_correct(reading, digits)
        counts["correct_strings"] += reading.text.replace(" ", "") == text
    return {"name": name, "pictures": len(numbers), "seconds": float(np.median(seconds)), **counts}


def num_correct(reading: nnjax.Reading, digits: list[tuple[int, Any]]) -> int:
    """The number of digits that are reported with the correct label, at the correct place.

    >>> boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]])
    >>> reading = nnjax.Reading("71", np.ones(2), boxes, np.zeros((2, 28, 28), np.uint8))
    >>> num_correct(reading, [(7, (1, 1, 9, 9)), (7, (21, 1, 29, 9))])
    1
    """
    remaining, correct = list(digits), 0
    labels = [int(c) for c in reading.text if not c.isspace()]
    for label, (left, top, right, bottom) in zip(labels, reading.boxes.tolist(), strict=True):
        x, y = (left + right) / 2, (top + bottom) / 2
        for digit in remaining:
            if digit[1][0] <= x <= digit[1][2] and digit[1][1] <= y <= digit[1][3]:
                remaining.remove(digit)
                correct += digit[0] == label
                break
    return correct


def read_blank(model: nnjax.Model, pictures: int) -> Record:
    """Recognizes pictures without digits; counts those in which digits are reported, by kind."""
    kinds: Record = {kind: {"pictures": 0, "with_digits": 0, "digits": 0} for kind in KINDS}
    for n, kind in zip(range(pictures), itertools.cycle(KINDS)):
        reading = nnjax.read_picture(no_digits(np.random.default_rng((SEED, n)), kind), model)
        kinds[kind]["pictures"] += 1
        reported = len(reading.confidence)
        kinds[kind]["digits"] += reported
        kinds[kind]["with_digits"] += reported > 0
    return kinds


def read_resized(model: nnjax.Model, split: nnjax.Split, pictures: int) -> Record:
    """Recognizes pictures of all kinds at half, the same and twice the size."""
    same, names = 0, list(SCENES)
    for n in range(pictures):
        picture, _, _ = draw_scene(split, names[n % len(names)], n)
        image = Image.fromarray(picture)
        sizes = [(round(s * image.width), round(s * image.height)) for s in (0.5, 1, 2)]
        resized = (np.asarray(image.resize(size, Image.Resampling.LANCZOS)) for size in sizes)
        same += len({nnjax.read_picture(x, model).text for x in resized}) == 1
    return {"pictures": pictures, "same": same}


def recall(counts: Record) -> float:
    """The fraction of the digits that are reported correctly, in percent."""
    return 100 * counts["correct"] / max(1, counts["digits"])


def precision(counts: Record) -> float:
    """The fraction of the reported digits that are correct, in percent."""
    return 100 * counts["correct"] / max(1, counts["reported"])


def plot(record: Record) -> Any:
    """Recall and precision by kind, and an example of each."""
    kinds, single = record["kinds"], 100 * record["single_correct"] / record["num_test"]
    values = {"recall": list(map(recall, kinds)), "precision": list(map(precision, kinds))}
    line = single, f"single test digits: {single:.2f} %"
    return bars_and_examples(kinds, values, line, xlabel="digits (%)", inches=10)


def claims(record: Record) -> list[Claim]:
    """Recall and precision of each kind, and how often digits are reported in pictures without digits."""
    by_name = {counts["name"]: counts for counts in record["kinds"]}
    single = 100 * record["single_correct"] / record["num_test"]
    blank, resized = record["blank"], record["resized"]
    blank_pictures, with_digits = (sum(c[key] for c in blank.values()) for key in ("pictures", "with_digits"))

    def describe(counts):
        return (f"recall {recall(counts):.1f} %, precision {precision(counts):.1f} % of {counts['digits']:,} "
                f"digits; {100 * counts['correct_strings'] / counts['pictures']:.1f} % of "
                f"{counts['pictures']} pictures without any error; {counts['seconds']:.2f} s")  # fmt: skip

    def claim(statement, measured, supported):
        return Claim(statement, "", measured, bool(supported), from_book=False)

    return [
        claim(f"Separate digits: at most 1 point below single test digits ({single:.2f} %)",
              describe(by_name[SEPARATE]), recall(by_name[SEPARATE]) >= single - 1),
        claim("Touching digits: at most 5 points below separate ones", describe(by_name[TOUCHING]),
              recall(by_name[TOUCHING]) >= recall(by_name[SEPARATE]) - 5),
        *(claim(f"{name}: at least 85 % recall and 95 % precision", describe(counts),
                recall(counts) >= 85 and precision(counts) >= 95)
          for name, counts in by_name.items() if name not in (SEPARATE, TOUCHING)),
        claim("Letters, textures, drawings and photographs without digits: digits in at most 2 %",
              f"{100 * with_digits / blank_pictures:.1f} % of {blank_pictures:,} pictures: " + ", ".join(
                  f"{kind} {100 * c['with_digits'] / c['pictures']:.1f} %" for kind, c in blank.items()),
              with_digits <= 0.02 * blank_pictures),
        claim("Half, the same and twice the size: the same text in at least 98 %",
              f"{100 * resized['same'] / resized['pictures']:.1f} % of {resized['pictures']} pictures",
              resized["same"] >= 0.98 * resized["pictures"]),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "real_pictures", __doc__, run, plot, claims, epochs=CONFIG.epochs, minutes=15, uses=("dataset", "epochs"),
    constants={
        "config": CONFIG.to_json(), "pictures": PICTURES, "max_digits": MAX_DIGITS, "seed": SEED,
        "blank_pictures": BLANK_PICTURES, "resized_pictures": RESIZED_PICTURES, "kinds": list(SCENES),
        "blank_kinds": list(KINDS),
    },
)  # fmt: skip
