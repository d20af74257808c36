"""Does the chapter's network learn what the book says, and how much does the seed decide?

The four runs that the chapter has its reader type, each with twenty seeds instead of one.

    python -m experiments.first_network             # about 12 minutes on 2 cores
    python -m experiments.first_network --dataset digits --output /tmp/quick
"""

from typing import Any

import jax
import matplotlib
import numpy as np
import tyro

import nnjax
from experiments.evidence import Flags, new_record, write

# hidden neurons, η, and what the book reports of 10,000 test images after the first and last epoch
RUNS = [
    (30, 3.0, (9028, 9485)),
    (100, 3.0, (None, (9600, 9700))),
    (30, 0.001, (931, 2569)),
    (30, 100.0, (892, 892)),
]
BATCH_SIZE = 10


def run(flags: Flags) -> dict[str, Any]:
    """Train every run with every seed.

    The record holds the whole curves, and in the end each digit's recall: the share of its images
    that are read rightly.
    """
    data = nnjax.load(flags.dataset)
    record = new_record(flags, data.name) | {"batch_size": BATCH_SIZE, "runs": []}
    record["test_examples"] = len(data.test.labels)
    for hidden, learning_rate, book in RUNS:
        histories, recalls = [], []
        for seed in range(flags.seeds):
            init_key, fit_key = jax.random.split(jax.random.key(seed))
            params = nnjax.init(init_key, (data.train.images.shape[1], hidden, 10))
            fitted = nnjax.fit(
                fit_key,
                params,
                data,
                epochs=flags.epochs,
                batch_size=BATCH_SIZE,
                learning_rate=learning_rate,
            )
            histories.append(fitted.history)
            matrix = np.asarray(nnjax.confusion(fitted.params, *data.test))
            recalls.append(matrix.diagonal() / matrix.sum(axis=1))
            print(f"{hidden} hidden, η = {learning_rate}, seed {seed}: {fitted.history.test_correct[-1]}")
        record["runs"].append(
            {
                "hidden": hidden,
                "learning_rate": learning_rate,
                "book": book,
                "test_correct": np.stack([h.test_correct for h in histories]),
                "validation_correct": np.stack([h.validation_correct for h in histories]),
                "recall": np.stack(recalls),
                "seconds_per_epoch": float(np.median([h.seconds for h in histories])),
            }
        )
    return record


def plot(record: dict[str, Any]) -> Any:
    """One panel a run: every seed's curve, their median, and the book's numbers."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(RUNS), figsize=(12, 3.4), layout="constrained")
    for axis, r in zip(axes, record["runs"], strict=True):
        percent = 100 * np.asarray(r["test_correct"]) / record["test_examples"]
        epochs = np.arange(1, percent.shape[1] + 1)
        axis.plot(
            epochs, percent.T, color="0.75", linewidth=0.8, label=["each seed"] + [None] * (len(percent) - 1)
        )
        axis.plot(epochs, np.median(percent, axis=0), color="black", linewidth=1.6, label="median")
        if record["settings"]["dataset"] == "mnist":
            _mark_the_book(axis, epochs, r["book"])
        axis.set_title(f"{r['hidden']} hidden neurons, η = {r['learning_rate']:g}", fontsize=10)
        axis.legend(loc="best", frameon=False, fontsize=8)
        axis.set_xlabel("epoch")
    axes[0].set_ylabel("test images right (%)")
    figure.suptitle(f"{record['settings']['dataset']}, {record['settings']['seeds']} seeds each", fontsize=11)
    return figure


def _mark_the_book(axis: Any, epochs: np.ndarray, book: Any) -> None:
    """Crosses where the book gives a number, a band where it gives two: "96-97 %"."""
    first, last = book
    if isinstance(last, list | tuple):
        axis.axhspan(*(right / 100 for right in last), color="tab:orange", alpha=0.4, label="the book")
    else:
        at = {"marker": "x", "markersize": 9, "markeredgewidth": 2.2, "linestyle": ""}
        percent = [first / 100, last / 100]
        axis.plot(epochs[[0, -1]], percent, color="tab:orange", label="the book", **at)


def main() -> None:
    """Run, plot and write."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    write("first_network", flags.output, record, plot(record))


if __name__ == "__main__":
    main()
