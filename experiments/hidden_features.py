"""What do the hidden neurons of the chapter's network respond to?

The weights of hidden neurons as pictures, the test images with the largest z, and the weights to the ten
outputs, after training from N(0, 1) and from N(0, 1/n_in). The chapter suggests that a neuron may detect a
part of a digit, such as a quarter of a 0. So three numbers are measured for every neuron, before and after
training: the share of one quarter of the picture in the variance of z, how many digits activate the neuron,
and the correlation of its weights with the initial ones.

Expected: from N(0, 1) the pictures stay noise. From N(0, 1/n_in) smooth strokes appear, over the whole
picture rather than in one quarter, and several digits activate each neuron.
"""

from dataclasses import replace
from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from nnjax.compare.statistics import format_median_range
from nnjax.nn import sizes_of

CONFIG = replace(nnjax.configs["book"], learning_rate=3.0)
INITIAL_WEIGHTS = {"standard_normal": nnjax.standard_normal, "lecun": nnjax.lecun}
LABELS = {"standard_normal": "N(0, 1)", "lecun": "N(0, 1/n_in)"}
NUM_NEURONS, QUICK_NEURONS = 12, 3  # in the figure: the first neurons of the first seed, not selected
NUM_IMAGES = 3  # for each of them
KEY = 11


def run(context: RunContext) -> Record:
    """Trains with both kinds of weights, measures all neurons, and stores pictures of the first ones.

    `before`, `after` and `weight_correlation` have one number for each neuron, (seed, neuron). Pictures are
    bytes in hexadecimal.
    """
    data, num_neurons = context.load(), QUICK_NEURONS if context.quick else NUM_NEURONS
    grid = context.sweep(KEY, CONFIG, data, initial_weights=INITIAL_WEIGHTS)
    networks = {}
    for name, draw in INITIAL_WEIGHTS.items():
        trained = [grid.params(initial_weights=name, seed=s) for s in range(context.seeds)]
        initial = [
            nnjax.init(grid.rng_keys(s)[0], sizes_of(params), draw) for s, params in enumerate(trained)
        ]
        networks[name] = {
            "test_correct": grid.test_correct.sel(initial_weights=name).isel(epoch=-1).values,
            "before": [measure(params[0], data.test) for params in initial],
            "after": [measure(params[0], data.test) for params in trained],
            "weight_correlation": [
                [np.corrcoef(*rows)[0, 1] for rows in zip(old[0].w, new[0].w, strict=True)]
                for old, new in zip(initial, trained, strict=True)
            ],
            "neurons": pictures(trained[0], data.test.inputs, num_neurons),
        }
    return {"num_test": len(data.test.targets), "image_shape": data.input_shape, "networks": networks}


def preactivations(layer: nnjax.Layer, images: Any) -> np.ndarray:
    """z = w·x + b of every neuron for every image, (n, neurons)."""
    x = np.reshape(images, (len(images), -1)) / 255
    return x @ np.asarray(layer.w).T + np.asarray(layer.b)


def measure(layer: nnjax.Layer, split: nnjax.Split) -> Record:
    """By neuron, the largest share of one quarter in the variance of z, and the number of active digits.

    A quarter is one of four equal rectangles. The variance of z is the sum of w² times the variance of each
    pixel. A digit activates a neuron if the mean activation over its images exceeds 0.5.
    """
    _, rows, columns = split.inputs.shape
    variance = np.asarray(layer.w) ** 2 * np.var(split.inputs, axis=0).ravel()
    quarters = variance.reshape(-1, 2, rows // 2, 2, columns // 2).sum(axis=(2, 4)).reshape(-1, 4)
    a = 1 / (1 + np.exp(-preactivations(layer, split.inputs)))
    means = np.stack([a[split.targets == digit].mean(axis=0) for digit in np.unique(split.targets)])
    return {"quarter": quarters.max(axis=1) / quarters.sum(axis=1), "digits": np.sum(means > 0.5, axis=0)}


def pictures(params: nnjax.Params, images: Any, num_neurons: int) -> list[Record]:
    """For the first neurons: weights as signed bytes, images with the largest z, weights to the outputs."""
    w, z = np.asarray(params[0].w), preactivations(params[0], images)
    return [
        {
            "weights": np.rint(127 * w[j] / np.abs(w[j]).max()).astype(np.int8).tobytes().hex(),
            "images": [np.asarray(images[i]).tobytes().hex() for i in np.argsort(-z[:, j])[:NUM_IMAGES]],
            "to_outputs": np.round(np.asarray(params[1].w)[:, j], 2).tolist(),
        }
        for j in range(num_neurons)
    ]


def plot(record: Record) -> Any:
    """A column for each neuron: its weights, the images with the largest z, its weights to the outputs."""
    from matplotlib import pyplot

    def show(axis, content, dtype, **style):
        pixels = np.frombuffer(bytes.fromhex(content), dtype).reshape(record["image_shape"])
        axis.imshow(pixels, **style)
        axis.set(xticks=[], yticks=[])

    figure = pyplot.figure(figsize=(12, 11), layout="constrained")
    parts: Any = figure.subfigures(2)
    for part, (name, network) in zip(parts, record["networks"].items(), strict=True):
        axes = part.subplots(2 + NUM_IMAGES, len(network["neurons"]), sharey="row")
        for j, (column, neuron) in enumerate(zip(axes.T, network["neurons"], strict=True)):
            show(column[0], neuron["weights"], np.int8, cmap="gray", vmin=-127, vmax=127)
            column[0].set_title(f"neuron {j}", fontsize=9)
            for axis, image in zip(column[1:-1], neuron["images"], strict=True):
                show(axis, image, np.uint8, cmap="gray_r")
            column[-1].bar(range(len(neuron["to_outputs"])), neuron["to_outputs"], color="0.3")
            column[-1].axhline(0, color="black", linewidth=0.6)
            column[-1].set_xticks(range(0, len(neuron["to_outputs"]), 3))
            column[-1].tick_params(labelsize=7)
            column[-1].set_xlabel("digit", fontsize=8)
        for row, label in ((0, "weights"), (1, "images with\nthe largest z"), (-1, "weight to\neach output")):
            axes[row, 0].set_ylabel(label, fontsize=9)
        correlation, quarter = (
            np.median(network["weight_correlation"]),
            values_of(network, "after", "quarter"),
        )
        part.suptitle(
            f"{record['settings']['dataset']}, initial weights from {LABELS[name]}. Medians over neurons: "
            f"correlation of final and initial weights {correlation:.2f}, share of one quarter "
            f"{np.median(quarter):.0f} %\nweights: black negative, gray zero, white positive, scaled by the "
            "largest of each neuron",
            fontsize=10,
        )
    return figure


def values_of(network: Record, when: str, name: str) -> np.ndarray:
    """A measurement of all neurons of all seeds; shares in percent."""
    values = np.concatenate([measured[name] for measured in network[when]])
    return 100 * values if name == "quarter" else values


def claims(record: Record) -> list[Claim]:
    """What the chapter suggests about hidden neurons, and what the pictures of weights show."""
    result, show = [], format_median_range
    for name, network in record["networks"].items():
        before, after = (values_of(network, when, "quarter") for when in ("before", "after"))
        digits = values_of(network, "after", "digits")
        correlation = np.concatenate(network["weight_correlation"])
        local, few = np.mean(after > 50), np.mean((digits >= 1) & (digits <= 5))
        start = f"Initial weights from {LABELS[name]}: "
        result += [
            Claim(start + "a hidden neuron responds to a part of the picture, such as one quarter", "",
                  f"share of one quarter: {show(after, '{:.0f} %')}; before training "
                  f"{show(before, '{:.0f} %')}; over half in {100 * local:.0f} % of the neurons",
                  bool(local > 0.5)),
            Claim(start + "some digits activate a hidden neuron and others do not", "",
                  f"{show(digits, '{:.0f}')} of ten digits; 1 to 5 in {100 * few:.0f} % of the neurons",
                  bool(few > 0.5)),
            Claim(start + "pictures of weights show what was learned, not the initial weights", "",
                  f"correlation with the initial weights {show(correlation, '{:.2f}')}",
                  bool(np.median(correlation) < 0.5), from_book=False),
        ]  # fmt: skip
    return result


EXPERIMENT = Experiment(
    "hidden_features", __doc__, run, plot, claims, seeds=5, epochs=CONFIG.epochs, minutes=1,
    constants={
        "config": CONFIG.to_json(), "initial_weights": list(INITIAL_WEIGHTS), "num_neurons": NUM_NEURONS,
        "num_images": NUM_IMAGES, "key": KEY,
    },
)  # fmt: skip
