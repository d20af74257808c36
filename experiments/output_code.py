"""Ten output neurons or four: does it matter how the network says its answer? And what of one?

Ten neurons, one a digit; four, the digit in binary; one, which says only whether it is a 9. Each
with five values of η, since what suits one code need not suit another. The networks of one seed
share their hidden layer's initial weights and every mini-batch, those of different seeds neither:
codes are compared seed by seed.

Expected: four do worse than ten, for no stroke of a digit is the sign of a bit. "Is it a 9?" is
right nine times of ten by saying no, so nines found and false alarms are counted apart.

    python -m experiments.output_code             # about 11 minutes on 2 cores
    python -m experiments.output_code --quick     # seconds, on the embedded digits
"""

from typing import Any

import numpy as np

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings, at_edge, percent, spread
from experiments.figures import plain_ticks
from experiments.statistics import interval

CODES = {"ten": nnjax.one_hot, "four": nnjax.binary, "one": nnjax.is_digit(9)}
LEARNING_RATES = (0.3, 1.0, 3.0, 10.0, 30.0)
HIDDEN = 30
BATCH_SIZE = 10
KEY = 8


def run(settings: Settings) -> Record:
    """Train every code at every η.

    Counts are (η, seed, epoch). `chosen` is the place of the η with the best mean on validation;
    `nines`, (η, seed, 2), are the shares of nines and of other digits that are called a nine.
    """
    data = settings.load()
    objectives = {name: nnjax.Objective(code=code) for name, code in CODES.items()}
    grid = settings.sweep(
        KEY, data, hidden=HIDDEN, objective=objectives, learning_rate=LEARNING_RATES, batch_size=BATCH_SIZE,
        shared_batches=False,
    )  # fmt: skip

    def found(name: str, rate: float, seed: int) -> tuple[float, float]:
        params = grid.params(objective=name, learning_rate=rate, seed=seed)
        return nines(np.asarray(nnjax.confusion_matrix(params, *data.test, objectives[name])))

    codes = {}
    for name in CODES:
        test, validation = (
            counts.sel(objective=name).values for counts in (grid.test_correct, grid.validation_correct)
        )
        codes[name] = {
            "test_correct": test,
            "validation_correct": validation,
            "chosen": int(np.argmax(validation[:, :, -1].mean(axis=1))),
            "nines": [[found(name, rate, s) for s in range(settings.seeds)] for rate in LEARNING_RATES],
        }
    return {"test_examples": len(data.test.targets), "codes": codes}


def nines(matrix: np.ndarray) -> tuple[float, float]:
    """Recall and false alarms of a confusion matrix's last answer: 9, or yes.

    >>> nines(np.array([[8, 2], [1, 4]]))
    (0.8, 0.2)
    """
    *_, recall = matrix[-1] / matrix[-1].sum()
    return float(recall), float(matrix[:-1, -1].sum() / matrix[:-1].sum())


def _final(record: Record, name: str) -> np.ndarray:
    """Test images right at the end, in percent, (η, seed), and below them those at the chosen η."""
    code = record["codes"][name]
    right = percent(code["test_correct"], record["test_examples"])[:, :, -1]
    return np.vstack([right, right[code["chosen"]]])


def _chosen_nines(record: Record, name: str) -> np.ndarray:
    """Nines found and false alarms of each seed at the chosen η, in percent: (2, seed)."""
    code = record["codes"][name]
    return 100 * np.transpose(code["nines"][code["chosen"]])


def plot(record: Record) -> Any:
    """What ten and four reach; their differences seed by seed; nines found against false alarms."""
    from matplotlib import pyplot

    figure, (reached, gained, alarms) = pyplot.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    labels = [f"{rate:g}" for rate in LEARNING_RATES] + ["chosen"]
    x = np.arange(len(labels))
    styles = {"ten": ("black", "o"), "four": ("tab:blue", "s"), "one": ("tab:orange", "^")}
    for (name, (colour, marker)), shift in zip(styles.items(), (-0.12, 0.12, 0), strict=True):
        style = {"linestyle": "", "marker": marker, "color": colour, "fillstyle": "none"}
        each = [name] + [None] * (record["settings"]["seeds"] - 1)
        if name != "one":
            reached.plot(x + shift, 100 - _final(record, name), **style, label=each)
        recall, alarm = _chosen_nines(record, name)
        alarms.plot(alarm, recall, **style, label=name)
    gain = _final(record, "ten") - _final(record, "four")
    gained.plot(x - 0.1, gain, "o", color="0.5", fillstyle="none")
    gained.plot(x + 0.1, gain.mean(axis=1), "D", color="black", markersize=4)
    gained.vlines(x + 0.1, *np.transpose([interval(row) for row in gain]), color="black")
    gained.axhline(0, color="black", linewidth=0.8, linestyle=":")
    for axis in (reached, gained):
        axis.set_xticks(x, labels)
        axis.margins(x=0.1)
        axis.set_xlabel("η")
    reached.set(ylabel="test images wrong (%)", yscale="log")
    plain_ticks(reached.yaxis)
    gained.set_yscale("symlog", linthresh=5)  # where η is far too large, differences are of another kind
    gained.set_yticks([-50, -10, -5, 0, 5, 10, 50], ["-50", "-10", "-5", "0", "5", "10", "50"])
    gained.set_ylabel("ten less four outputs (percentage points)")
    alarms.set(xlabel="other digits called a 9 (%)", ylabel="nines called a 9 (%)")
    titles = "each seed", "each seed; mean, 95 % interval", '"Is it a 9?", chosen η'
    for axis, title in zip((reached, gained, alarms), titles, strict=True):
        axis.set_title(title, fontsize=10)
    figure.legend(*alarms.get_legend_handles_labels(), title="outputs", loc="outside right center")
    figure.suptitle(f"{record['settings']['dataset']}, {record['settings']['seeds']} seeds each", fontsize=11)
    return figure


def claims(record: Record) -> list[Claim]:
    """Whether ten beat four, at the book's η and each at its own, and whether one neuron can tell a 9."""
    gain = _final(record, "ten") - _final(record, "four")
    rates = {name: LEARNING_RATES[record["codes"][name]["chosen"]] for name in ("ten", "four")}
    suits = ", ".join(f"{name}: {rate:g}{at_edge(rate, LEARNING_RATES)}" for name, rate in rates.items())
    told = []
    for says, row in (
        ("Ten outputs read more than four", gain[LEARNING_RATES.index(3.0)]),
        (f"... also where each has the η that suits it ({suits})", gain[-1]),
    ):
        low, high = interval(row)
        ours = f"{row.mean():.2f} points more (95 % interval {low:.2f} to {high:.2f}, n = {len(row)})"
        told.append(Claim(says, "", ours, low > 0))
    recall, alarm = _chosen_nines(record, "one")
    ours = (
        f"{spread(_final(record, 'one')[-1])} right, where always no would do for nine of ten; "
        f"nines found {spread(recall)}, false alarms {spread(alarm, '{:.2f} %')}"
    )
    balanced = (recall + 100 - alarm) / 2
    return [*told, Claim("One neuron can say whether it is a 9", "", ours, bool(np.median(balanced) > 90))]


EXPERIMENT = Experiment(
    "output_code", __doc__, run, plot, claims, seeds=10, epochs=30, minutes=11,
    constants={
        "codes": {name: str(code) for name, code in CODES.items()}, "learning_rates": LEARNING_RATES,
        "hidden": HIDDEN, "batch_size": BATCH_SIZE, "key": KEY, "shared_batches": False,
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
