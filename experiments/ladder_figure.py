"""The figure of the ladder: the error of every step, and the errors of the last one."""

import base64
from typing import Any, NamedTuple

import numpy as np

from experiments.records import Record
from nnjax.compare.plots import forest, readable_log_ticks
from nnjax.compare.statistics import percent, t_interval


class PublishedResult(NamedTuple):
    """A published accuracy in percent; some are the best of several runs, selected on the test images."""

    accuracy: float
    method: str
    source: str


BOOK = "Nielsen, Neural networks and deep learning (2015), chapter 1"
PUBLISHED = (
    PublishedResult(94.85, "the chapter's program, 30 neurons", BOOK),
    PublishedResult(98.5, "the chapter's SVM, tuned", BOOK),
    PublishedResult(98.95, "dense, dropout", "Srivastava, Improving neural networks with dropout (2013)"),
    PublishedResult(99.06, "dense, maxout and dropout", "Goodfellow et al., Maxout networks (2013)"),
    PublishedResult(99.65, "dense, elastic distortions",
                    "Cireşan et al., Deep, big, simple neural nets (2010)"),
    PublishedResult(99.79, "the chapter's record: five networks, DropConnect",
                    "Wan et al., Regularization of neural networks using DropConnect (2013)"),
    PublishedResult(99.81, "one convolutional network, the best of 1,500 (mean 99.64)",
                    "Deotte, MNIST-CNN-99.75 (2018)"),
    PublishedResult(99.87, "ensemble of convolutional networks",
                    "An et al., An ensemble of simple convolutional neural network models (2020)"),
    PublishedResult(99.91, "ensemble of ensembles, best result",
                    "An et al., An ensemble of simple convolutional neural network models (2020)"),
)  # fmt: skip

MIN_PLOTTED_ERROR = 1e-5


def plot(record: Record) -> Any:
    """Above, the ladder; below, confusion, calibration and misclassified images of the last step."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(11, 16), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=(6, 4.5, 5.5))
    ladder, errors, misclassified = parts
    draw_ladder(ladder.subplots(), record)
    confusion, calibration = errors.subplots(1, 2)
    draw_confusion(confusion, record["last_step"]["confusion"])
    draw_calibration(calibration, record["last_step"]["calibration"])
    draw_misclassified(misclassified, record["last_step"]["misclassified"])
    return figure


def draw_ladder(axis: Any, record: Record) -> None:
    """The test error of every step: each training a dot, and the mean with its interval."""
    accuracy = {r["name"]: percent(r["test_correct"], record["num_test"]) for r in record["steps"]}
    errors = {f"{i}. {name}": 100 - values for i, (name, values) in enumerate(accuracy.items(), 1)}
    forest(axis, errors, seeds=True)
    for y, values in enumerate(errors.values()):
        smallest = min(t_interval(values)[0], np.min(values))
        axis.annotate(f"{100 - np.mean(values):.2f} %", (smallest, y), (8, 0), textcoords="offset points",
                      va="center", backgroundcolor="white")  # fmt: skip
    if record["settings"]["dataset"] == "mnist":
        for result in PUBLISHED:
            error = 100 - result.accuracy
            axis.axvline(error, color="0.5", linestyle=":", linewidth=1)
            # At the top right and the bottom left of the axis there are no steps.
            y, va = (len(errors) - 0.6, "bottom") if error > 1.1 else (-0.4, "top")
            text = f"{result.accuracy} %: {result.method}"
            axis.annotate(
                text, (error, y), (2, 0), textcoords="offset points", rotation=90, fontsize=7, va=va
            )
    axis.set_xscale("log")
    readable_log_ticks(axis.xaxis)
    axis.invert_xaxis()
    axis.set(xlabel="test error (%), logarithmic: each network or ensemble, mean and 95 % interval")
    axis.set_title(f"{record['settings']['dataset']}: test accuracy of each step", fontsize=11)


def draw_confusion(axis: Any, matrix: Any) -> None:
    """The confusion matrix; colours show errors only."""
    matrix = np.array(matrix)
    errors = matrix - np.diag(np.diagonal(matrix))
    axis.imshow(errors, cmap="Oranges", vmin=0, vmax=max(1, errors.max()))
    for (label, prediction), count in np.ndenumerate(matrix):
        if count:
            axis.text(prediction, label, str(count), ha="center", va="center", fontsize=7)
    axis.set(xlabel="prediction", ylabel="label", xticks=range(len(matrix)), yticks=range(len(matrix)))
    axis.set_title("last step, first ensemble: confusion matrix", fontsize=10)


def draw_calibration(axis: Any, levels: list[Record]) -> None:
    """The error rate at each level of confidence, against the error rate that the confidence predicts."""
    predicted = np.array([1 - level["confidence"] for level in levels])
    images, correct = (np.array([level[name] for level in levels]) for name in ("images", "correct"))
    measured = np.maximum(1 - correct / images, MIN_PLOTTED_ERROR)
    axis.plot([MIN_PLOTTED_ERROR, 1], [MIN_PLOTTED_ERROR, 1], color="0.6", linestyle="--", linewidth=1,
              label="perfect calibration")  # fmt: skip
    axis.plot(predicted, measured, "o-", color="#d55e00", markersize=5, linewidth=1, label="measured")
    for x, y, n in zip(predicted, measured, images, strict=True):
        # Labels of neighbouring points at the bottom would overlap if they were horizontal.
        offset, rotation = ((-3, 6), 90) if y == MIN_PLOTTED_ERROR else ((5, -9), 0)
        axis.annotate(f"n = {n:,}", (x, y), offset, textcoords="offset points", rotation=rotation, fontsize=7)
    axis.set(xscale="log", yscale="log", xlabel="1 − mean confidence", ylabel="fraction misclassified")
    axis.set_title(
        f"calibration at each level of confidence\n(no errors: drawn at {MIN_PLOTTED_ERROR:g})", fontsize=10
    )
    axis.legend(frameon=False, loc="upper left")


def draw_misclassified(figure: Any, misclassified: list[Record]) -> None:
    """Every misclassified image with label, prediction and confidence."""
    figure.suptitle("misclassified images, most confident first: label → prediction, confidence", fontsize=10)
    axes = figure.subplots(4, 10).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, error in zip(axes, misclassified, strict=False):
        pixels = np.frombuffer(base64.b64decode(error["image"]), np.uint8)
        side = int(len(pixels) ** 0.5)
        axis.imshow(255 - pixels.reshape(side, side), cmap="gray", vmin=0, vmax=255)
        percentage = f"{100 * error['confidence']:.0f} %"
        axis.set_title(f"{error['label']} → {error['prediction']}, {percentage}", fontsize=8)
