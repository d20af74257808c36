"""How accurate are methods without a network?

Random guesses, the average darkness of an image, and support vector machines: with the default settings of
the book's time, with today's, and with C and γ selected on the validation images. The chapter's network is
trained for comparison. Only the guesses and the networks depend on the seed.

Expected: 10 % by guessing, 22.25 % by average darkness, 93 to 94 % by the SVM of the book's time, and 98.5
% by the tuned one.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from nnjax.baselines import average_darkness, random_guess, score, svm, tune_svm
from nnjax.compare.statistics import format_median_range, percent

CONFIG = replace(nnjax.configs["book"], learning_rate=3.0)
# Each pair of C and γ is trained on this many training images, and evaluated on validation.
SUBSET = 10_000
CS = (1.0, 3.0, 10.0)
GAMMAS = (0.01, 0.02, 0.03, 0.05)
KEY = 13
JOBS = 2  # processes; a quick run would lose more time by starting them

GUESS, DARKNESS, AUTO, SCALE, TUNED = METHODS = (
    "random guess", "average darkness", 'SVM, gamma="auto"', 'SVM, gamma="scale"', "SVM, tuned"
)  # fmt: skip


def run(context: RunContext) -> Record:
    """Fits every method to all training images: correct test images and seconds."""
    data, jobs = context.load(), 1 if context.quick else JOBS
    splits = data.train, data.test
    start = time.perf_counter()
    tuned = tune_svm(data, SUBSET, CS, GAMMAS, jobs)
    seconds = time.perf_counter() - start
    guesses = score([random_guess(seed) for seed in range(context.seeds)], *splits)
    darkness = score([average_darkness()], *splits)
    networks = context.sweep(KEY, CONFIG, data)
    machines = score([svm("auto"), svm("scale"), svm(tuned.gamma, tuned.C)], *splits, jobs)
    scores = dict(zip(METHODS, [guesses, darkness, *([m] for m in machines)], strict=True))
    return {
        "num_validation": len(data.validation.targets),
        "num_test": len(data.test.targets),
        "tuning": {
            "C": tuned.C,
            "gamma": tuned.gamma,
            "validation_correct": tuned.validation_correct,
            "subset": min(SUBSET, len(data.train.targets)),
            "seconds": seconds,
        },
        "methods": {
            method: {name: [getattr(s, name) for s in repeats] for name in repeats[0]._fields}
            for method, repeats in scores.items()
        },
        "network_test_correct": networks.test_correct.isel(epoch=-1).values,
    }


def plot(record: Record) -> Any:
    """The accuracy of each method and of the network; and the selection of C and γ."""
    from matplotlib import pyplot

    accuracy = [np.median(percent(m["correct"], record["num_test"])) for m in record["methods"].values()]
    network = np.median(percent(record["network_test_correct"], record["num_test"]))
    figure, (bars, grid) = pyplot.subplots(1, 2, figsize=(11, 3.4), width_ratios=(3, 2))
    figure.set_layout_engine("constrained", wspace=0.08)
    bars.barh(METHODS, accuracy, color="0.75", edgecolor="black")
    for row, value in enumerate(accuracy):
        bars.text(102, row, f"{value:.2f} %", va="center")
    bars.invert_yaxis()
    bars.set(xlim=(0, 100), xlabel="test accuracy (%)")
    bars.set_title(f"{record['settings']['dataset']}, fitted to all training images", fontsize=10)
    label = f"network with 30 hidden\nneurons: {network:.2f} %"
    bars.axvline(network, color="black", linestyle="--", label=label)
    bars.legend(loc="upper right", bbox_to_anchor=(network / 100 - 0.01, 1), frameon=False)
    draw_selection(grid, record)
    return figure


def draw_selection(axis: Any, record: Record) -> None:
    """The validation accuracy for each pair of C and γ, the selected one in bold."""
    tuning = record["tuning"]
    accuracy = percent(tuning["validation_correct"], record["num_validation"])
    axis.imshow(accuracy, cmap="Greys", aspect="auto", alpha=0.5)
    for (i, j), value in np.ndenumerate(accuracy):
        selected = (CS[i], GAMMAS[j]) == (tuning["C"], tuning["gamma"])
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", weight="bold" if selected else "normal")
    axis.set_xticks(range(len(GAMMAS)), [f"{gamma:g}" for gamma in GAMMAS])
    axis.set_yticks(range(len(CS)), [f"{c:g}" for c in CS])
    axis.set(xlabel="γ", ylabel="C")
    images = f"fitted to {tuning['subset']:,} images; bold: selected"
    axis.set_title(f"validation accuracy (%),\n{images}", fontsize=10)


def claims(record: Record) -> list[Claim]:
    """What the chapter states about each method."""
    n = record["num_test"]
    accuracy = {method: percent(m["correct"], n) for method, m in record["methods"].items()}
    guess, (darkness,) = accuracy[GUESS], record["methods"][DARKNESS]["correct"]
    (auto,), (scale,), (best,) = (accuracy[method] for method in (AUTO, SCALE, TUNED))
    standard_error = percent(np.sqrt(0.09 * n * len(guess)), n * len(guess))
    tuning, network = record["tuning"], percent(record["network_test_correct"], n)
    show, most = "{:.2f} %".format, max(max(m["correct"]) for m in record["methods"].values())
    return [
        Claim("Random guesses are about 10 % accurate", "10 %", format_median_range(guess, "{:.2f} %"),
              bool(abs(np.mean(guess) - 10) < 3 * standard_error)),
        Claim("The average darkness alone is more than 20 % accurate", "22.25 % (2,225 of 10,000)",
              f"{show(100 * darkness / n)} ({darkness:,} of {n:,})", darkness == 2225),
        Claim("An SVM with the default settings of the book's time reaches 93 to 94 %",
              "93 % to 94 % (9,435 of 10,000)", show(auto), bool(93 <= auto < 95)),
        Claim("Today's default γ is much better", "", show(scale), bool(scale > auto + 1), from_book=False),
        Claim("An SVM with well chosen C and γ reaches 98.5 %", "98.5 %",
              f"{show(best)} with C = {tuning['C']:g}, γ = {tuning['gamma']:g}, selected on validation",
              bool(round(best, 1) >= 98.5)),
        Claim("The chapter's network can be improved to 99 %", "99 %",
              f"see Ladder; the chapter's own network reaches {format_median_range(network)}"),
        Claim("The best known method is 99.79 % accurate", "99.79 % (9,979 of 10,000)",
              f"see Ladder; the best of these methods reaches {show(100 * most / n)}"),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "baselines", __doc__, run, plot, claims, seeds=20, epochs=CONFIG.epochs, minutes=10,
    constants={"subset": SUBSET, "C": CS, "gamma": GAMMAS, "config": CONFIG.to_json(), "key": KEY},
)  # fmt: skip
