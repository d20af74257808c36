"""Can it read a picture of several digits, such as the chapter's 504192?

The chapter splits this in two: cut the picture into digits, then read each; "try cuts, and let the
classifier's confidence say whether a cut is good". Here 2,000 pictures are drawn of one to eight
digits of the test images, each with one kind of trouble, and read by a plain network with a hundred
hidden neurons that never saw but single digits. What counts is digits right, the edit distance from
the truth taken off, and whole strings right.

Expected: separate digits read nearly as well as single test images; touching ones up to ten points
worse; nothing below a half.

    python -m experiments.several_digits             # about 4 minutes on 2 cores
    python -m experiments.several_digits --quick     # seconds, on the embedded digits
"""

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings, percent
from experiments.pictures import TROUBLES, draw
from nnjax.recognition.reading import MIN_CONFIDENCE, classify

PICTURES, QUICK_PICTURES = 2000, 45
MOST_DIGITS = 8
HIDDEN = 100
LEARNING_RATE, BATCH_SIZE = 1.0, 10
KEY, PICTURES_SEED = 11, 12
SEPARATE, TOUCHING = list(TROUBLES)[:2]


def run(settings: Settings) -> Record:
    """Train the network, then read all pictures; counts by kind of trouble."""
    data = settings.load()
    model = train(data, settings.epochs)
    single = int(nnjax.count_correct(model.params, *data.test, model.objective))
    pictures = QUICK_PICTURES if settings.quick else PICTURES
    found = read_all(model, data.test, pictures, settings.tell)
    return {
        "test_examples": len(data.test.targets),
        "single_correct": single,
        "temperature": model.temperature,
        "doubt": doubts(model, data.test),
        "troubles": found,
    }


def train(data: nnjax.Dataset, epochs: int) -> nnjax.Model:
    """The plain network with a hundred hidden neurons, as a model file gives it."""
    init_key, fit_key = jax.random.split(jax.random.key(KEY))
    sizes = (data.train.inputs.shape[1], HIDDEN, data.num_classes)
    params = nnjax.init(init_key, sizes, nnjax.lecun)
    run = nnjax.fit(fit_key, params, data, learning_rate=LEARNING_RATE, epochs=epochs, batch_size=BATCH_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        nnjax.save_model(path, run.params, nnjax.Objective(), data)
        return nnjax.load_model(path)


def doubts(model: nnjax.Model, split: nnjax.Split) -> Record:
    """Of single images: how many are doubted, and how many of those and of the others are read rightly."""
    p, _ = classify(model, np.asarray(split.inputs))
    right, doubted = p[:, :-1].argmax(axis=1) == split.targets, p[:, :-1].max(axis=1) < MIN_CONFIDENCE
    return {
        "doubted": int(doubted.sum()),
        "right_doubted": int(right[doubted].sum()),
        "right_sure": int(right[~doubted].sum()),
    }


def read_all(model: nnjax.Model, split: nnjax.Split, pictures: int, tell: Any = None) -> list[Record]:
    """What is read of `pictures` pictures of a split's digits, shared out among the troubles."""
    images = np.asarray(split.inputs).reshape(-1, *model.input_shape)
    found = []
    for i, (trouble, manner) in enumerate(TROUBLES.items()):
        counts: Record = {
            "pictures": 0,
            "digits": 0,
            "digits_right": 0,
            "strings_right": 0,
        }
        for j in range(i, pictures, len(TROUBLES)):
            rng = np.random.default_rng((PICTURES_SEED, j))
            chosen = rng.integers(0, len(images), rng.integers(1, MOST_DIGITS + 1))
            picture, truth = draw(rng, images[chosen], split.targets[chosen], manner)
            if j == i:
                counts["example"] = small(picture)
            text = nnjax.read_picture(picture, model).text
            counts["pictures"] += 1
            counts["digits"] += len(chosen)
            counts["digits_right"] += max(0, len(chosen) - distance(text, truth))
            counts["strings_right"] += text == truth
        found.append({"trouble": trouble, **counts})
        if tell:
            tell(f"{i + 1} of {len(TROUBLES)} kinds of trouble")
    return found


def small(picture: np.ndarray) -> np.ndarray:
    """A picture in grey, 40 pixels high or 300 wide at most: what a record shows of it."""
    image = Image.fromarray(picture).convert("L")
    image.thumbnail((300, 40))
    return np.asarray(image)


def distance(a: str, b: str) -> int:
    """How many digits have to be put in, taken out or changed to make b of a (Levenshtein).

    >>> distance("504192", "50492"), distance("17", "71")
    (1, 2)
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def _share(found: Record, what: str = "digits") -> float:
    """Digits or strings read rightly, in percent."""
    of = found["digits" if what == "digits" else "pictures"]
    return 100 * found[f"{what}_right"] / of


def plot(record: Record) -> Any:
    """Digits and strings read rightly by kind of trouble, and an example of each kind."""
    from matplotlib import pyplot

    troubles, n = record["troubles"], len(record["troubles"])
    figure = pyplot.figure(figsize=(11, 8), layout="constrained")
    grid = figure.add_gridspec(n, 2, width_ratios=(0.4, 1.6), hspace=0)
    bars, rows = figure.add_subplot(grid[:, 1]), np.arange(n)
    for shift, what, colour, ink in ((-0.2, "digits", "0.35", "white"), (0.2, "strings", "0.8", "black")):
        shares = [_share(found, what) for found in troubles]
        bars.barh(rows + shift, shares, 0.4, color=colour, edgecolor="black", label=f"{what} right")
        for row, share in zip(rows, shares, strict=True):
            at = {"ha": "right", "va": "center", "fontsize": 8}
            bars.text(share - 1, row + shift, f"{share:.1f}", color=ink, **at)
    single = percent([record["single_correct"]], record["test_examples"])[0]
    bars.axvline(single, color="black", linestyle="--", label=f"single test digits: {single:.1f} %")
    bars.set_yticks(rows, [found["trouble"] for found in troubles])
    bars.set(xlim=(0, 100), ylim=(n - 0.5, -0.5), xlabel="read rightly (%)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    for i, found in enumerate(troubles):
        axis = figure.add_subplot(grid[i, 0])
        axis.imshow(np.asarray(found["example"], np.uint8), cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[], anchor="E")
        axis.set_frame_on(False)
    return figure


def claims(record: Record) -> list[Claim]:
    """The chapter's two sub-problems solved; and what each kind of trouble costs."""
    single = percent([record["single_correct"]], record["test_examples"])[0]
    by_name = {found["trouble"]: found for found in record["troubles"]}
    separate, touching = (_share(by_name[name]) for name in (SEPARATE, TOUCHING))
    doubt, n = record["doubt"], record["test_examples"]
    sure = n - doubt["doubted"]
    told = [
        Claim("A picture of several digits can be cut into single ones and read", "",
              f"{separate:.1f} % of separate digits right, {_share(by_name[SEPARATE], 'strings'):.1f} % of "
              f"strings; single test digits {single:.1f} %", bool(separate > single - 2)),
        Claim("Where they touch, cuts are tried and the confidence of the classifier decides", "",
              f"{touching:.1f} % of touching digits right, {_share(by_name[TOUCHING], 'strings'):.1f} % of "
              "strings", bool(touching > separate - 10)),
    ]  # fmt: skip
    told += [
        Claim(f"Trouble: {name}", "", f"{_share(found):.1f} % of {found['digits']:,} digits, "
              f"{_share(found, 'strings'):.1f} % of {found['pictures']} strings right",
              bool(_share(found) > 50), of_the_chapter=False)
        for name, found in by_name.items()
        if name not in (SEPARATE, TOUCHING)
    ]  # fmt: skip
    ours = f"{doubt['doubted']:,} of {n:,} single test digits are doubted: right are "
    ours += f"{100 * doubt['right_doubted'] / max(1, doubt['doubted']):.0f} % of these, "
    ours += f"{100 * doubt['right_sure'] / max(1, sure):.1f} % of the others"
    return [*told, Claim("What is doubted (?) is oftener wrong", "", ours, of_the_chapter=False)]


EXPERIMENT = Experiment(
    "several_digits", __doc__, run, plot, claims, epochs=30, minutes=4, uses=("dataset", "epochs"),
    constants={
        "pictures": PICTURES, "most_digits": MOST_DIGITS, "pictures_seed": PICTURES_SEED, "hidden": HIDDEN,
        "learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, "key": KEY, "troubles": list(TROUBLES),
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
