"""Does the best learning rate depend on the number of hidden neurons?

The full grid, hidden size by η, five seeds a cell, one call of `nnjax.sweep`.

Expected: a ridge of good rates around 1 to 10 whatever the width; wide networks lose to stuck
output neurons what they gain in size, and are hurt earlier by a high rate.

    python -m experiments.hidden_size_by_learning_rate             # about 8 minutes on 2 cores
    python -m experiments.hidden_size_by_learning_rate --quick     # seconds, on the digits
"""

from typing import Any

import numpy as np

from experiments.evidence import Claim, Experiment, Record, Settings, percent

HIDDEN = (5, 15, 30, 60, 100)
RATES = (0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
BATCH_SIZE = 10
KEY = 4


def run(settings: Settings) -> Record:
    """Train the grid."""
    data = settings.load()
    hidden = HIDDEN[:3] if settings.quick else HIDDEN
    grid = settings.sweep(KEY, data, hidden=hidden, learning_rate=RATES, batch_size=BATCH_SIZE)
    return {
        "hidden": hidden,
        "learning_rate": RATES,
        "test_examples": len(data.test.targets),
        "validation_correct": grid.validation_correct.isel(epoch=-1).values,
        "test_correct": grid.test_correct.isel(epoch=-1).values,
    }


def plot(record: Record) -> Any:
    """The medians as a heat map, the best rate of each width (by validation) framed."""
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    right = percent(record["test_correct"], record["test_examples"])
    median, best = np.median(right, axis=-1), _best(record)
    figure, axis = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    image = axis.imshow(median, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(median):
        low, high = right[row, column].min(), right[row, column].max()
        axis.text(
            column, row, f"{value:.1f}\n{low:.0f}-{high:.0f}", ha="center", va="center", fontsize=8,
            color="black" if value > 55 else "white",
        )  # fmt: skip
    for row, column in enumerate(best):
        frame = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, linewidth=2)
        axis.add_patch(frame)
    axis.set_xticks(range(len(record["learning_rate"])), [f"{r:g}" for r in record["learning_rate"]])
    axis.set_yticks(range(len(record["hidden"])), [str(h) for h in record["hidden"]])
    axis.set_xlabel("learning rate η")
    axis.set_ylabel("hidden neurons")
    axis.spines[:].set_visible(False)
    figure.colorbar(image, label="test images right (%): median, least-most\nframed: best on validation")
    return figure


def _best(record: Record) -> np.ndarray:
    """The index of each width's best rate: the median over seeds, on validation images."""
    return np.median(record["validation_correct"], axis=-1).argmax(axis=1)


def claims(record: Record) -> list[Claim]:
    """What the chapter says of choosing both."""
    rates = [record["learning_rate"][i] for i in _best(record)]
    told = ", ".join(f"{h}: {r:g}" for h, r in zip(record["hidden"], rates, strict=True))
    return [
        Claim(
            "Hidden size and η have to be found by trying; 3 suits 30 neurons",
            "3.0",
            f"best η on validation by hidden neurons - {told}",
            1 <= rates[record["hidden"].index(30)] <= 10,
        ),
        Claim(
            "What is the best η for one width is near the best for another",
            "",
            f"they lie within a factor of {max(rates) / min(rates):.2g}",
            max(rates) / min(rates) <= 10,
        ),
    ]


EXPERIMENT = Experiment(
    "hidden_size_by_learning_rate", __doc__, run, plot, claims, seeds=5, epochs=15, minutes=8,
    constants={"hidden": HIDDEN, "learning_rate": RATES, "batch_size": BATCH_SIZE, "key": KEY},
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
