"""Can a network recognize a digit that it reads row by row?

A recurrent network receives one row of the image at a time, from top to bottom, and its last state is the
input of the output layer. Three recurrent networks (tanh neurons, GRU and LSTM) and a feedforward network,
which receives all pixels together, have about 18,500 parameters each. Validation selects the learning rate of
Adam for each of them. One network of each kind is also trained alone, to measure its time. The output layer
of a recurrent network is then applied to its state after every row.

Expected: a recurrent network with gates reaches 97 % in a few epochs, because it uses the same weights for
every row. Tanh neurons are less accurate: they replace the whole state at every row, so the gradient shrinks
on its way back through 28 rows.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from experiments.depth_configs import MODERN_CONFIG
from experiments.experiment import Claim, Experiment, Record, RunContext, edge_note
from nnjax.compare.plots import STYLES, learning_curves, readable_log_ticks
from nnjax.compare.statistics import format_median_range, percent, select_best
from nnjax.nn import Recurrent, to_input

CONFIG = replace(MODERN_CONFIG, schedule="cosine", epochs=3, batch_size=50)
FEEDFORWARD, TANH, GATED = "feedforward", "rnn", ("gru", "lstm")
HIDDEN = {FEEDFORWARD: 23, TANH: 118, "gru": 64, "lstm": 54}
RATES = (0.001, 0.003, 0.01, 0.03)
KEY = 15
NUM_LABELS = 10
QUICK = (FEEDFORWARD, "gru")
GOAL, MAX_SECONDS = 97, 180


def network(name: str, data: nnjax.Dataset) -> tuple[Callable, nnjax.Objective]:
    """A function that draws the parameters of a network, and its objective."""
    config = replace(CONFIG, hidden=(HIDDEN[name],))
    if name == FEEDFORWARD:
        return config.init_fn(data), config.objective(data)
    forward = Recurrent(name)
    init = partial(forward.init, n_in=data.input_shape[-1], hidden=HIDDEN[name], n_out=NUM_LABELS)
    return init, replace(config.objective(data), forward=forward)


def run(context: RunContext) -> Record:
    """Trains every network with every rate and seed, and one of each kind alone with the selected rate."""
    data = context.load()
    runs = []
    for name in QUICK if context.quick else HIDDEN:
        init, objective = network(name, data)
        grid = context.sweep(KEY, CONFIG, data, learning_rate=RATES, init=init, objective=objective)
        validation = grid.validation_correct.isel(epoch=-1).transpose("learning_rate", "seed").values
        best = grid.data.isel(learning_rate=select_best(validation))
        rate = best.learning_rate.item()
        init_key, fit_key = grid.rng_keys(0)
        config = replace(CONFIG, learning_rate=rate, epochs=context.epochs)
        settings: dict[str, Any] = config.fit_kwargs(data) | {"objective": objective}
        alone = nnjax.fit(fit_key, init(init_key), data, **settings)
        runs.append(
            {
                "network": name,
                "num_parameters": sum(p.size for p in jax.tree.leaves(alone.params)),
                "learning_rate": rate,
                "validation_correct_by_rate": validation,
                "test_correct": best.test_correct.values,
                "seconds_alone": alone.history.seconds,
                "test_correct_by_row": None if name == FEEDFORWARD else by_row(name, alone.params, data.test),
            }
        )
        context.report(f"{name} is trained")
    return {"num_test": len(data.test.targets), "runs": runs}


def by_row(cell: str, params: Any, split: Any) -> jax.Array:
    """For each row of the images, the number of images that are classified correctly after it."""
    forward = jax.jit(jax.vmap(Recurrent(cell, every_step=True), (None, 0)))
    outputs = forward(params, to_input(jnp.asarray(split.inputs), jnp.float32))
    return jnp.sum(jnp.argmax(outputs, axis=-1) == jnp.asarray(split.targets)[:, None], axis=0)


def accuracies(record: Record) -> dict[str, np.ndarray]:
    """The test accuracy in percent by network: (seeds, epochs)."""
    return {r["network"]: percent(r["test_correct"], record["num_test"]) for r in record["runs"]}


def plot(record: Record) -> Any:
    """Left, the test error by epoch; right, the accuracy after each row."""
    from matplotlib import pyplot

    figure, (error, rows) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for r, style in zip(record["runs"], STYLES, strict=False):
        label = f"{r['network']}, {r['num_parameters']:,} parameters, η = {r['learning_rate']:g}"
        learning_curves(error, {label: 100 - accuracies(record)[r["network"]]}, styles=[style])
        if r["test_correct_by_row"]:
            accuracy = percent(r["test_correct_by_row"], record["num_test"])
            rows.plot(np.arange(1, len(accuracy) + 1), accuracy, markersize=4, markevery=3, **style)
    s = record["settings"]
    error.set(ylabel="test error (%)", yscale="log", xticks=range(1, s["epochs"] + 1))
    readable_log_ticks(error.yaxis)
    rows.set(xlabel="rows read", ylabel="test accuracy (%)", ylim=(0, 100))
    error.set_title(f"median of {s['seeds']} seeds, minimum to maximum", fontsize=10)
    rows.set_title("one network of each cell, after each row", fontsize=10)
    figure.legend(*error.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def claims(record: Record) -> list[Claim]:
    """Whether recurrent networks learn, whether gates help, and the comparison with a feedforward network."""
    final = {name: accuracy[:, -1] for name, accuracy in accuracies(record).items()}
    gated = [name for name in GATED if name in final]
    pairs = [(name, TANH) for name in gated if TANH in final]
    pairs += [(name, FEEDFORWARD) for name in final if name != FEEDFORWARD]
    return [
        *(goal_claim(run, final[run["network"]]) for run in record["runs"] if run["network"] in gated),
        *(
            Claim(f"{name} is more accurate than {other} with as many parameters", "",
                  f"{format_median_range(final[name])} and {format_median_range(final[other])}",
                  bool(final[name].min() > final[other].max()), from_book=False)
            for name, other in pairs
        ),
    ]  # fmt: skip


def goal_claim(run: Record, accuracy: np.ndarray) -> Claim:
    """Whether a network reaches the accuracy `GOAL` in at most `MAX_SECONDS`."""
    seconds, rate = sum(run["seconds_alone"]), run["learning_rate"]
    return Claim(
        f"{run['network']}, which reads row by row, reaches {GOAL} % in at most 3 minutes", "",
        f"{format_median_range(accuracy)} with η = {rate:g}{edge_note(rate, RATES)}; "
        f"one network trains for {seconds:.0f} s",
        bool(np.median(accuracy) >= GOAL and seconds <= MAX_SECONDS), from_book=False,
    )  # fmt: skip


EXPERIMENT = Experiment(
    "recurrent", __doc__, run, plot, claims, seeds=3, epochs=CONFIG.epochs, minutes=7,
    constants={"config": CONFIG.to_json(), "hidden": HIDDEN, "learning_rates": RATES, "key": KEY},
)  # fmt: skip
