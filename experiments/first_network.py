"""Does the chapter's network learn what the book says, and how much depends on the seed?

The four runs of the chapter, each with twenty seeds instead of one. Seeds differ in the initial weights
and in the order of the images.

Expected: about 95 % with 30 hidden neurons and η = 3. With 100 hidden neurons only some seeds exceed 96 %,
because output neurons get stuck. Little is learned with η = 0.001, and nothing with η = 100.
"""

from dataclasses import replace
from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from experiments.stuck_outputs import has_stuck_output, recall
from nnjax.compare.plots import learning_curves
from nnjax.compare.statistics import format_median_range, percent

CONFIG = nnjax.configs["book"]
RUNS = ((30, 3.0), (100, 3.0), (30, 0.001), (30, 100.0))  # hidden neurons, η
# The book's test accuracy in percent after the first and the last epoch; (low, high) is a range.
BOOK = ((90.28, 94.85), (None, (96.0, 97.0)), (9.31, 25.69), (8.92, 8.92))
KEY = 1


def run(context: RunContext) -> Record:
    """Trains every run with every seed: learning curves, and the recall of each digit at the end."""
    data = context.load()
    runs = []
    for hidden, learning_rate in RUNS:
        config = replace(CONFIG, hidden=(hidden,), learning_rate=learning_rate)
        grid = context.sweep(KEY, config, data, shared_batches=False)
        matrices = [nnjax.confusion_matrix(grid.params(seed=s), *data.test) for s in range(context.seeds)]
        runs.append(
            {
                "hidden": hidden,
                "learning_rate": learning_rate,
                "test_correct": grid.test_correct.values,
                "validation_correct": grid.validation_correct.values,
                "recall": [recall(np.asarray(m)) for m in matrices],
                "seconds_per_epoch": float(np.median(grid.seconds)),
            }
        )
    return {"num_test": len(data.test.targets), "runs": runs}


def plot(record: Record) -> Any:
    """One panel for each run: every seed, the median, and the book's numbers."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(RUNS), figsize=(12, 3.4), layout="constrained")
    s, handles = record["settings"], {}
    for axis, r, book in zip(axes, record["runs"], BOOK, strict=True):
        accuracy = percent(r["test_correct"], record["num_test"])
        epochs = np.arange(1, accuracy.shape[1] + 1)
        labels: Any = ["each seed", *[None] * (len(accuracy) - 1)]
        axis.plot(epochs, accuracy.T, color="0.75", linewidth=0.8, label=labels)
        learning_curves(axis, {"median": accuracy}, band=None, styles=[{"color": "black"}])
        if s["dataset"] == "mnist":
            mark_book(axis, epochs, *book)
        axis.set_title(f"{r['hidden']} hidden neurons, η = {r['learning_rate']:g}", fontsize=10)
        lines, names = axis.get_legend_handles_labels()
        handles |= dict(zip(names, lines, strict=True))
    axes[0].set_ylabel("test accuracy (%)")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"{s['dataset']}, {s['seeds']} seeds each", fontsize=11)
    return figure


def mark_book(axis: Any, epochs: np.ndarray, first: Any, last: Any) -> None:
    """Crosses for the book's numbers, or a band for a range."""
    if isinstance(last, tuple):
        axis.axhspan(*last, color="tab:orange", alpha=0.4, label="the book's range")
    else:
        cross = {"marker": "x", "markersize": 9, "markeredgewidth": 2.2, "linestyle": ""}
        axis.plot(epochs[[0, -1]], [first, last], color="tab:orange", label="the book", **cross)


def claims(record: Record) -> list[Claim]:
    """The chapter's four runs."""
    book, wide, slow, fast = (
        percent(r["test_correct"], record["num_test"])[:, [0, -1]].T for r in record["runs"]
    )
    stuck = np.sum(has_stuck_output(record["runs"][1]["recall"]))
    show = format_median_range
    return [
        Claim("30 hidden neurons: about 90 % after one epoch", "90.28 %", show(book[0]),
              bool(np.median(book[0]) > 88)),
        Claim("30 hidden neurons: about 95 % after 30 epochs", "94.85 %", show(book[1]),
              bool(np.median(book[1]) > 94.5)),
        Claim("100 hidden neurons start lower and reach 96 to 97 %", "96 % to 97 %",
              f"{show(wide[0])} → {show(wide[1])}; {np.sum(wide[1] >= 96)} of {wide.shape[1]} seeds "
              f"reach 96 %, {stuck} have a stuck output neuron",
              bool(np.median(wide[0]) < np.median(book[0]) and np.median(wide[1]) >= 96)),
        Claim("η = 0.001 learns far too slowly", "9.31 % → 25.69 %", f"{show(slow[0])} → {show(slow[1])}",
              bool(np.median(slow[1] - slow[0]) > 5 and np.median(slow[1]) < 50)),
        Claim("η = 100 learns nothing", "8.92 %", show(fast[1]), bool(np.median(fast[1]) < 20)),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "first_network", __doc__, run, plot, claims, seeds=20, epochs=CONFIG.epochs, minutes=9,
    constants={"config": CONFIG.to_json(), "runs": RUNS, "key": KEY, "shared_batches": False},
)  # fmt: skip
