"""How large should a mini-batch be, from on-line learning to batch descent?

m = 1, 10, 100, 1000 and all training images. Each tries the same learning rates, of which the best mean on
validation is selected. Accuracy is shown by epochs and by seconds.

Expected: for equal epochs small mini-batches are better, because they take more steps. Large ones cost less
time per epoch. Batch descent takes so few steps that it learns little.
"""

from dataclasses import replace
from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from nnjax.compare.plots import STYLES, learning_curves
from nnjax.compare.statistics import format_median_range, percent, select_best

CONFIG = replace(nnjax.configs["book"], epochs=20)
BATCH_SIZES = (1, 10, 100, 1000, None)  # None: all training images
QUICK_BATCH_SIZES = (1, 10, None)
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
KEY = 5


def run(context: RunContext) -> Record:
    """Trains with every size, rate and seed, and stores the curves of the selected rate of each size."""
    data = context.load()
    runs = []
    for batch_size in QUICK_BATCH_SIZES if context.quick else BATCH_SIZES:
        size = batch_size or len(data.train.targets)
        grid = context.sweep(KEY, replace(CONFIG, batch_size=size), data, learning_rate=RATES)
        validation = grid.validation_correct.isel(epoch=-1).transpose("learning_rate", "seed").values
        best = grid.data.isel(learning_rate=select_best(validation))
        runs.append(
            {
                "batch_size": size,
                "validation_correct_by_rate": validation,
                "learning_rate": best.learning_rate.item(),
                "test_correct": best.test_correct.values,
                "seconds": best.seconds.median("seed").values,
            }
        )
    counts = {"num_validation": len(data.validation.targets), "num_test": len(data.test.targets)}
    return counts | {"learning_rates": RATES, "runs": runs}


def accuracies(record: Record) -> dict[int, np.ndarray]:
    """The test accuracy in percent by batch size: (seeds, epochs)."""
    return {r["batch_size"]: percent(r["test_correct"], record["num_test"]) for r in record["runs"]}


def plot(record: Record) -> Any:
    """Accuracy by epochs and by seconds, and the selection of η."""
    from matplotlib import pyplot

    figure, (by_epoch, by_time, by_rate) = pyplot.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for r, style in zip(record["runs"], STYLES, strict=False):
        curve = {f"m = {r['batch_size']:,}, η = {r['learning_rate']:g}": accuracies(record)[r["batch_size"]]}
        learning_curves(by_epoch, curve, styles=[style])
        learning_curves(by_time, curve, x=np.cumsum(r["seconds"]), styles=[style])
        validation = percent(r["validation_correct_by_rate"], record["num_validation"])
        by_rate.plot(record["learning_rates"], validation.mean(axis=1), markersize=4, **style)
    by_epoch.set(xlabel="epoch", ylabel="test accuracy (%)")
    by_time.set(xlabel="seconds of training per network", xscale="log")
    by_rate.set(xlabel="learning rate η", xscale="log", ylabel="mean validation accuracy (%)")
    figure.suptitle("lines: median of the seeds; bands: minimum to maximum", fontsize=10)
    figure.legend(*by_epoch.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def claims(record: Record) -> list[Claim]:
    """What the chapter states about mini-batches."""
    final = {m: accuracy[:, -1] for m, accuracy in accuracies(record).items()}
    everything = max(final)
    return [
        Claim("Mini-batches need far fewer epochs than batch descent", "",
              f"m = 10: {format_median_range(final[10])}; "
              f"m = {everything:,}: {format_median_range(final[everything])}",
              bool(np.median(final[10]) > np.median(final[everything]))),
        Claim("On-line learning, m = 1, works too", "", format_median_range(final[1]),
              bool(np.median(final[1]) > 80)),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "batch_size", __doc__, run, plot, claims, seeds=5, epochs=CONFIG.epochs, minutes=5,
    constants={"config": CONFIG.to_json(), "batch_sizes": BATCH_SIZES, "learning_rates": RATES, "key": KEY},
)  # fmt: skip
