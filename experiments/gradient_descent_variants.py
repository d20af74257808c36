"""Which variant of gradient descent is best, with equal budget and equal tuning?

The variants train the same networks (30 hidden neurons, weights from N(0, 1/n_in)) for the same epochs.
Each tries seven settings on a logarithmic grid with two seeds. The one with the best mean on validation is
trained with twenty other seeds, and only these are reported. Methods that need large mini-batches use them.
L-BFGS has a line search instead of a learning rate, so its batch size is tuned; for Gauss-Newton it is the
damping. Networks with the same seed have the same initial weights and order of the images in all variants, so
variants are compared in pairs. Seconds are those of one network trained alone.

Expected: small differences among the tuned first-order methods, and batch descent far behind.
"""

from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from experiments.timers import TIMED_EPOCHS, seconds_per_epoch_alone
from experiments.variants import BASE, CONFIG, QUICK, VARIANTS, Variant
from nnjax.compare.plots import STYLES, forest, learning_curves, readable_log_ticks, sensitivity
from nnjax.compare.statistics import (
    format_mean_interval,
    holm_correction,
    paired_permutation_test,
    percent,
    select_best,
    t_interval,
)
from nnjax.runtime import stable_repr

TARGETS = (95, 96, 97)  # percent of the validation images
TUNING_SEEDS = 2
TUNING_KEY, KEY = 6, 7
MARGIN = 0.2  # percentage points; smaller differences count as equal
PLOT_MAX_ERROR = 25  # percent


def run(context: RunContext) -> Record:
    """Tunes every variant on validation, trains it with fresh seeds, and times one network alone."""
    data = context.load()
    names = QUICK if context.quick else VARIANTS
    counts = {"num_validation": len(data.validation.targets), "num_test": len(data.test.targets)}
    return counts | {"runs": [{"name": name, **measure(context, data, VARIANTS[name])} for name in names]}


def measure(context: RunContext, data: nnjax.Dataset, variant: Variant) -> Record:
    """The validation counts of each setting, and the curves of the selected one with fresh seeds."""
    n, seeds = len(data.train.targets), min(TUNING_SEEDS, context.seeds)
    settings = variant.settings(n)
    if variant.tuned == "batch_size":  # every batch size is a program
        grids = [context.sweep(TUNING_KEY, variant.with_setting(m, n), data, seeds) for m in settings]
        validation = np.stack([grid.validation_correct.isel(epoch=-1).values for grid in grids])
    else:
        grid = context.sweep(TUNING_KEY, variant.resolved(n), data, seeds, **{variant.tuned: settings})
        validation = grid.validation_correct.isel(epoch=-1).transpose(variant.tuned, "seed").values
    best = select_best(validation)
    config = variant.with_setting(settings[best], n)
    grid = context.sweep(KEY, config, data, shared_batches=False)
    return {
        "tuned": variant.tuned,
        "grid": settings,
        "mean_validation_correct": validation.mean(axis=1),
        "selected": settings[best],
        "at_edge": best in (0, len(settings) - 1),
        "batch_size": config.batch_size,
        "validation_correct": grid.validation_correct.values,
        "test_correct": grid.test_correct.values,
        "seconds_per_epoch_alone": seconds_per_epoch_alone(grid.rng_keys(0), config, data),
    }


def summarize(record: Record) -> list[dict[str, Any]]:
    """For each variant, best first: accuracy, difference from SGD, epochs and seconds to each target."""
    final = {r["name"]: percent(r["test_correct"], record["num_test"])[:, -1] for r in record["runs"]}
    p_values = holm_correction(
        {name: paired_permutation_test(values, final[BASE]) for name, values in final.items() if name != BASE}
    )
    rows = []
    for r in record["runs"]:
        validation = percent(r["validation_correct"], record["num_validation"])
        epochs = {target: epochs_to(validation, target) for target in TARGETS}
        gain = final[r["name"]] - final[BASE]
        rows.append(
            {
                "name": r["name"],
                "setting": f"{r['tuned']} = {r['selected']:g}{' (edge of its grid)' if r['at_edge'] else ''}",
                "accuracy": final[r["name"]],
                "gain": t_interval(gain),
                "simultaneous_gain": t_interval(gain, 1 - 0.05 / max(1, len(p_values))),  # Bonferroni
                "p": p_values.get(r["name"]),
                "epochs": epochs,
                "seconds": {t: e and e * r["seconds_per_epoch_alone"] for t, e in epochs.items()},
            }
        )
    return sorted(rows, key=lambda row: -row["accuracy"].mean())


def epochs_to(validation: np.ndarray, target: float) -> float | None:
    """The median over seeds of the first epoch that reaches the target; None if at least half never do."""
    reached = validation >= target
    first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, np.inf)
    median = float(np.median(first))
    return median if np.isfinite(median) else None


def plot(record: Record) -> Any:
    """Learning curves, final errors with intervals, and sensitivity to the tuned setting."""
    from matplotlib import pyplot

    figure, (curves, final, tuning) = pyplot.subplots(
        1, 3, figsize=(15, 5.6), layout="constrained", width_ratios=(1.2, 1, 1.2)
    )
    rows, runs = summarize(record), {r["name"]: r for r in record["runs"]}
    errors = {
        row["name"]: 100 - percent(runs[row["name"]]["test_correct"], record["num_test"]) for row in rows
    }
    learning_curves(curves, errors, band="quartiles", styles=STYLES)
    median = np.median([100 - row["accuracy"].mean() for row in rows])
    forest(final, {name: error[:, -1] for name, error in errors.items()}, styles=STYLES, maximum=1.5 * median)
    validation = {
        name: 100 - percent(runs[name]["mean_validation_correct"], record["num_validation"])[:, None]
        for name in errors
    }
    steps = {name: np.linspace(-3, 3, len(values)) for name, values in validation.items()}
    sensitivity(tuning, validation, settings=steps, styles=STYLES)
    final.set(xlabel="test error (%): mean and 95 % interval")
    final.grid(axis="x", alpha=0.3)
    curves.set(yscale="log", ylabel="test error (%): median and quartiles")
    curves.set_ylim(top=PLOT_MAX_ERROR)
    if higher := [name for name, error in errors.items() if error[:, -1].mean() > PLOT_MAX_ERROR]:
        curves.set_title(f"higher than {PLOT_MAX_ERROR} %: {', '.join(higher)}", fontsize=9)
    tuning.set(xlabel="setting, from the smallest (-3) to the largest (3)", yscale="log")
    tuning.set_ylabel("validation error (%): mean of the tuning seeds")
    for axis in (curves.yaxis, tuning.yaxis):
        readable_log_ticks(axis)
    handles = curves.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=7, frameon=False, fontsize=9)
    return figure


def claims(record: Record) -> list[Claim]:
    """A row for each variant, then what matters and what does not; the chapter only names SGD."""
    rows = summarize(record)
    others = [row for row in rows if row["p"] is not None]
    # Both lists hold for all variants at once: simultaneous intervals and corrected p-values.
    equal = [row for row in others if max(map(abs, row["simultaneous_gain"])) < MARGIN]
    different = [row for row in others if row["p"] < 0.05 and row not in equal]
    groups = (
        ("Better than SGD", [row for row in different if sum(row["gain"]) > 0]),
        ("Worse than SGD", [row for row in different if sum(row["gain"]) <= 0]),
        (f"Equal to SGD within {MARGIN} points", equal),
        ("Undecided with these seeds", [row for row in others if row not in different and row not in equal]),
    )
    result = [(row["name"], describe(row)) for row in rows]
    result += [(group, ", ".join(row["name"] for row in members) or "none") for group, members in groups]
    return [Claim(statement, "", measured, from_book=False) for statement, measured in result]


def describe(row: dict[str, Any]) -> str:
    """A row of the summary in words."""
    parts = [f"{row['setting']}: {format_mean_interval(row['accuracy'])}"]
    if row["p"] is not None:
        low, high = row["gain"]
        parts.append(f"{low:+.2f} to {high:+.2f} points compared with SGD, p = {row['p']:.2g}")
    for target in TARGETS:
        epochs, seconds = row["epochs"][target], row["seconds"][target]
        reached = f"{epochs:g} epochs, {seconds:.1f} s alone" if epochs else "not reached"
        parts.append(f"to {target} % on validation: {reached}")
    return "; ".join(parts)


EXPERIMENT = Experiment(
    "gradient_descent_variants", __doc__, run, plot, claims, seeds=20, epochs=CONFIG.epochs, minutes=22,
    constants={
        "config": CONFIG.to_json(), "tuning_seeds": TUNING_SEEDS, "keys": (TUNING_KEY, KEY),
        "timed_epochs": TIMED_EPOCHS, "shared_batches": False,
        "variants": {
            name: {
                "tuned": variant.tuned, "grid": variant.grid, "full_batch": variant.full_batch,
                "config": stable_repr(variant.config),  # which may have an optimizer without a name
            }
            for name, variant in VARIANTS.items()
        },
    },
)  # fmt: skip
