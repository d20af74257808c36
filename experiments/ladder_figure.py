"""The ladder's figure: error rung by rung, and what the best still gets wrong."""

import base64
from typing import Any, NamedTuple

import numpy as np

from experiments.evidence import Record, percent
from experiments.figures import plain_ticks
from experiments.statistics import student


class Mark(NamedTuple):
    """A figure of others: test images right in percent, by what, and where it is told.

    Some of them are the best of several trainings, chosen on the test images.
    """

    right: float
    by: str
    source: str


CHAPTER = "Nielsen, Neural networks and deep learning (2015), chapter 1"
MARKS = (
    Mark(94.85, "the chapter's listing, 30 neurons", CHAPTER),
    Mark(98.5, "the chapter's SVM, tuned", CHAPTER),
    Mark(98.95, "dense, dropout", "Srivastava, Improving neural networks with dropout (2013)"),
    Mark(99.06, "dense, maxout and dropout", "Goodfellow et al., Maxout networks (2013)"),
    Mark(99.65, "dense, elastic distortions", "Cireşan et al., Deep, big, simple neural nets (2010)"),
    Mark(99.79, "the chapter's record: five networks, DropConnect",
         "Wan et al., Regularization of neural networks using DropConnect (2013)"),
    Mark(99.81, "one convolutional network, the best of 1,500, whose mean is 99.64",
         "Deotte, MNIST-CNN-99.75 (2018)"),
    Mark(99.87, "convolutional networks together",
         "An et al., An ensemble of simple convolutional neural network models (2020)"),
    Mark(99.91, "ensemble of ensembles, at best", "the same"),
)  # fmt: skip


def plot(record: Record) -> Any:
    """Above, the ladder; below, what its last rung takes for what, how sure it is, and what it misreads."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(11, 16), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=(6, 4.5, 5.5))
    ladder, closer, misread = parts
    _draw_ladder(ladder.subplots(), record)
    confusion, calibration = closer.subplots(1, 2)
    _draw_confusion(confusion, record["best"]["confusion"])
    _draw_calibration(calibration, record["best"]["calibration"])
    _draw_misread(misread, record["best"]["misread"])
    return figure


def _draw_ladder(axis: Any, record: Record) -> None:
    """Test images wrong by rung: every training a dot, and the mean with its interval."""
    rungs = record["rungs"]
    for y, rung in enumerate(rungs):
        right = percent(rung["test_correct"], record["test_examples"])
        wrong = 100 - right
        low, high = student(wrong)
        axis.plot(wrong, np.full(len(wrong), y), ".", color="0.6", markersize=5)
        axis.plot([low, high], [y, y], color="#0072b2", linewidth=2)
        axis.plot(np.mean(wrong), y, "o", color="#0072b2", markersize=6)
        axis.annotate(
            f"{np.mean(right):.2f} %",
            (min(low, np.min(wrong)), y),
            (8, 0),
            textcoords="offset points",
            va="center",
            backgroundcolor="white",
        )
    if record["settings"]["dataset"] == "mnist":
        for right, by, _ in MARKS:
            axis.axvline(100 - right, color="0.5", linestyle=":", linewidth=1)
            y, va = (len(rungs) - 0.5, "top") if right < 98.9 else (-0.6, "bottom")  # where no rung is
            axis.annotate(
                f"{right} %: {by}",
                (100 - right, y),
                (2, 0),
                textcoords="offset points",
                rotation=90,
                fontsize=7,
                va=va,
            )
    axis.set_xscale("log")
    plain_ticks(axis.xaxis)
    axis.invert_xaxis()
    axis.set_yticks(range(len(rungs)), [f"{i + 1}. {r['name']}" for i, r in enumerate(rungs)])
    axis.set(xlabel="test images wrong (%), log scale: every training, mean and 95 % interval")
    axis.set_title(f"{record['settings']['dataset']}: share of test images right, rung by rung", fontsize=11)


def _draw_confusion(axis: Any, matrix: Any) -> None:
    """How often each label was taken for each other."""
    matrix = np.array(matrix)
    off = matrix - np.diag(np.diagonal(matrix))
    axis.imshow(off, cmap="Oranges", vmin=0, vmax=max(1, off.max()))
    for (truth, answer), count in np.ndenumerate(matrix):
        if count:
            axis.text(answer, truth, str(count), ha="center", va="center", fontsize=7)
    axis.set(xlabel="answer", ylabel="truth", xticks=range(len(matrix)), yticks=range(len(matrix)))
    axis.set_title("the last rung's first ensemble: answers by truth", fontsize=10)


def _draw_calibration(axis: Any, levels: list[Record]) -> None:
    """The share that is wrong beside the share that its confidence expects to be."""
    expected = np.array([1 - level["confidence"] for level in levels])
    images, right = (np.array([level[name] for level in levels]) for name in ("images", "right"))
    wrong = 1 - right / images
    least = 1e-5
    axis.plot([least, 1], [least, 1], color="0.6", linestyle="--", linewidth=1, label="as it should be")
    axis.plot(
        expected, np.maximum(wrong, least), "o-", color="#d55e00", markersize=5, linewidth=1, label="measured"
    )
    for x, y, n in zip(expected, np.maximum(wrong, least), images, strict=True):
        axis.annotate(f"{n:,}", (x, y), (4, -9), textcoords="offset points", fontsize=7)
    axis.set(
        xscale="log", yscale="log", xlabel="1 − confidence, mean of a level", ylabel="share of them wrong"
    )
    axis.set_title(
        f"calibration: images at each level of confidence\n(none wrong: drawn at {least:g})", fontsize=10
    )
    axis.legend(frameon=False, loc="upper left")


def _draw_misread(figure: Any, misread: list[Record]) -> None:
    """Every misread image with its label, the answer and its confidence."""
    figure.suptitle("what it still misreads, the surest first: label → answer, confidence", fontsize=10)
    axes = figure.subplots(4, 10).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, one in zip(axes, misread, strict=False):
        pixels = np.frombuffer(base64.b64decode(one["image"]), np.uint8)
        side = int(len(pixels) ** 0.5)
        axis.imshow(255 - pixels.reshape(side, side), cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{one['label']} → {one['answer']}, {one['confidence']:.0%}", fontsize=8)
