"""What do the hidden neurons of the chapter's network look for?

The weights of each hidden neuron as a picture, the test images that excite it most (largest z: many
saturate at a = 1), and its weights to the ten outputs; trained from N(0, 1) and from N(0, 1/n_in).
The chapter guesses that a neuron may find a part of a digit, such as a quarter of a 0. So it is
counted: how much of what moves a neuron lies in one quarter of the picture, how many digits excite
it, and how much of its initial weights it still bears; before training and after.

Expected: from N(0, 1) the pictures stay noise; from N(0, 1/n_in) smooth strokes appear, spread over
the whole picture rather than in one quarter, and several digits excite each neuron.

    python -m experiments.hidden_features             # about a minute on 2 cores
    python -m experiments.hidden_features --quick     # seconds, on the embedded digits
"""

from typing import Any

import numpy as np

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings, spread
from nnjax.data import Split
from nnjax.nn.dense import sizes_of

INITIAL_WEIGHTS = {"N(0, 1)": nnjax.standard_normal, "N(0, 1/n_in)": nnjax.lecun}
HIDDEN = 30
LEARNING_RATE = 3.0
BATCH_SIZE = 10
SHOWN = 12  # neurons, the first of the first seed: none was picked
EXCITING = 3  # test images of each
KEY = 11


def run(settings: Settings) -> Record:
    """Train with either kind of weights; measure every neuron of every seed, picture the first few.

    `before` and `after` hold a network's measures by neuron, (seed, neuron), as does `kept`: the
    correlation of a neuron's weights with its initial ones. Pictures are bytes in hexadecimal.
    """
    data = settings.load()
    grid = settings.sweep(
        KEY, data, hidden=HIDDEN, initial_weights=INITIAL_WEIGHTS, learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
    )  # fmt: skip
    networks = {}
    for name, draw in INITIAL_WEIGHTS.items():
        trained = [grid.params(initial_weights=name, seed=s) for s in range(settings.seeds)]
        fresh = [nnjax.init(grid.rng_keys(s)[0], sizes_of(params), draw) for s, params in enumerate(trained)]
        networks[name] = {
            "test_correct": grid.test_correct.sel(initial_weights=name).isel(epoch=-1).values,
            "before": [measures(params[0], data.test, data.input_shape) for params in fresh],
            "after": [measures(params[0], data.test, data.input_shape) for params in trained],
            "kept": [
                [np.corrcoef(*rows)[0, 1] for rows in zip(old[0].w, new[0].w, strict=True)]
                for old, new in zip(fresh, trained, strict=True)
            ],
            "pictures": pictures(trained[0], data.test.inputs),
        }
    return {"test_examples": len(data.test.targets), "image_shape": data.input_shape, "networks": networks}


def sums(layer: nnjax.Layer, images: Any) -> np.ndarray:
    """z = w·x + b of every neuron for every image, (n, neurons)."""
    return np.asarray(images) / 255 @ np.asarray(layer.w).T + np.asarray(layer.b)


def measures(layer: nnjax.Layer, split: Split, shape: tuple[int, ...]) -> Record:
    """By neuron: how much of what moves it lies in its best quarter, and how many digits excite it.

    What moves z is w² times the variance of the pixel; a quarter is one of four equal rectangles.
    A digit excites a neuron where its images have a mean activation above 0.5.
    """
    rows, columns = shape
    moves = (np.asarray(layer.w) ** 2 * np.var(split.inputs, axis=0)).reshape(
        -1, 2, rows // 2, 2, columns // 2
    )
    quarters = moves.sum(axis=(2, 4)).reshape(-1, 4)
    a = 1 / (1 + np.exp(-sums(layer, split.inputs)))
    means = np.stack([a[split.targets == digit].mean(axis=0) for digit in np.unique(split.targets)])
    return {"quarter": quarters.max(axis=1) / quarters.sum(axis=1), "digits": np.sum(means > 0.5, axis=0)}


def pictures(params: nnjax.Params, images: Any) -> list[Record]:
    """Of the first neurons: weights, signed bytes of their largest, exciting images, weights to outputs."""
    w, z = np.asarray(params[0].w), sums(params[0], images)
    return [
        {
            "weights": np.rint(127 * w[j] / np.abs(w[j]).max()).astype(np.int8).tobytes().hex(),
            "exciting": [np.asarray(images[i]).tobytes().hex() for i in np.argsort(-z[:, j])[:EXCITING]],
            "to_outputs": np.round(np.asarray(params[1].w)[:, j], 2).tolist(),
        }
        for j in range(SHOWN)
    ]


def _picture(told: str, shape: list[int], dtype: Any) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(told), dtype).reshape(shape)


def plot(record: Record) -> Any:
    """A column for each neuron: its weights, the images that excite it, its weights to the outputs."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(12, 11), layout="constrained")
    parts: Any = figure.subfigures(2)
    for part, (name, network) in zip(parts, record["networks"].items(), strict=True):
        axes = part.subplots(2 + EXCITING, SHOWN, sharey="row")
        for j, (column, neuron) in enumerate(zip(axes.T, network["pictures"], strict=True)):
            weights = _picture(neuron["weights"], record["image_shape"], np.int8)
            column[0].imshow(weights, cmap="gray", vmin=-127, vmax=127)
            column[0].set_title(f"neuron {j}", fontsize=9)
            for axis, told in zip(column[1:-1], neuron["exciting"], strict=True):
                axis.imshow(_picture(told, record["image_shape"], np.uint8), cmap="gray_r")
            for axis in column[:-1]:
                axis.set(xticks=[], yticks=[])
            column[-1].bar(range(len(neuron["to_outputs"])), neuron["to_outputs"], color="0.3")
            column[-1].axhline(0, color="black", linewidth=0.6)
            column[-1].set_xticks(range(0, len(neuron["to_outputs"]), 3))
            column[-1].tick_params(labelsize=7)
            column[-1].set_xlabel("digit", fontsize=8)
        axes[0, 0].set_ylabel("weights", fontsize=9)
        axes[1, 0].set_ylabel("excites it\nmost", fontsize=9)
        axes[-1, 0].set_ylabel("weight to\neach digit", fontsize=9)
        kept, quarter = np.median(network["kept"]), _all(network, "after", "quarter")
        part.suptitle(
            f"{record['settings']['dataset']}, weights at first from {name}: correlation with them now "
            f"{kept:.2f}; {np.median(quarter):.0f} % of what moves a neuron is in one quarter (medians)\n"
            "weights: black negative, grey none, white positive, each neuron to its own largest",
            fontsize=10,
        )
    return figure


def _all(network: Record, when: str, measure: str) -> np.ndarray:
    """A measure of all neurons of all seeds; shares in percent."""
    values = np.concatenate([one[measure] for one in network[when]])
    return 100 * values if measure == "quarter" else values


def claims(record: Record) -> list[Claim]:
    """What the chapter guesses of hidden neurons, and what the pictures of weights are worth."""
    told = []
    for name, network in record["networks"].items():
        before, after = (_all(network, when, "quarter") for when in ("before", "after"))
        digits, kept = _all(network, "after", "digits"), np.concatenate(network["kept"])
        local, few = np.mean(after > 50), np.mean((digits >= 1) & (digits <= 5))
        for says, ours, holds, of_the_chapter in (
            ("a hidden neuron looks at a part of the picture, such as one quarter",
             f"of what moves a neuron {spread(after, '{:.0f} %')} lies in its best quarter (before training "
             f"{spread(before, '{:.0f} %')}); for {100 * local:.0f} % of the neurons over half",
             local > 0.5, True),
            ("some digits excite a hidden neuron and others do not",
             f"{spread(digits, '{:.0f}')} digits of ten; 1 to 5 for {100 * few:.0f} % of neurons",
             few > 0.5, True),
            ("pictures of weights show what was learnt, not what was drawn at first",
             f"correlation with the initial weights {spread(kept, '{:.2f}')}", np.median(kept) < 0.5, False),
        ):  # fmt: skip
            told.append(Claim(f"Weights at first from {name}: {says}", "", ours, bool(holds), of_the_chapter))
    return told


EXPERIMENT = Experiment(
    "hidden_features", __doc__, run, plot, claims, seeds=5, epochs=30, minutes=1,
    constants={
        "initial_weights": list(INITIAL_WEIGHTS), "hidden": HIDDEN, "learning_rate": LEARNING_RATE,
        "batch_size": BATCH_SIZE, "shown": SHOWN, "exciting": EXCITING, "key": KEY,
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
