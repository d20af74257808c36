"""How large should a mini-batch be, from on-line learning to batch descent?

m = 1, 10, 100, 1000 and all training images, each with the same log grid of learning rates, of
which the best is chosen on validation images; told by epochs and by seconds.

Expected: at equal epochs small mini-batches win, for they take more steps; large ones are
cheaper an epoch, and batch descent takes so few steps that it has hardly begun.

    python -m experiments.batch_size                # about 6 minutes on 2 cores
    python -m experiments.batch_size --quick        # seconds, on the embedded digits
"""

from typing import Any

import numpy as np

from experiments.evidence import Claim, Experiment, Record, Settings, percent, spread
from experiments.figures import STYLES, band

BATCH_SIZES = (1, 10, 100, 1000, None)  # None: all training images
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
HIDDEN = 30
KEY = 5


def run(settings: Settings) -> Record:
    """Train with every size, rate and seed, and keep each size's best rate."""
    data = settings.load()
    runs = []
    for given in BATCH_SIZES:
        size = len(data.train.targets) if given is None else given
        grid = settings.sweep(KEY, data, hidden=HIDDEN, learning_rate=RATES, batch_size=size)
        by_rate = grid.validation_correct.isel(epoch=-1).median("seed")
        best = grid.data.isel(learning_rate=int(np.argmax(by_rate.values)))
        runs.append(
            {
                "batch_size": size,
                "validation_by_rate": by_rate.values,
                "learning_rate": best.learning_rate.item(),
                "validation_correct": best.validation_correct.values,
                "test_correct": best.test_correct.values,
                "seconds": best.seconds.median("seed").values,
            }
        )
    return {"test_examples": len(data.test.targets), "learning_rates": RATES, "runs": runs}


def plot(record: Record) -> Any:
    """Accuracy by epochs, by seconds, and the choice of η."""
    from matplotlib import pyplot

    figure, (by_epoch, by_time, by_rate) = pyplot.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for run, style in zip(record["runs"], STYLES, strict=False):
        right = percent(run["test_correct"], record["test_examples"])
        epochs = np.arange(1, right.shape[1] + 1)
        label = f"m = {run['batch_size']:,}, η = {run['learning_rate']:g}"
        band(by_epoch, epochs, right, label=label, markevery=5, **style)
        band(by_time, np.cumsum(run["seconds"]), right, markevery=5, **style)
        by_rate.plot(record["learning_rates"], run["validation_by_rate"], markersize=4, **style)
    by_epoch.set(xlabel="epoch", ylabel="test images right (%)")
    by_time.set(xlabel="seconds of training, each network's share", xscale="log")
    by_rate.set(xlabel="learning rate η", xscale="log", ylabel="validation images right (count), median")
    figure.suptitle("bands: the least and the most of the seeds, about their median", fontsize=10)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def claims(record: Record) -> list[Claim]:
    """What the chapter says of mini-batches."""
    runs = {run["batch_size"]: run for run in record["runs"]}
    final = {m: percent(run["test_correct"], record["test_examples"])[:, -1] for m, run in runs.items()}
    batch = max(runs)
    return [
        Claim("Mini-batches learn in far fewer epochs than batch descent", "",
              f"m = 10: {spread(final[10])}; all at once: {spread(final[batch])}",
              bool(np.median(final[10]) > np.median(final[batch]))),
        Claim("On-line learning, m = 1, works too", "", spread(final[1]), bool(np.median(final[1]) > 80)),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "batch_size", __doc__, run, plot, claims, seeds=5, epochs=20, minutes=5,
    constants={"batch_sizes": BATCH_SIZES, "learning_rates": RATES, "hidden": HIDDEN, "key": KEY},
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
