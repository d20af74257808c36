"""How does the learning rate decide what a network learns?

A log grid from 0.001 to 100 around the chapter's η = 3, with 30 hidden neurons and 30 epochs.

Expected: 0.01 is better than 0.001, and so on up to about 3; at 100 the network saturates in its
first steps and stays where it is.

    python -m experiments.learning_rate             # about 6 minutes on 2 cores
    python -m experiments.learning_rate --quick     # seconds, on the embedded digits
"""

from typing import Any

import numpy as np

from experiments.evidence import Claim, Experiment, Record, Settings, percent, spread
from experiments.figures import dots

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
HIDDEN = 30
BATCH_SIZE = 10
KEY = 3


def run(settings: Settings) -> Record:
    """Train with every rate and every seed: one compiled program."""
    data = settings.load()
    grid = settings.sweep(KEY, data, hidden=HIDDEN, learning_rate=RATES, batch_size=BATCH_SIZE)
    return {
        "learning_rate": RATES,
        "test_examples": len(data.test.targets),
        "validation_correct": grid.validation_correct.values,
        "test_correct": grid.test_correct.values,
        "cost": grid.train_cost.values,
    }


def _right(record: Record) -> np.ndarray:
    """Test images right in percent: (rates, seeds, epochs)."""
    return percent(record["test_correct"], record["test_examples"])


def plot(record: Record) -> Any:
    """Accuracy in the end by rate, every seed a dot; and the cost's course, a line a rate."""
    from matplotlib import colormaps, pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    rates = record["learning_rate"]
    dots(left, rates, _right(record)[..., -1].T)
    left.set_xscale("log")
    left.set_xlabel("learning rate η")
    left.set_ylabel("test images right (%)")
    left.legend(loc="upper left", frameon=False)
    cost = np.median(np.asarray(record["cost"], float), axis=1)
    for i, rate in enumerate(rates):
        shade = colormaps["viridis"](i / len(rates))
        right.plot(np.arange(1, cost.shape[1] + 1), cost[i], color=shade, linestyle=["-", "--", ":"][i % 3],
                   label=f"{rate:g}")  # fmt: skip
    right.set_yscale("log")
    right.set_xlabel("epoch")
    right.set_ylabel("quadratic cost while training, median")
    right.legend(title="η", loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    return figure


def claims(record: Record) -> list[Claim]:
    """What the chapter says of η."""
    right = dict(zip(record["learning_rate"], _right(record), strict=True))
    medians = {rate: float(np.median(curve[:, -1])) for rate, curve in right.items()}
    rising = [medians[rate] for rate in RATES if rate <= 3]
    best = max(
        medians,
        key=lambda rate: np.median(np.asarray(record["validation_correct"])[RATES.index(rate), :, -1]),
    )
    return [
        Claim(
            "η = 0.001 is slow, and still rising in the end",
            "9.31 % → 25.69 %",
            f"{spread(right[0.001][:, 0])} → {spread(right[0.001][:, -1])}",
            bool(medians[0.001] < 50 and np.median(right[0.001][:, -1] - right[0.001][:, -2:][:, 0]) > 0),
        ),
        Claim("η = 0.01 is better than η = 0.001", "", spread(right[0.01][:, -1]),
              medians[0.01] > medians[0.001]),
        Claim(
            "Raising η further keeps helping, up to 3",
            "",
            " → ".join(f"{m:.1f} %" for m in rising),
            bool(np.all(np.diff(rising) > 0)),
        ),
        Claim("η = 100 learns nothing: the network is saturated", "8.92 %", spread(right[100.0][:, -1]),
              medians[100.0] < 20),
        Claim("About 3 is a good choice", "3.0", f"best on validation: {best:g}", 1 <= best <= 10),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "learning_rate", __doc__, run, plot, claims, seeds=10, epochs=30, minutes=6,
    constants={"learning_rate": RATES, "hidden": HIDDEN, "batch_size": BATCH_SIZE, "key": KEY},
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
