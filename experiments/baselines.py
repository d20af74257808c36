"""What does reading digits take without a network?

Guessing, the ink of a digit, and support vector machines: as they came in the book's time, as they
come today, and with C and γ chosen on the validation images. Beside them the chapter's network.

Expected: a tenth by guessing, 2,225 of 10,000 by darkness, 93 to 94 % by the SVM of the book's time,
98.5 % by the tuned one.

    python -m experiments.baselines             # about 10 minutes on 2 cores, most of it SVMs
    python -m experiments.baselines --quick     # seconds, on the embedded digits

Nothing but the guesses and the networks is drawn: the seeds are theirs.
"""

import time
from typing import Any

import numpy as np

from experiments.evidence import Claim, Experiment, Record, Settings, percent, spread
from nnjax.baselines import Score, average_darkness, random_guess, score, svm, tune_svm

# Each pair of C and γ is trained on the first so many training images, to be chosen on validation.
SUBSET = 10_000
CS = (1.0, 3.0, 10.0)
GAMMAS = (0.01, 0.02, 0.03, 0.05)
# The chapter's network.
HIDDEN, LEARNING_RATE, BATCH_SIZE = 30, 3.0, 10
KEY = 13
JOBS = 2  # processes; a quick run would wait longer for them than they save

GUESS, DARKNESS, AUTO, SCALE, TUNED = METHODS = (
    "random guess", "average darkness", 'SVM, γ "auto"', 'SVM, γ "scale"', "SVM, tuned"
)  # fmt: skip


def run(settings: Settings) -> Record:
    """What every method, fitted to all training images, reads of the test images, and its seconds."""
    data, jobs = settings.load(), 1 if settings.quick else JOBS
    splits = data.train, data.test
    began = time.perf_counter()
    tuned = tune_svm(data, SUBSET, CS, GAMMAS, jobs)
    seconds = time.perf_counter() - began
    guesses = score([random_guess(seed) for seed in range(settings.seeds)], *splits)
    darkness = score([average_darkness()], *splits)
    networks = settings.sweep(KEY, data, hidden=HIDDEN, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE)
    machines = score([svm("auto"), svm("scale"), svm(tuned.gamma, tuned.C)], *splits, jobs)
    found = dict(zip(METHODS, [guesses, darkness, *([m] for m in machines)], strict=True))
    return {
        "test_examples": len(data.test.targets),
        "validation_examples": len(data.validation.targets),
        "tuning": {**tuned._asdict(), "subset": min(SUBSET, len(data.train.targets)), "seconds": seconds},
        "methods": {
            method: {field: [getattr(s, field) for s in scores] for field in Score._fields}
            for method, scores in found.items()
        },
        "network_correct": networks.test_correct.isel(epoch=-1).values,
    }


def plot(record: Record) -> Any:
    """The share that each method reads, beside the network's; and what the choice was made by."""
    from matplotlib import pyplot

    of = record["test_examples"]
    right = [percent(np.median(m["correct"]), of) for m in record["methods"].values()]
    figure, (bars, grid) = pyplot.subplots(1, 2, figsize=(11, 3.2), width_ratios=(3, 2))
    figure.set_layout_engine("constrained", wspace=0.08)
    bars.barh(METHODS, right, color="0.75", edgecolor="black")
    for row, share in enumerate(right):
        bars.text(102, row, f"{share:.2f} %", va="center")
    bars.invert_yaxis()
    bars.set(xlim=(0, 100), xlabel="test images right (%)")
    bars.set_title(f"{record['settings']['dataset']}, fitted to all training images", fontsize=10)
    network = np.median(percent(record["network_correct"], of))
    label = f"network, {HIDDEN} hidden neurons:\n{network:.2f} %"
    bars.axvline(network, color="black", linestyle="--", label=label)
    bars.legend(loc="upper right", bbox_to_anchor=(network / 100 - 0.01, 1), frameon=False)
    _draw_choice(grid, record)
    return figure


def _draw_choice(axis: Any, record: Record) -> None:
    """Validation images right for each pair of C and γ, the chosen one in bold."""
    tuning = record["tuning"]
    right = percent(tuning["validation_correct"], record["validation_examples"])
    axis.imshow(right, cmap="Greys", aspect="auto", alpha=0.5)
    for (i, j), share in np.ndenumerate(right):
        chosen = (CS[i], GAMMAS[j]) == (tuning["C"], tuning["gamma"])
        axis.text(j, i, f"{share:.2f}", ha="center", va="center", weight="bold" if chosen else "normal")
    axis.set_xticks(range(len(GAMMAS)), [f"{gamma:g}" for gamma in GAMMAS])
    axis.set_yticks(range(len(CS)), [f"{c:g}" for c in CS])
    axis.set(xlabel="γ", ylabel="C")
    fitted = f"fitted to {tuning['subset']:,}; in bold the choice"
    axis.set_title(f"validation images right (%),\n{fitted}", fontsize=10)


def claims(record: Record) -> list[Claim]:
    """What the chapter tells of each method, beside ours."""
    of = record["test_examples"]
    right = {method: percent(m["correct"], of) for method, m in record["methods"].items()}
    guess, (dark,) = right[GUESS], record["methods"][DARKNESS]["correct"]
    (auto,), (scale,), (best,) = (right[method] for method in (AUTO, SCALE, TUNED))
    error = percent(np.sqrt(0.09 * of * len(guess)), of * len(guess))
    tuning, network = record["tuning"], percent(record["network_correct"], of)
    most = max(max(m["correct"]) for m in record["methods"].values())
    form = "{:.2f} %".format

    return [
        Claim("Guessing reads about one digit in ten", "10 %", spread(guess, "{:.2f} %"),
              bool(abs(np.mean(guess) - 10) < 3 * error)),
        Claim("The amount of ink alone reads more than a fifth", "2,225 of 10,000",
              f"{dark:,} of {of:,}", dark == 2225),
        Claim("A support vector machine with the settings of its library's day reads 93 to 94 %",
              "93 % to 94 % (9,435 of 10,000)", form(auto), bool(93 <= auto < 95)),
        Claim("Today's default for γ alone makes it far better", "", form(scale), bool(scale > auto + 1),
              of_the_chapter=False),
        Claim("With C and γ well chosen it reads 98.5 %", "98.5 %",
              f"{form(best)} with C = {tuning['C']:g}, γ = {tuning['gamma']:g}, chosen on validation",
              bool(round(best, 1) >= 98.5)),
        Claim("The chapter's network, improved as later chapters do, reads 99 %", "99 %",
              f"tried by the ladder; as the chapter has it, {spread(network)}"),
        Claim("The best that was known read all but 21", "9,979 of 10,000",
              f"tried by the ladder; the best of these is {most:,} of {of:,}"),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "baselines", __doc__, run, plot, claims, seeds=20, epochs=30, minutes=10,
    constants={
        "subset": SUBSET, "Cs": CS, "gammas": GAMMAS,
        "network": (HIDDEN, LEARNING_RATE, BATCH_SIZE), "key": KEY,
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
