"""How many hidden neurons does the network need?

From 5 to 300 of them, everything else as in the chapter: η = 3, mini-batches of ten, 30 epochs.

Expected: more is better up to a point; but with weights from N(0, 1) a wide layer drives the
output neurons deep into saturation, where some stay stuck: the wider, the more.

    python -m experiments.hidden_size               # about 8 minutes on 2 cores
    python -m experiments.hidden_size --quick       # seconds, on the embedded digits
"""

from typing import Any

import numpy as np

from experiments.evidence import Claim, Experiment, Record, Settings, percent, spread
from experiments.figures import dots, plain_ticks
from experiments.timing import EPOCHS, seconds_alone

HIDDEN = (5, 10, 15, 20, 30, 50, 100, 200, 300)
LEARNING_RATE = 3.0
BATCH_SIZE = 10
KEY = 2


def run(settings: Settings) -> Record:
    """Train every width with every seed, whose initial weights and order of the images are its own."""
    data = settings.load()
    hidden = HIDDEN[:5] if settings.quick else HIDDEN
    grid = settings.sweep(
        KEY, data, hidden=hidden, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE, shared_batches=False
    )
    return {
        "hidden": hidden,
        "test_examples": len(data.test.targets),
        "validation_correct": grid.validation_correct.values,
        "test_correct": grid.test_correct.values,
        "seconds_per_epoch_alone": [
            seconds_alone(grid.rng_keys(0), data, h, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE)
            for h in hidden
        ],
    }


def _final(record: Record) -> np.ndarray:
    """Test images right in the end, in percent: (seeds, widths)."""
    return percent(record["test_correct"], record["test_examples"])[..., -1].T


def plot(record: Record) -> Any:
    """Accuracy by width, every seed a dot; and what a width costs."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    hidden = record["hidden"]
    dots(left, hidden, _final(record))
    left.set_ylabel("test images right (%)")
    left.legend(loc="lower center", frameon=False)
    right.plot(hidden, record["seconds_per_epoch_alone"], "-s", color="black", markersize=4)
    right.set_ylabel("seconds an epoch, trained alone")
    right.set_yscale("log")
    plain_ticks(right.yaxis)
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_xticks(hidden, [str(h) for h in hidden], fontsize=8)
        axis.minorticks_off()
        axis.set_xlabel("hidden neurons")
    return figure


def claims(record: Record) -> list[Claim]:
    """What the chapter says of the hidden layer's size."""
    final = dict(zip(record["hidden"], _final(record).T, strict=True))
    validation = np.median(record["validation_correct"], axis=1)[:, -1]
    best = record["hidden"][int(np.argmax(validation))]
    told = [
        Claim(
            "Thirty hidden neurons reach about 95 %",
            "94.85 %",
            spread(final[30]),
            bool(np.median(final[30]) > 94.5),
        )
    ]
    if 100 in final:
        told.append(
            Claim(
                "A hundred hidden neurons improve on thirty",
                "96 % to 97 %",
                spread(final[100]),
                bool(np.median(final[100]) > np.median(final[30])),
            )
        )
    told.append(
        Claim(
            "The size of the hidden layer is worth trying out",
            "",
            f"best on validation: {best} hidden neurons, {spread(final[best])}",
        )
    )
    return told


EXPERIMENT = Experiment(
    "hidden_size", __doc__, run, plot, claims, seeds=5, epochs=30, minutes=8,
    constants={
        "hidden": HIDDEN, "learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, "key": KEY,
        "timed_epochs": EPOCHS, "shared_batches": False,
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
