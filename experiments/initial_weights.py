"""Does it matter how the initial weights are drawn?

N(0, 1) for every weight, as in the chapter, and N(0, 1/n_in), with which a neuron's z does not grow with
its number of inputs; for 30 and for 100 hidden neurons. The networks of one seed are drawn from the same
random numbers, with or without scaling, and use the same mini-batches.

Expected: with N(0, 1) most hidden neurons start saturated, which makes the first epochs slow. With 100 of
them some output neurons never recover. With N(0, 1/n_in) neither happens.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from experiments.stuck_outputs import MIN_RECALL, has_stuck_output, recall
from nnjax.compare.plots import learning_curves
from nnjax.compare.statistics import format_median_range, percent
from nnjax.nn import sizes_of, to_input

CONFIG = replace(nnjax.configs["book"], learning_rate=3.0)
INITIAL_WEIGHTS = {"standard_normal": nnjax.standard_normal, "lecun": nnjax.lecun}
LABELS = {"standard_normal": "N(0, 1)", "lecun": "N(0, 1/n_in)"}
WIDTHS, QUICK_WIDTHS = (30, 100), (30,)
KEY = 9
PROBE_IMAGES = 1000  # training images
SATURATED_SLOPE = 0.01  # a neuron is saturated if σ'(z) is less; σ'(0) is 0.25


def run(context: RunContext) -> Record:
    """Trains both kinds of network at both widths.

    Each of `runs` has learning curves, (seed, epoch); the recall of each digit at the end; and the fraction
    of saturated hidden neurons before training, over some training images.
    """
    data, widths = context.load(), QUICK_WIDTHS if context.quick else WIDTHS
    grid = context.sweep(KEY, CONFIG, data, hidden=widths, initial_weights=INITIAL_WEIGHTS)
    probe = data.train.inputs[:PROBE_IMAGES]
    runs = []
    for hidden in widths:
        for name, draw in INITIAL_WEIGHTS.items():
            cell = {"hidden": hidden, "initial_weights": name}
            trained = [grid.params(**cell, seed=s) for s in range(context.seeds)]
            initial = [nnjax.init(grid.rng_keys(s)[0], sizes_of(p), draw) for s, p in enumerate(trained)]
            results = {
                "test_correct": grid.test_correct.sel(cell).values,
                "validation_correct": grid.validation_correct.sel(cell).values,
                "recall": [recall(np.asarray(nnjax.confusion_matrix(p, *data.test))) for p in trained],
                "saturated": [float(saturated_fraction(params[0], probe)) for params in initial],
            }
            runs.append(cell | results)
    return {"num_test": len(data.test.targets), "runs": runs}


@jax.jit
def saturated_fraction(layer: nnjax.Layer, images: jax.Array) -> jax.Array:
    """The fraction of neurons of a first layer, over all images, with σ'(z) < `SATURATED_SLOPE`."""
    z = jax.vmap(lambda x: layer.w @ x.ravel() + layer.b)(to_input(images, layer.w.dtype))
    slope = jax.vmap(jax.vmap(jax.grad(nnjax.sigmoid)))(z)
    return jnp.mean(slope < SATURATED_SLOPE)


def widths_of(record: Record) -> list[int]:
    """The widths that were trained."""
    return list(dict.fromkeys(r["hidden"] for r in record["runs"]))


def accuracy(record: Record, hidden: int) -> list[np.ndarray]:
    """The test accuracy in percent, (seeds, epochs), for each kind of initial weights."""
    runs = [r for r in record["runs"] if r["hidden"] == hidden]
    return [percent(r["test_correct"], record["num_test"]) for r in runs]


def plot(record: Record) -> Any:
    """The learning curves for each width, and the fraction of saturated neurons before training."""
    from matplotlib import pyplot

    widths = widths_of(record)
    figure, (*curves, start) = pyplot.subplots(1, len(widths) + 1, figsize=(12, 3.8), layout="constrained")
    styles: list[Any] = [
        {"color": "0.55", "linestyle": "--", "marker": "s", "fillstyle": "none", "linewidth": 2.4},
        {"color": "black", "linestyle": "-", "marker": "o", "fillstyle": "none", "linewidth": 2.4},
    ]
    for axis, hidden in zip(curves, widths, strict=True):
        results = dict(zip(LABELS.values(), accuracy(record, hidden), strict=True))
        learning_curves(axis, results, band=None, seeds=True, styles=styles)
        axis.set_ylabel("test accuracy (%)")
        axis.set_title(f"{hidden} hidden neurons\nthin: each seed, thick: median", fontsize=10)
    for r in record["runs"]:
        second = r["initial_weights"] == "lecun"
        x = np.full(len(r["saturated"]), widths.index(r["hidden"]) + (0.1 if second else -0.1))
        style = {"linestyle": "", **{k: styles[second][k] for k in ("color", "marker", "fillstyle")}}
        start.plot(x, 100 * np.asarray(r["saturated"]), **style)
    start.set(xlabel="hidden neurons", ylabel="saturated hidden neurons (%)", ylim=(-3, 100))
    start.set_title(f"before training: σ′(z) < {SATURATED_SLOPE:g}\neach seed", fontsize=10)
    start.set_xticks(range(len(widths)), [str(width) for width in widths])
    start.margins(x=0.4)
    handles = curves[0].get_legend_handles_labels()
    figure.legend(*handles, title="initial weights", loc="outside right center", handlelength=3)
    figure.suptitle(f"{record['settings']['dataset']}, {record['settings']['seeds']} seeds each", fontsize=11)
    return figure


def claims(record: Record) -> list[Claim]:
    """What other initial weights change: the first epoch, the end, and the neurons that stay stuck."""
    show, result = format_median_range, []
    for hidden in widths_of(record):
        wide, narrow = accuracy(record, hidden)
        for when, epoch in (("after one epoch", 0), ("after the last epoch", -1)):
            a, b = wide[:, epoch], narrow[:, epoch]
            measured = (
                f"N(0, 1): {show(a)}; N(0, 1/n_in): {show(b)}; higher in {np.sum(b > a)} of {len(a)} seeds"
            )
            statement = f"{hidden} hidden neurons: N(0, 1/n_in) is more accurate {when}"
            result.append(Claim(statement, "", measured, bool(np.median(b - a) > 0), False))
    stuck = {
        (r["initial_weights"], r["hidden"]): int(np.sum(has_stuck_output(r["recall"])))
        for r in record["runs"]
    }
    counts = ", ".join(f"{n} ({LABELS[name]}, {hidden} hidden)" for (name, hidden), n in stuck.items())
    wide, narrow = (sum(n for (name, _), n in stuck.items() if name == kind) for kind in INITIAL_WEIGHTS)
    statement = "Stuck output neurons are caused by the initial weights"
    result.append(
        Claim(statement, "", f"networks with a stuck output neuron: {counts}", narrow < wide, False)
    )
    saturated = {
        name: 100 * np.concatenate([r["saturated"] for r in record["runs"] if r["initial_weights"] == name])
        for name in INITIAL_WEIGHTS
    }
    measured = "; ".join(f"{LABELS[name]}: {show(values)}" for name, values in saturated.items())
    wide, narrow = saturated.values()
    supported = bool(min(wide) > 50 > 5 > max(narrow))
    return [
        *result,
        Claim("With N(0, 1) most hidden neurons start saturated", "", measured, supported, False),
    ]


EXPERIMENT = Experiment(
    "initial_weights", __doc__, run, plot, claims, seeds=10, epochs=CONFIG.epochs, minutes=5,
    constants={
        "config": CONFIG.to_json(), "initial_weights": list(INITIAL_WEIGHTS), "widths": WIDTHS, "key": KEY,
        "probe_images": PROBE_IMAGES, "saturated_slope": SATURATED_SLOPE, "min_recall": MIN_RECALL,
    },
)  # fmt: skip
