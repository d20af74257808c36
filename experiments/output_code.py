"""Ten output neurons or four: does the output code matter? And what can one neuron do?

Ten neurons, one for each digit; four, the digit in binary; one, only whether the digit is a 9. Each code is
trained with five learning rates, because the best one may depend on the code. The networks of one seed share
the hidden layer's initial weights and all mini-batches; those of different seeds share neither. So codes are
compared seed by seed.

Expected: four are worse than ten, because no stroke of a digit corresponds to a bit. "Is it a 9?" is 90 %
accurate if the answer is always no, so recall and false alarms are counted separately.
"""

from dataclasses import replace
from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext, edge_note
from nnjax.compare.plots import forest, readable_log_ticks
from nnjax.compare.statistics import format_median_range, percent, select_best, t_interval

CONFIG = replace(nnjax.configs["book"], learning_rate=None)
CODES = {"ten": nnjax.one_hot, "four": nnjax.binary, "one": nnjax.is_digit(9)}
RATES = (0.3, 1.0, 3.0, 10.0, 30.0)
KEY = 8


def run(context: RunContext) -> Record:
    """Trains every code with every learning rate.

    Counts are (η, seed, epoch). `selected` is the index of the η with the best mean on validation. `nines`,
    (η, seed, 2), are the fractions of nines and of other digits that are classified as a nine.
    """
    data = context.load()
    objectives = {name: nnjax.Objective(code=code) for name, code in CODES.items()}
    grid = context.sweep(
        KEY, CONFIG, data, hidden=CONFIG.hidden[0], objective=objectives, learning_rate=RATES,
        shared_batches=False,
    )  # fmt: skip
    codes = {}
    for name, objective in objectives.items():
        test, validation = (
            counts.sel(objective=name).values for counts in (grid.test_correct, grid.validation_correct)
        )
        networks = [
            [grid.params(objective=name, learning_rate=rate, seed=s) for s in range(context.seeds)]
            for rate in RATES
        ]
        codes[name] = {
            "test_correct": test,
            "validation_correct": validation,
            "selected": select_best(validation[:, :, -1]),
            "nines": [
                [nines(nnjax.confusion_matrix(p, *data.test, objective)) for p in row] for row in networks
            ],
        }
    return {"num_test": len(data.test.targets), "codes": codes}


def nines(matrix: Any) -> tuple[float, float]:
    """Recall and false alarm rate of a confusion matrix's last class: 9, or yes.

    >>> nines(np.array([[8, 2], [1, 4]]))
    (0.8, 0.2)
    """
    matrix = np.asarray(matrix)
    *_, recall = matrix[-1] / matrix[-1].sum()
    return float(recall), float(matrix[:-1, -1].sum() / matrix[:-1].sum())


def final_accuracy(record: Record, name: str) -> np.ndarray:
    """The test accuracy at the end, in percent, (η, seed), and in the last row for the selected η."""
    code = record["codes"][name]
    accuracy = percent(code["test_correct"], record["num_test"])[:, :, -1]
    return np.vstack([accuracy, accuracy[code["selected"]]])


def selected_nines(record: Record, name: str) -> np.ndarray:
    """Recall and false alarms of each seed for the selected η, in percent: (2, seed)."""
    code = record["codes"][name]
    return 100 * np.transpose(code["nines"][code["selected"]])


def plot(record: Record) -> Any:
    """The error of ten and four outputs; their differences seed by seed; recall and false alarms."""
    from matplotlib import pyplot

    figure, (error, gain, alarms) = pyplot.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    labels = [*(f"{rate:g}" for rate in RATES), "selected"]
    x = np.arange(len(labels))
    styles = {"ten": ("black", "o"), "four": ("tab:blue", "s"), "one": ("tab:orange", "^")}
    for (name, (colour, marker)), shift in zip(styles.items(), (-0.12, 0.12, 0), strict=True):
        style = {"linestyle": "", "marker": marker, "color": colour, "fillstyle": "none"}
        once: Any = [name] + [None] * (record["settings"]["seeds"] - 1)
        if name != "one":
            error.plot(x + shift, 100 - final_accuracy(record, name), **style, label=once)
        recall, alarm = selected_nines(record, name)
        alarms.plot(alarm, recall, **style, label=name)
    difference = final_accuracy(record, "ten") - final_accuracy(record, "four")
    forest(gain, dict(zip(labels, difference, strict=True)), seeds=True)
    gain.axvline(0, color="black", linewidth=0.8, linestyle=":")
    gain.set_xscale("symlog", linthresh=5)  # with a far too large η the differences are ten times larger
    gain.set_xticks([-50, -10, -5, 0, 5, 10, 50], ["-50", "-10", "-5", "0", "5", "10", "50"])
    gain.set(ylabel="learning rate η", xlabel="accuracy of ten minus four outputs (points)")
    error.set_xticks(x, labels)
    error.set(xlabel="learning rate η", ylabel="test error (%)", yscale="log")
    readable_log_ticks(error.yaxis)
    alarms.set(xlabel="other digits classified as 9 (%)", ylabel="nines classified as 9 (%)")
    titles = ("each seed", "each seed; mean and 95 % interval", '"Is it a 9?", selected η, each seed')
    for axis, title in zip((error, gain, alarms), titles, strict=True):
        axis.set_title(title, fontsize=10)
    handles = alarms.get_legend_handles_labels()
    figure.legend(*handles, title="outputs", loc="outside right center")
    figure.suptitle(f"{record['settings']['dataset']}, {record['settings']['seeds']} seeds each", fontsize=11)
    return figure


def claims(record: Record) -> list[Claim]:
    """Ten outputs compared with four, with the book's η and the selected one; and the single neuron."""
    gain = final_accuracy(record, "ten") - final_accuracy(record, "four")
    rates = {name: RATES[record["codes"][name]["selected"]] for name in ("ten", "four")}
    selected = ", ".join(f"{rate:g}{edge_note(rate, RATES)} for {name}" for name, rate in rates.items())
    result = []
    for statement, row in (
        ("Ten outputs are more accurate than four, with η = 3", gain[RATES.index(3.0)]),
        (f"Ten outputs are more accurate than four, each with its best η ({selected})", gain[-1]),
    ):
        low, high = t_interval(row)
        measured = f"{row.mean():.2f} points more (95 % interval {low:.2f} to {high:.2f}, n = {len(row)})"
        result.append(Claim(statement, "", measured, bool(low > 0)))
    recall, alarm = selected_nines(record, "one")
    measured = (
        f"{format_median_range(final_accuracy(record, 'one')[-1])}; 90 % if the answer is always no; "
        f"recall of nines {format_median_range(recall)}, "
        f"false alarms {format_median_range(alarm, '{:.2f} %')}"
    )
    balanced = bool(np.median((recall + 100 - alarm) / 2) > 90)
    return [*result, Claim("One neuron can decide whether it is a 9", "", measured, balanced)]


EXPERIMENT = Experiment(
    "output_code", __doc__, run, plot, claims, seeds=10, epochs=CONFIG.epochs, minutes=11,
    constants={
        "config": CONFIG.to_json(), "codes": {"ten": "one_hot", "four": "binary", "one": "is_digit(9)"},
        "learning_rates": RATES, "key": KEY, "shared_batches": False,
    },
)  # fmt: skip
