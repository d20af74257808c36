"""Which variant of gradient descent learns best, at equal budget and equal tuning?

Thirteen variants train the same networks (30 hidden neurons, scaled initial weights) for the same
epochs. Each has seven settings on a log grid, tried with two seeds; the one with the most
validation images right is then trained with twenty fresh seeds, and only those are reported.
Methods that want large mini-batches get them: the size belongs to the variant. L-BFGS has a line
search instead of a rate, so that its mini-batch is what is tuned; Gauss-Newton's is the damping. Fresh
networks of one seed share initial weights and the order of the images with those of other variants,
so that variants are compared in pairs; those of different seeds share neither. Seconds are those of
one network trained alone.

Expected: small differences among the first-order methods once tuned, batch descent far behind.

    python -m experiments.gradient_descent_variants             # about 22 minutes on 2 cores
    python -m experiments.gradient_descent_variants --quick     # seconds, three variants, digits
"""

from typing import Any

import numpy as np

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings, percent
from experiments.figures import STYLES, plain_ticks
from experiments.statistics import holm, interval, paired
from experiments.timing import EPOCHS, seconds_alone
from experiments.variants import BASE, QUICK, VARIANTS, Variant, arguments, grid_of

HIDDEN = 30
TARGETS = (95, 96, 97)  # percent of the validation images
TUNING_SEEDS = 2
TUNING_KEY, KEY = 6, 7
MARGIN = 0.2  # percentage points that nobody would change their optimizer for


def run(settings: Settings) -> Record:
    """Tune every variant on validation, train it anew with fresh seeds, and time one network alone."""
    data = settings.load()
    names = QUICK if settings.quick else VARIANTS
    return {
        "validation_examples": len(data.validation.targets),
        "test_examples": len(data.test.targets),
        "runs": [{"name": name, **measure(settings, data, VARIANTS[name])} for name in names],
    }


def measure(settings: Settings, data: nnjax.Dataset, variant: Variant) -> Record:
    """The validation images right by setting, and the curves of the best one with fresh seeds."""
    n = len(data.train.targets)

    def train(key: int, tuned: Any, seeds: int, **how: Any) -> nnjax.Grid:
        given = arguments(variant, tuned, n, settings.epochs) | how
        return settings.sweep(key, data, seeds, hidden=HIDDEN, initial_weights=nnjax.lecun, **given)

    tried, seeds = grid_of(variant, n), min(TUNING_SEEDS, settings.seeds)
    # A rate or a damping is an axis of one program; each size of mini-batch is a program.
    asked = tried if variant.tuned == "batch_size" else [tried]
    grids = [train(TUNING_KEY, tuned, seeds) for tuned in asked]
    validation = np.concatenate(
        [g.validation_correct.isel(epoch=-1).mean("seed").values.ravel() for g in grids]
    )
    best = int(np.argmax(validation))
    grid = train(KEY, tried[best], settings.seeds, shared_batches=False)
    given = arguments(variant, tried[best], n, settings.epochs)
    return {
        "tuned": variant.tuned,
        "grid": tried,
        "validation_by_setting": validation,
        "chosen": tried[best],
        "at_the_edge": best in (0, len(tried) - 1),
        "batch_size": given["batch_size"],
        "validation_correct": grid.validation_correct.values,
        "test_correct": grid.test_correct.values,
        "seconds_per_epoch_alone": seconds_alone(grid.rng_keys(0), data, HIDDEN, nnjax.lecun, **given),
    }


def summary(record: Record) -> list[dict[str, Any]]:
    """A row a variant, best first: accuracy, what it gains on SGD, epochs and seconds to each target."""
    final = {r["name"]: percent(r["test_correct"], record["test_examples"])[:, -1] for r in record["runs"]}
    p_values = holm({name: paired(values, final[BASE]) for name, values in final.items() if name != BASE})
    rows = []
    for r in record["runs"]:
        validation = percent(r["validation_correct"], record["validation_examples"])
        epochs = {target: _epochs_to(validation, target) for target in TARGETS}
        rows.append(
            {
                "name": r["name"],
                "setting": f"{r['tuned']} = {r['chosen']:g}{' (edge of its grid)' * r['at_the_edge']}",
                "mean": float(final[r["name"]].mean()),
                "interval": interval(final[r["name"]]),
                "gain": interval(final[r["name"]] - final[BASE]),
                "wide_gain": interval(final[r["name"]] - final[BASE], 1 - 0.05 / max(1, len(p_values))),
                "p": p_values.get(r["name"]),
                "epochs": epochs,
                "seconds": {t: e and e * r["seconds_per_epoch_alone"] for t, e in epochs.items()},
            }
        )
    return sorted(rows, key=lambda row: -row["mean"])


def _epochs_to(validation: np.ndarray, target: float) -> float | None:
    """The median over seeds of the first epoch that reaches `target`; None where most never do."""
    reached = validation >= target
    first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, np.inf)
    median = float(np.median(first))
    return median if np.isfinite(median) else None


def plot(record: Record) -> Any:
    """Learning curves with bands, errors with intervals, sensitivity to the tuned setting."""
    from matplotlib import pyplot

    figure, (curves, final, tuning) = pyplot.subplots(
        1, 3, figsize=(15, 5.6), layout="constrained", width_ratios=(1.2, 1, 1.2)
    )
    rows = summary(record)
    styles = dict(zip((row["name"] for row in rows), STYLES, strict=False))
    for r in record["runs"]:
        wrong = 100 - percent(r["test_correct"], record["test_examples"])
        epochs, style = np.arange(1, wrong.shape[1] + 1), styles[r["name"]]
        (line,) = curves.plot(
            epochs, np.median(wrong, axis=0), markevery=4, markersize=4, label=r["name"], **style
        )
        curves.fill_between(
            epochs, *np.percentile(wrong, [25, 75], axis=0), color=line.get_color(), alpha=0.15, linewidth=0
        )
        missed = 100 - percent(r["validation_by_setting"], record["validation_examples"])
        tuning.plot(np.linspace(-3, 3, len(missed)), missed, markersize=4, **style)
    most = 1.5 * (100 - np.median([row["mean"] for row in rows]))
    for i, row in enumerate(rows):
        (low, high), style = row["interval"], styles[row["name"]]
        if (wrong := 100 - row["mean"]) > most:  # what is far off would squeeze the others together
            edge = final.get_yaxis_transform()
            final.text(1, -i, f"{wrong:.1f} →", ha="right", va="center", transform=edge)
            continue
        final.errorbar(wrong, -i, xerr=[[high - row["mean"]], [row["mean"] - low]],
                       color=style["color"], marker=style["marker"], capsize=3)  # fmt: skip
    final.set_yticks([-i for i in range(len(rows))], [row["name"] for row in rows])
    final.set(xlabel="test images wrong (%): mean, 95 % interval", ylim=(0.5 - len(rows), 0.5))
    final.grid(axis="x", alpha=0.3)
    curves.set(xlabel="epoch", yscale="log", ylabel="test images wrong (%): median, middle half of the seeds")
    tuning.set(
        xlabel="steps of the log grid, least to most", yscale="log", ylabel="validation images wrong (%)"
    )
    curves.set_ylim(top=25)  # who stays above it all along would squeeze the others together
    if off := [row["name"] for row in rows if 100 - row["mean"] > 25]:
        curves.set_title(f"above: {_listed(off)}", fontsize=9)
    for axis in (curves.yaxis, tuning.yaxis):
        plain_ticks(axis)
    figure.legend(loc="outside lower center", ncols=7, frameon=False, fontsize=9)
    return figure


def claims(record: Record) -> list[Claim]:
    """A row a variant, then what matters and what does not: all ours, as the chapter only names SGD."""
    rows = summary(record)
    others = [row for row in rows if row["p"] is not None]
    # Both at once over all variants: intervals after Bonferroni, p-values after Holm.
    alike = [row for row in others if max(map(abs, row["wide_gain"])) < MARGIN]
    differ = [row for row in others if row["p"] < 0.05 and row not in alike]
    unsure = [row for row in others if row not in differ and row not in alike]
    lists = (
        ("What matters: better than SGD", [row for row in differ if row["gain"][0] > 0]),
        ("What matters: worse than SGD", [row for row in differ if row["gain"][0] <= 0]),
        (f"What does not matter: surely within {MARGIN} points of SGD", alike),
        ("What these seeds do not decide", unsure),
    )
    told = [(row["name"], _told(row)) for row in rows]
    told += [(says, _listed([row["name"] for row in some])) for says, some in lists]
    return [Claim(says, "", ours, of_the_chapter=False) for says, ours in told]


def _told(row: dict[str, Any]) -> str:
    parts = ["{}: {:.2f} % ({:.2f} to {:.2f})".format(row["setting"], row["mean"], *row["interval"])]
    if row["p"] is not None:
        parts.append("{:+.2f} to {:+.2f} points against SGD, p = {:.2g}".format(*row["gain"], row["p"]))
    for target in TARGETS:
        epochs, seconds = row["epochs"][target], row["seconds"][target]
        reached = f"{epochs:g} epochs, {seconds:.1f} s alone" if epochs else "not reached"
        parts.append(f"to {target} %: {reached}")
    return "; ".join(parts)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


EXPERIMENT = Experiment(
    "gradient_descent_variants", __doc__, run, plot, claims, seeds=20, epochs=15, minutes=22,
    constants={
        "hidden": HIDDEN, "initial_weights": "scaled",
        "tuning_seeds": TUNING_SEEDS, "keys": (TUNING_KEY, KEY),
        "timed_epochs": EPOCHS, "shared_batches": False,
        "grids": {name: (v.tuned, v.batch_size, v.grid) for name, v in VARIANTS.items()},
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
