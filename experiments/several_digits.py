"""How accurately are pictures of several digits recognized, such as the chapter's 504192?

The chapter splits the problem in two: cut the picture into digits, then classify each. It suggests trying
cuts and using the classifier's confidence to judge them. Here 2,000 pictures of one to eight test digits are
drawn, each with one kind of corruption. A dense network with 100 hidden neurons, trained only on single
digits, recognizes them. The digit accuracy subtracts the edit distance from the number of digits; the string
accuracy counts pictures without any error.

Expected: separate digits are recognized nearly as well as single test images, touching digits up to ten
points worse, and the accuracy of no corruption is below 50 %.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

import nnjax
from experiments.bars_and_examples import bars_and_examples
from experiments.corruptions import CORRUPTIONS, draw
from experiments.experiment import Claim, Experiment, Record, RunContext
from nnjax.recognition import MIN_CONFIDENCE, classify

CONFIG = nnjax.TrainConfig(hidden=(100,), initial_weights=nnjax.lecun, learning_rate=1.0)
PICTURES, QUICK_PICTURES = 2000, 15
MAX_DIGITS, QUICK_MAX_DIGITS = 8, 2
QUICK_HIDDEN = (30,)
KEY, PICTURES_SEED = 11, 12
SEPARATE, TOUCHING = list(CORRUPTIONS)[:2]


def run(context: RunContext) -> Record:
    """Trains the network, then recognizes all pictures; counts by corruption."""
    data = context.load()
    config = replace(CONFIG, epochs=context.epochs)
    model = train(data, replace(config, hidden=QUICK_HIDDEN) if context.quick else config)
    pictures, max_digits = (QUICK_PICTURES, QUICK_MAX_DIGITS) if context.quick else (PICTURES, MAX_DIGITS)
    corruptions = []
    for i, name in enumerate(CORRUPTIONS):
        corruptions.append(
            read_pictures(model, data.test, name, range(i, pictures, len(CORRUPTIONS)), max_digits)
        )
        context.report(f"{i + 1} of {len(CORRUPTIONS)} corruptions")
    return {
        "num_test": len(data.test.targets),
        "single_correct": int(nnjax.count_correct(model.params, *data.test, model.objective)),
        "temperature": model.temperature,
        "uncertain": count_uncertain(model, data.test),
        "corruptions": corruptions,
    }


def train(data: nnjax.Dataset, config: nnjax.TrainConfig) -> nnjax.Model:
    """The network as it is loaded from a model file."""
    init_key, fit_key = jax.random.split(jax.random.key(KEY))
    params, objective = config.init_fn(data)(init_key), config.objective(data)
    run = nnjax.fit(fit_key, params, data, **config.fit_kwargs(data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        calibration = nnjax.calibrate(run.params, objective, data)
        nnjax.save_model(path, run.params, objective, data, calibration=calibration)
        return nnjax.load_model(path)


def count_uncertain(model: nnjax.Model, split: nnjax.Split) -> Record:
    """For single images: the number of uncertain ones, and the correct ones among these and the others."""
    p = classify(model, np.asarray(split.inputs))
    correct, uncertain = p[:, :-1].argmax(axis=1) == split.targets, p[:, :-1].max(axis=1) < MIN_CONFIDENCE
    return {
        "images": int(uncertain.sum()),
        "correct": int(correct[uncertain].sum()),
        "correct_of_others": int(correct[~uncertain].sum()),
    }


def read_pictures(
    model: nnjax.Model, split: nnjax.Split, name: str, numbers: range, max_digits: int
) -> Record:
    """Draws the pictures with these numbers, which are their random seeds, and recognizes them."""
    images = np.asarray(split.inputs)
    counts: Record = {"pictures": len(numbers), "digits": 0, "correct_digits": 0, "correct_strings": 0}
    for number in numbers:
        rng = np.random.default_rng((PICTURES_SEED, number))
        chosen = rng.integers(0, len(images), rng.integers(1, max_digits + 1))
        picture, truth = draw(rng, images[chosen], split.targets[chosen], CORRUPTIONS[name])
        counts.setdefault("example", thumbnail(picture))
        text = nnjax.read_picture(picture, model).text.replace(" ", "")
        counts["digits"] += len(chosen)
        counts["correct_digits"] += max(0, len(chosen) - edit_distance(text, truth))
        counts["correct_strings"] += text == truth
    return {"name": name, **counts}


def thumbnail(picture: np.ndarray, height: int = 40) -> np.ndarray:
    """A picture in gray, at most this high and 300 pixels wide, for the record."""
    image = Image.fromarray(picture).convert("L")
    image.thumbnail((300, height))
    return np.asarray(image)


def edit_distance(a: str, b: str) -> int:
    """The number of digits to insert, delete or replace so that a becomes b (Levenshtein).

    >>> edit_distance("504192", "50492"), edit_distance("17", "71")
    (1, 2)
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def accuracy(counts: Record, what: str = "digits") -> float:
    """The accuracy of digits or strings, in percent."""
    return 100 * counts[f"correct_{what}"] / counts["digits" if what == "digits" else "pictures"]


def plot(record: Record) -> Any:
    """The accuracy of digits and strings by corruption, and an example of each."""
    corruptions, single = record["corruptions"], 100 * record["single_correct"] / record["num_test"]
    values = {
        f"accuracy of {what}": [accuracy(counts, what) for counts in corruptions]
        for what in ("digits", "strings")
    }
    line = single, f"single test digits: {single:.1f} %"
    return bars_and_examples(corruptions, values, line, xlabel="accuracy (%)", inches=8)


def claims(record: Record) -> list[Claim]:
    """The chapter's two sub-problems, and what each corruption costs."""
    n, by_name = record["num_test"], {counts["name"]: counts for counts in record["corruptions"]}
    single = 100 * record["single_correct"] / n
    separate, touching = (accuracy(by_name[name]) for name in (SEPARATE, TOUCHING))

    def describe(name):
        counts = by_name[name]
        return (f"{accuracy(counts):.1f} % of {counts['digits']:,} digits, "
                f"{accuracy(counts, 'strings'):.1f} % of {counts['pictures']} strings")  # fmt: skip

    uncertain = record["uncertain"]
    of_uncertain = 100 * uncertain["correct"] / max(1, uncertain["images"])
    of_others = 100 * uncertain["correct_of_others"] / max(1, n - uncertain["images"])
    return [
        Claim("A picture of several digits can be cut into digits and recognized", "",
              f"{describe(SEPARATE)}; single test digits {single:.1f} %", bool(separate > single - 2)),
        Claim("Touching digits: try cuts, and let the classifier's confidence decide", "", describe(TOUCHING),
              bool(touching > separate - 10)),
        *(Claim(f"Corruption: {name}", "", describe(name), accuracy(by_name[name]) > 50, from_book=False)
          for name in by_name if name not in (SEPARATE, TOUCHING)),
        Claim("Digits marked as uncertain (?) are wrong more often", "",
              f"{100 * uncertain['images'] / n:.1f} % of the single test digits are uncertain; "
              f"{of_uncertain:.1f} % of these are correct, and {of_others:.1f} % of the others",
              bool(of_uncertain < of_others), from_book=False),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "several_digits", __doc__, run, plot, claims, epochs=CONFIG.epochs, minutes=4, uses=("dataset", "epochs"),
    constants={
        "config": CONFIG.to_json(), "pictures": PICTURES, "max_digits": MAX_DIGITS,
        "pictures_seed": PICTURES_SEED, "key": KEY, "corruptions": list(CORRUPTIONS),
    },
)  # fmt: skip
