"""Does it matter how the weights are drawn at first?

N(0, 1) for every weight, as the chapter draws them, against N(0, 1/n_in), under which the sum that
a neuron squashes does not grow with its inputs; for 30 and for 100 hidden neurons. The networks of
one seed are drawn from the same numbers, scaled or not, and see the same mini-batches.

Expected: from N(0, 1) most hidden neurons start saturated, which costs the first epochs; with 100
of them some output neurons start so far off that they never recover. From N(0, 1/n_in) neither.

    python -m experiments.initial_weights             # about 5 minutes on 2 cores
    python -m experiments.initial_weights --quick     # seconds, on the embedded digits
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings, percent, spread
from experiments.statistics import STUCK, recall, stuck
from nnjax.nn.dense import sizes_of
from nnjax.nn.objective import to_input

INITIAL_WEIGHTS = {"gaussian": nnjax.standard_normal, "scaled": nnjax.lecun}
HIDDEN = (30, 100)
LEARNING_RATE = 3.0
BATCH_SIZE = 10
KEY = 9

LOOKED_AT = 1000  # training images
FLAT = 0.01  # a neuron is saturated where σ'(z) is less; at z = 0 it is 0.25


def run(settings: Settings) -> Record:
    """Train both kinds of network at both widths.

    Each of `runs` holds the whole curves, (seed, epoch); each digit's recall in the end; and the
    share of hidden neurons, over some training images, that are saturated at the start.
    """
    data = settings.load()
    grid = settings.sweep(
        KEY, data, hidden=HIDDEN, initial_weights=INITIAL_WEIGHTS, learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
    )  # fmt: skip
    looked_at = data.train.inputs[:LOOKED_AT]
    runs = []
    for hidden in HIDDEN:
        for name, initial_weights in INITIAL_WEIGHTS.items():
            cell = {"hidden": hidden, "initial_weights": name}
            trained = [grid.params(**cell, seed=s) for s in range(settings.seeds)]
            matrices = [nnjax.confusion_matrix(params, *data.test) for params in trained]
            fresh = [
                nnjax.init(grid.rng_keys(s)[0], sizes_of(p), initial_weights) for s, p in enumerate(trained)
            ]
            runs.append(
                cell
                | {
                    "test_correct": grid.test_correct.sel(cell).values,
                    "validation_correct": grid.validation_correct.sel(cell).values,
                    "recall": [recall(m) for m in matrices],
                    "saturated": [float(saturated(params[0], looked_at)) for params in fresh],
                }
            )
    return {"test_examples": len(data.test.targets), "runs": runs}


@jax.jit
def saturated(layer: nnjax.Layer, images: jax.Array) -> jax.Array:
    """The share of all neurons of a first layer, over all images, with σ'(z) < FLAT."""
    z = jax.vmap(lambda x: layer.w @ x + layer.b)(to_input(images, layer.w.dtype))
    slope = jax.vmap(jax.vmap(jax.grad(nnjax.sigmoid)))(z)
    return jnp.mean(slope < FLAT)


def plot(record: Record) -> Any:
    """The curves at each width, and the share of hidden neurons that start saturated."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(HIDDEN) + 1, figsize=(12, 3.8), layout="constrained")
    styles = {"gaussian": ("0.55", "--", "s", "N(0, 1)"), "scaled": ("black", "-", "o", "N(0, 1/n_in)")}
    for r in record["runs"]:
        at = HIDDEN.index(r["hidden"])
        colour, line, marker, label = styles[r["initial_weights"]]
        right = percent(r["test_correct"], record["test_examples"])
        epochs = np.arange(1, right.shape[1] + 1)
        axes[at].plot(epochs, right.T, color=colour, linestyle=line, linewidth=0.6)
        middle = np.median(right, axis=0)
        style = {"marker": marker, "markevery": 5, "fillstyle": "none", "label": label}
        axes[at].plot(epochs, middle, color=colour, linestyle=line, linewidth=2.4, **style)
        x = np.full(len(right), at + (0.1 if marker == "s" else -0.1))
        share = 100 * np.asarray(r["saturated"])
        axes[-1].plot(x, share, marker, color=colour, fillstyle="none")
    for axis, hidden in zip(axes, HIDDEN, strict=False):
        axis.set(xlabel="epoch", ylabel="test images right (%)")
        axis.set_title(f"{hidden} hidden neurons\nthin: each seed, thick: median", fontsize=10)
    axes[-1].set(xlabel="hidden neurons", ylabel="hidden neurons saturated (%)", ylim=(-3, 100))
    axes[-1].set_title(f"at the start: σ′(z) < {FLAT:g}\neach seed", fontsize=10)
    axes[-1].set_xticks(range(len(HIDDEN)), HIDDEN)
    axes[-1].margins(x=0.4)
    lines = axes[0].get_legend_handles_labels()
    figure.legend(*lines, title="weights drawn from", loc="outside right center", handlelength=3)
    figure.suptitle(f"{record['settings']['dataset']}, {record['settings']['seeds']} seeds each", fontsize=11)
    return figure


def claims(record: Record) -> list[Claim]:
    """What other initial weights change: the start, the end, and the neurons that never recover."""
    told = []
    for hidden in HIDDEN:
        gaussian, scaled = (
            percent(r["test_correct"], record["test_examples"])
            for r in record["runs"]
            if r["hidden"] == hidden
        )
        for says, epoch in ((f"{hidden} hidden neurons: N(0, 1/n_in) reads more after one epoch", 0),
                            ("... and after the last", -1)):  # fmt: skip
            before, after = gaussian[:, epoch], scaled[:, epoch]
            ours = f"N(0, 1): {spread(before)}; N(0, 1/n_in): {spread(after)}; more in "
            ours += f"{np.sum(after > before)} of {len(after)} seeds"
            told.append(Claim(says, "", ours, bool(np.median(after - before) > 0), False))
    blind = {(r["hidden"], r["initial_weights"]): int(np.sum(stuck(r["recall"]))) for r in record["runs"]}
    ours = ", ".join(f"{h} hidden, {name}: {n}" for (h, name), n in blind.items())
    none, some = (sum(n for (_, name), n in blind.items() if name == w) for w in ("scaled", "gaussian"))
    says = "Output neurons that stay stuck come of the initial weights"
    told.append(Claim(says, "", f"networks with a stuck one: {ours}", none < some, False))
    shares = {
        w: 100 * np.concatenate([r["saturated"] for r in record["runs"] if r["initial_weights"] == w])
        for w in INITIAL_WEIGHTS
    }
    ours = f"N(0, 1): {spread(shares['gaussian'])}; N(0, 1/n_in): {spread(shares['scaled'])}"
    holds = bool(min(shares["gaussian"]) > 50 > 5 > max(shares["scaled"]))
    return [*told, Claim("From N(0, 1) most hidden neurons start saturated", "", ours, holds, False)]


EXPERIMENT = Experiment(
    "initial_weights", __doc__, run, plot, claims, seeds=10, epochs=30, minutes=5,
    constants={
        "initial_weights": list(INITIAL_WEIGHTS), "hidden": HIDDEN, "learning_rate": LEARNING_RATE,
        "batch_size": BATCH_SIZE, "key": KEY, "looked_at": LOOKED_AT, "flat": FLAT, "stuck": STUCK,
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
