"""Which variant of gradient descent learns best, at equal budget and equal tuning?

Thirteen variants train the same networks (30 hidden neurons, scaled initial weights) for the same
epochs. Each has seven settings on a log grid, tried with two seeds; the one with the most
validation images right is then trained with twenty fresh seeds, and only those are reported.
Methods that want large mini-batches get them: the size belongs to the variant. L-BFGS has a line
search instead of a rate, so that its mini-batch is what is tuned; Gauss-Newton's is the damping.

Expected: small differences among the first-order methods once tuned, batch descent far behind.

    python -m experiments.gradient_descent_variants             # about 27 minutes on 2 cores
    python -m experiments.gradient_descent_variants --quick     # seconds, three variants, digits
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings, percent
from experiments.figures import STYLES
from experiments.statistics import holm, interval, paired

HIDDEN = 30
TARGETS = (95, 96, 97)  # percent of the validation images
TUNING_SEEDS = 2
TUNING_KEY, KEY = 6, 7
BASE = "SGD"


@dataclass(frozen=True)
class Variant:
    """A method, the mini-batch it gets, and the log grid of the one hyper-parameter that is tuned."""

    factory: Callable
    batch_size: int | None  # None: all training images
    grid: tuple[float, ...]
    tuned: str = "learning_rate"


def _grid(least: float, most: float) -> tuple[float, ...]:
    """Seven values, evenly spaced on a log scale."""
    return tuple(float(f"{value:.2g}") for value in np.geomspace(least, most, 7))


def with_schedule(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """SGD whose rate falls to zero along a cosine over all its steps."""
    return optax.sgd(optax.cosine_decay_schedule(learning_rate, steps))


VARIANTS = {
    BASE: Variant(optax.sgd, 10, _grid(0.03, 30)),
    "batch descent": Variant(optax.sgd, None, _grid(0.3, 300)),
    "SGD, cosine schedule": Variant(with_schedule, 10, _grid(0.03, 30)),
    "momentum": Variant(nnjax.momentum, 10, _grid(0.003, 3)),
    "Nesterov": Variant(nnjax.nesterov, 10, _grid(0.003, 3)),
    "AdaGrad": Variant(optax.adagrad, 10, _grid(0.01, 10)),
    "RMSProp": Variant(optax.rmsprop, 10, _grid(0.0001, 0.1)),
    "Adam": Variant(optax.adam, 10, _grid(0.0001, 0.1)),
    "AdamW": Variant(optax.adamw, 10, _grid(0.0001, 0.1)),
    "Lion": Variant(optax.lion, 10, _grid(0.00001, 0.01)),
    "Muon": Variant(optax.contrib.muon, 100, _grid(0.001, 1)),
    "L-BFGS": Variant(optax.lbfgs, None, (200, 500, 1000, 2000, 5000, 10_000, 25_000), "batch_size"),
    "Gauss-Newton": Variant(nnjax.gauss_newton, 1000, _grid(0.00001, 0.01), "damping"),
}


def train(data: nnjax.Dataset, variant: Variant, tuned: Any, key: int, seeds: int, epochs: int) -> nnjax.Grid:
    """Networks by one variant, with one setting or several."""
    n = len(data.train.labels)
    settings = {"batch_size": variant.batch_size or n, variant.tuned: tuned}
    settings["batch_size"] = min(settings["batch_size"], n)
    if variant.factory is with_schedule:
        settings["steps"] = epochs * -(-n // settings["batch_size"])
    return nnjax.sweep(
        jax.random.key(key), data, hidden=HIDDEN, initial_weights=nnjax.scaled, seeds=seeds, epochs=epochs,
        optimizer=variant.factory, **settings,
    )  # fmt: skip


def tune(data: nnjax.Dataset, variant: Variant, seeds: int, epochs: int) -> list[float]:
    """The mean of the validation images right in the end, for each setting of the variant's grid."""
    if variant.tuned == "batch_size":
        grids = [train(data, variant, size, TUNING_KEY, seeds, epochs) for size in variant.grid]
        return [float(grid.validation_correct.isel(epoch=-1).mean()) for grid in grids]
    grid = train(data, variant, variant.grid, TUNING_KEY, seeds, epochs)
    return grid.validation_correct.isel(epoch=-1).mean("seed").values.tolist()


def run(settings: Settings) -> Record:
    """Tune every variant, and train it anew with fresh seeds."""
    data, runs = settings.load(), []
    seeds = min(TUNING_SEEDS, settings.seeds)
    chosen = [BASE, "momentum", "Gauss-Newton"] if settings.quick else list(VARIANTS)
    for name in chosen:
        variant = VARIANTS[name]
        validation = tune(data, variant, seeds, settings.epochs)
        best = variant.grid[int(np.argmax(validation))]
        grid = train(data, variant, best, KEY, settings.seeds, settings.epochs)
        runs.append(
            {
                "name": name,
                "tuned": variant.tuned,
                "grid": variant.grid,
                "validation_by_setting": validation,
                "chosen": best,
                "batch_size": best if variant.tuned == "batch_size" else variant.batch_size,
                "validation_correct": grid.validation_correct.values,
                "test_correct": grid.test_correct.values,
                "seconds_per_epoch": float(grid.seconds.median()),
            }
        )
    return {
        "validation_examples": len(data.validation.labels),
        "test_examples": len(data.test.labels),
        "runs": runs,
    }


def summary(record: Record) -> list[dict[str, Any]]:
    """A row a variant, best first: accuracy, p-value against SGD, epochs and seconds to each target."""
    final = {r["name"]: percent(r["test_correct"], record["test_examples"])[:, -1] for r in record["runs"]}
    p_values = holm({name: paired(values, final[BASE]) for name, values in final.items() if name != BASE})
    rows = []
    for r in record["runs"]:
        validation = percent(r["validation_correct"], record["validation_examples"])
        epochs = {target: _epochs_to(validation, target) for target in TARGETS}
        mean = float(final[r["name"]].mean())
        rows.append(
            {
                "name": r["name"],
                "setting": f"{r['tuned']} = {r['chosen']:g}",
                "mean": mean,
                "interval": interval(final[r["name"]]),
                "p": p_values.get(r["name"]),
                "better": mean > final[BASE].mean(),
                "epochs": epochs,
                "seconds": {t: e and e * r["seconds_per_epoch"] for t, e in epochs.items()},
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
    """Learning curves with bands, accuracy with intervals, sensitivity to the tuned setting."""
    from matplotlib import pyplot

    figure, (curves, final, tuning) = pyplot.subplots(
        1, 3, figsize=(15, 5.6), layout="constrained", width_ratios=(1.2, 1, 1.2)
    )
    rows = summary(record)
    styles = dict(zip((row["name"] for row in rows), STYLES, strict=False))
    for r in record["runs"]:
        right = percent(r["test_correct"], record["test_examples"])
        epochs, style = np.arange(1, right.shape[1] + 1), styles[r["name"]]
        (line,) = curves.plot(
            epochs, np.median(right, axis=0), markevery=4, markersize=4, label=r["name"], **style
        )
        curves.fill_between(
            epochs, *np.percentile(right, [25, 75], axis=0), color=line.get_color(), alpha=0.15, linewidth=0
        )
        share = percent(r["validation_by_setting"], record["validation_examples"])
        tuning.plot(np.linspace(-3, 3, len(share)), share, markersize=4, **style)
    for i, row in enumerate(rows):
        (low, high), color = row["interval"], styles[row["name"]]["color"]
        final.errorbar(row["mean"], -i, xerr=[[row["mean"] - low], [high - row["mean"]]], color=color,
                       marker=styles[row["name"]]["marker"], capsize=3)  # fmt: skip
    final.set_yticks([-i for i in range(len(rows))], [row["name"] for row in rows])
    final.set_xlabel("test images right (%): mean, 95 % interval")
    final.grid(axis="x", alpha=0.3)
    curves.set(xlabel="epoch", ylabel="test images right (%): median, middle half of the seeds")
    curves.set_ylim(bottom=max(curves.get_ylim()[0], 80))
    tuning.set(xlabel="steps of the log grid, least to most", ylabel="validation images right (%)")
    figure.legend(loc="outside lower center", ncols=7, frameon=False, fontsize=9)
    return figure


def claims(record: Record) -> list[Claim]:
    """A row a variant, and which do not matter: the chapter has no numbers to hold them against."""
    told = []
    for row in summary(record):
        low, high = row["interval"]
        ours = f"{row['setting']}: {row['mean']:.2f} % ({low:.2f} to {high:.2f})"
        if row["p"] is not None:
            differs = "differs from SGD" if row["p"] < 0.05 else "no difference from SGD shown"
            ours += f"; {differs}, p = {row['p']:.2g}"
        for target in TARGETS:
            epochs, seconds = row["epochs"][target], row["seconds"][target]
            reached = f"{epochs:g} epochs, {seconds:.1f} s" if epochs else "not reached"
            ours += f"; to {target} %: {reached}"
        told.append(Claim(row["name"], "", ours))
    alike = [row["name"] for row in summary(record) if row["p"] is not None and row["p"] >= 0.05]
    return [*told, Claim("What does not matter here: variants that end where SGD does", "", _listed(alike))]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


EXPERIMENT = Experiment(
    "gradient_descent_variants", __doc__, run, plot, claims, seeds=20, epochs=15, minutes=27,
    constants={
        "hidden": HIDDEN, "initial_weights": "scaled",
        "tuning_seeds": TUNING_SEEDS, "keys": (TUNING_KEY, KEY),
        "grids": {name: (v.tuned, v.batch_size, v.grid) for name, v in VARIANTS.items()},
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
