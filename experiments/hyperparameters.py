"""How do the number of hidden neurons and the learning rate decide what a network learns?

Three sweeps around the chapter's network: from 5 to 300 hidden neurons with η = 3; from η = 0.001 to 100
with 30 hidden neurons; and the grid of both, with half the epochs. The first and the third use half of the
seeds.

Expected: more hidden neurons are better up to a point. With weights from N(0, 1) a wide layer saturates the
output neurons, and some of them stay stuck. Accuracy rises with η up to about 3; with η = 100 the network
saturates in its first steps. Rates of about 1 to 10 are good for every width.
"""

from dataclasses import replace
from typing import Any

import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from experiments.timers import TIMED_EPOCHS, seconds_per_epoch_alone
from nnjax.compare.plots import heat_map, readable_log_ticks, seeds_and_median
from nnjax.compare.statistics import format_median_range, percent, select_best

CONFIG = replace(nnjax.configs["book"], learning_rate=3.0)
WIDTHS = (5, 10, 15, 20, 30, 50, 100, 200, 300)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
GRID_WIDTHS = (5, 15, 30, 60, 100)
GRID_RATES = (0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
QUICK_WIDTHS = (30,)
WIDTH_KEY, RATE_KEY, GRID_KEY = 2, 3, 4


def run(context: RunContext) -> Record:
    """Trains the three sweeps."""
    data = context.load()
    half = context if context.quick else replace(context, seeds=-(-context.seeds // 2))
    short = half if context.quick else replace(half, epochs=-(-context.epochs // 2))
    widths, grid_widths = (QUICK_WIDTHS if context.quick else w for w in (WIDTHS, GRID_WIDTHS))
    by_width = half.sweep(WIDTH_KEY, CONFIG, data, hidden=widths, shared_batches=False)
    by_rate = context.sweep(RATE_KEY, CONFIG, data, learning_rate=RATES)
    grid = short.sweep(GRID_KEY, CONFIG, data, hidden=grid_widths, learning_rate=GRID_RATES)
    alone = [
        seconds_per_epoch_alone(by_width.rng_keys(0), replace(CONFIG, hidden=(width,)), data)
        for width in widths
    ]
    return {
        "num_test": len(data.test.targets),
        "by_width": {"hidden": widths, **curves(by_width), "seconds_per_epoch_alone": alone},
        "by_rate": {"learning_rate": RATES, **curves(by_rate), "train_cost": by_rate.train_cost.values},
        "grid": {"hidden": grid_widths, "learning_rate": GRID_RATES}
        | {name: counts[..., -1] for name, counts in curves(grid).items()},
    }


def curves(grid: nnjax.Grid) -> Record:
    """The counts after every epoch."""
    return {name: getattr(grid, name).values for name in ("validation_correct", "test_correct")}


def final_accuracy(record: Record, sweep: str) -> np.ndarray:
    """The test accuracy at the end, in percent: (settings, seeds)."""
    return percent(record[sweep]["test_correct"], record["num_test"])[..., -1]


def best_rates(record: Record) -> list[int]:
    """The index of the learning rate that validation selects for each width of the grid."""
    return [select_best(rows) for rows in record["grid"]["validation_correct"]]


def plot(record: Record) -> Any:
    """Accuracy by width, time by width, accuracy and cost by learning rate; below, the grid of both."""
    from matplotlib import colormaps, pyplot

    figure = pyplot.figure(figsize=(14, 8), layout="constrained")
    parts: Any = figure.subfigures(2, height_ratios=(1, 1.1))
    top, bottom = parts
    names = ("width", "time", "rate", "cost")
    axes: dict[str, Any] = dict(zip(names, top.subplots(1, 4), strict=True)) | {"grid": bottom.subplots()}
    width, rate, grid = record["by_width"], record["by_rate"], record["grid"]
    seeds_and_median(axes["width"], width["hidden"], final_accuracy(record, "by_width"))
    seeds_and_median(axes["rate"], rate["learning_rate"], final_accuracy(record, "by_rate"))
    axes["time"].plot(width["hidden"], width["seconds_per_epoch_alone"], "-s", color="black", markersize=4)
    axes["time"].set(ylabel="seconds per epoch, trained alone", yscale="log")
    readable_log_ticks(axes["time"].yaxis)
    for name in ("width", "time"):
        axes[name].set(xlabel="hidden neurons", xscale="log")
        readable_log_ticks(axes[name].xaxis)
    axes["rate"].set(xlabel="learning rate η", xscale="log")
    for name, place in (("width", "lower center"), ("rate", "lower center")):
        axes[name].set_ylabel("test accuracy (%)")
        axes[name].legend(loc=place, frameon=False)
    cost = np.median(np.asarray(rate["train_cost"], float), axis=1)
    for i, eta in enumerate(rate["learning_rate"]):
        axes["cost"].plot(np.arange(1, cost.shape[1] + 1), cost[i], linestyle=["-", "--", ":"][i % 3],
                          color=colormaps["viridis"](i / len(cost)), label=f"{eta:g}")  # fmt: skip
    axes["cost"].set(xlabel="epoch", ylabel="training cost, median", yscale="log")
    axes["cost"].legend(title="η", loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    values = percent(grid["test_correct"], record["num_test"])
    image = heat_map(axes["grid"], values, rows=grid["hidden"], columns=grid["learning_rate"],
                     framed=best_rates(record))  # fmt: skip
    axes["grid"].set(xlabel="learning rate η", ylabel="hidden neurons")
    label = "test accuracy (%): median, minimum to maximum\nframed: best mean on validation"
    bottom.colorbar(image, ax=axes["grid"], label=label)
    return figure


def claims(record: Record) -> list[Claim]:
    """What the chapter states about the size of the hidden layer and about η."""
    show, widths, grid = format_median_range, record["by_width"]["hidden"], record["grid"]
    by_width = dict(zip(widths, final_accuracy(record, "by_width"), strict=True))
    accuracy = percent(record["by_rate"]["test_correct"], record["num_test"])
    by_rate = dict(zip(RATES, accuracy, strict=True))
    median = {rate: float(np.median(curve[:, -1])) for rate, curve in by_rate.items()}
    rising, slow = [median[rate] for rate in RATES if rate <= 3], by_rate[0.001]
    width = widths[select_best(np.asarray(record["by_width"]["validation_correct"])[..., -1])]
    rate = RATES[select_best(np.asarray(record["by_rate"]["validation_correct"])[..., -1])]
    rates = [grid["learning_rate"][i] for i in best_rates(record)]
    by_row = ", ".join(f"{r:g} for {h}" for h, r in zip(grid["hidden"], rates, strict=True))
    wider = [
        Claim("100 hidden neurons are better than 30", "96 % to 97 %", show(by_width[100]),
              bool(np.median(by_width[100]) > np.median(by_width[30]))),
    ] if 100 in by_width else []  # fmt: skip
    return [
        Claim("30 hidden neurons reach about 95 %", "94.85 %", show(by_width[30]),
              bool(np.median(by_width[30]) > 94.5)),
        *wider,
        Claim("It is worth trying several sizes of the hidden layer", "",
              f"best on validation: {width} hidden neurons, {show(by_width[width])}"),
        Claim("η = 0.001 is slow, and accuracy is still rising at the end", "9.31 % → 25.69 %",
              f"{show(slow[:, 0])} → {show(slow[:, -1])}",
              bool(median[0.001] < 50 and np.median(slow[:, -1] - slow[:, -2]) > 0)),
        Claim("η = 0.01 is better than η = 0.001", "", show(by_rate[0.01][:, -1]),
              median[0.01] > median[0.001]),
        Claim("A larger η is better, up to 3", "", " → ".join(f"{m:.1f} %" for m in rising),
              bool(np.all(np.diff(rising) > 0))),
        Claim("η = 100 learns nothing: the network is saturated", "8.92 %", show(by_rate[100.0][:, -1]),
              median[100.0] < 20),
        Claim("η of about 3 is a good choice", "3.0", f"best on validation: {rate:g}", 1 <= rate <= 10),
        Claim("The best η for one width is near the best for another", "",
              f"best η on validation: {by_row} hidden neurons; a factor of {max(rates) / min(rates):.2g}",
              max(rates) / min(rates) <= 10),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "hyperparameters", __doc__, run, plot, claims, seeds=10, epochs=CONFIG.epochs, minutes=22,
    constants={
        "config": CONFIG.to_json(), "widths": WIDTHS, "learning_rates": RATES, "grid_widths": GRID_WIDTHS,
        "grid_learning_rates": GRID_RATES, "keys": (WIDTH_KEY, RATE_KEY, GRID_KEY),
        "timed_epochs": TIMED_EPOCHS,
    },
)  # fmt: skip
