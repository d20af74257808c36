"""What can perceptrons decide, alone and in layers?

The weekend decision for all weathers, companies and transports; then NAND, and of nothing but NAND
an exclusive or and a half adder, all run by `nnjax.feedforward`. Last, the chapter's exercise:
sigmoid neurons with the same weights and biases, all multiplied by a large c.

Expected: with threshold 5 the weather decides alone, with 3 company and transport together also
suffice; the gates agree with Boolean algebra; and so does σ as c grows.

    python -m experiments.perceptron_decision       # seconds
"""

from collections.abc import Iterable
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings

WEIGHTS = (6, 2, 2)
THRESHOLDS = (5, 3)
SHARPNESS = (1, 2, 3, 4, 6, 8, 10)

WEEKEND = ("good weather", "company", "transport")
BITS = ("a", "b")
# What each network is said to decide, its inputs, and its outputs as Boolean algebra has them.
QUESTIONS = {
    "threshold 5": ("With threshold 5 the weather decides alone", WEEKEND,
                    {"go, threshold 5": lambda weather, *others: weather}),
    "threshold 3": ("With threshold 3 company and transport together also suffice", WEEKEND,
                    {"go, threshold 3": lambda weather, *others: weather or all(others)}),
    "nand": ("Weights -2, -2 and bias 3 compute NAND", BITS, {"a NAND b": lambda a, b: not (a and b)}),
    "xor": ("NANDs in layers compute an exclusive or", BITS, {"a XOR b": lambda a, b: a != b}),
    "half adder": ("... and add two bits", BITS,
                   {"a + b: sum": lambda a, b: (a + b) % 2, "a + b: carry": lambda a, b: (a + b) // 2}),
}  # fmt: skip


def networks() -> dict[str, nnjax.Params]:
    """The network of perceptrons for each question; what passes a layer by is a perceptron of it."""
    first = layer(nand(2, 0, 1), wire(2, 0), wire(2, 1))
    xor = (first, layer(nand(3, 0, 1), nand(3, 0, 2)), layer(nand(2, 0, 1)))
    second = layer(nand(3, 0, 1), nand(3, 0, 2), wire(3, 0))
    half_adder = (first, second, layer(nand(3, 0, 1), nand(3, 2, 2)))
    five, three = ((layer((np.array(WEIGHTS), -threshold)),) for threshold in THRESHOLDS)
    return dict(zip(QUESTIONS, (five, three, (layer(nand(2, 0, 1)),), xor, half_adder), strict=True))


def layer(*neurons: tuple[np.ndarray, float]) -> nnjax.Layer:
    """Neurons, each its weights and its bias, side by side."""
    w, b = zip(*neurons, strict=True)
    return nnjax.Layer(jnp.array(w, jnp.float32), jnp.array(b, jnp.float32))


def nand(n_in: int, i: int, j: int) -> tuple[np.ndarray, float]:
    """The perceptron that says no only where inputs i and j both say yes."""
    return -2 * (np.eye(n_in)[i] + np.eye(n_in)[j]), 3


def wire(n_in: int, i: int) -> tuple[np.ndarray, float]:
    """The perceptron that repeats input i; never at z = 0, where a large c would change nothing."""
    return 2 * np.eye(n_in)[i], -1


def run(settings: Settings) -> Record:
    """What every network answers to every input: as perceptrons, and as σ, c times as sharp."""
    decisions = []
    for name, params in networks().items():
        x = np.array(list(product((0, 1), repeat=params[0].w.shape[1])))
        decided = _answers(params, x, nnjax.heaviside)
        sigmoid = [_answers(jax.tree.map(lambda p, c=c: c * p, params), x, nnjax.sigmoid) for c in SHARPNESS]
        decisions.append(
            {
                "name": name,
                "layers": len(params),
                "x": x,
                "decided": decided.astype(int),
                "sigmoid": sigmoid,
                "furthest": np.max(np.abs(sigmoid - decided), axis=(1, 2)),
            }
        )
    return {"sharpness": SHARPNESS, "decisions": decisions}


def _answers(params: nnjax.Params, x: np.ndarray, neuron: Any) -> np.ndarray:
    answer = jax.vmap(lambda x: nnjax.feedforward(params, x, neuron, neuron))
    return np.asarray(answer(jnp.array(x, jnp.float32)))


def plot(record: Record) -> Any:
    """Two tables of squares, filled for yes; and how near σ comes as c grows."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained", width_ratios=(5, 4, 5))
    _draw_table(axes[0], record["decisions"][:2], "weights 6, 2, 2: go at the weekend?")
    _draw_table(axes[1], record["decisions"][2:], "NAND, and networks of NANDs")
    for layers, line, label in ((3, "s--", "three layers"), (1, "o-", "one layer")):
        furthest = _furthest(d for d in record["decisions"] if d["layers"] == layers)
        axes[2].semilogy(record["sharpness"], furthest, line, color="black", label=label)
    axes[2].axhline(0.5, color="0.5", linewidth=0.8, label="½: below it, rounding mends it")
    axes[2].set_xlabel("c, by which weights and biases are multiplied")
    axes[2].set_ylabel("largest distance from the perceptrons")
    axes[2].set_title("sigmoid neurons with the same weights", fontsize=10)
    axes[2].legend(loc="lower left", frameon=False, fontsize=8)
    return figure


def _draw_table(axis: Any, decisions: list[Record], title: str) -> None:
    """A column of squares for each input, a row for each of its bits and of what is decided."""
    x = decisions[0]["x"]
    inputs = QUESTIONS[decisions[0]["name"]][1]
    names = [*inputs, *(output for d in decisions for output in QUESTIONS[d["name"]][2])]
    rows = np.hstack([x, *(d["decided"] for d in decisions)]).T
    down, across = np.indices(rows.shape)
    axis.scatter(across, down, s=150, marker="s", c=1 - rows, cmap="gray", vmin=0, vmax=1, edgecolor="black")
    axis.axhline(len(inputs) - 0.5, color="0.5", linewidth=0.8)
    axis.set_yticks(range(len(names)), names)
    axis.set_xticks(range(len(x)), ["".join(map(str, bits)) for bits in x])
    axis.set(xlim=(-0.6, len(x) - 0.4), ylim=(len(names) - 0.4, -0.6), xlabel="inputs (black: yes)")
    axis.set_title(title, fontsize=10)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _furthest(decisions: Iterable[Record]) -> np.ndarray:
    """How far σ stays from the perceptrons in the worst of some decisions, for each c."""
    return np.max(np.array([d["furthest"] for d in decisions]), axis=0)


def claims(record: Record) -> list[Claim]:
    """Each network beside Boolean algebra, and the sigmoid neurons beside the perceptrons."""
    told = []
    for d in record["decisions"]:
        says, _, outputs = QUESTIONS[d["name"]]
        agree = np.equal(d["decided"], [[f(*bits) for f in outputs.values()] for bits in d["x"]])
        ours = f"{np.sum(agree)} of {np.size(agree)} answers agree with Boolean algebra"
        told.append(Claim(says, "", ours, bool(np.all(agree))))
    furthest = _furthest(record["decisions"])
    soft, sharp = (f"{furthest[i]:.2g} at c = {record['sharpness'][i]}" for i in (0, -1))
    limit = Claim(
        "Sigmoid neurons decide as the perceptrons do where all weights and biases are large",
        "",
        f"furthest apart {soft}, {sharp}",
        bool(np.all(np.diff(furthest) < 0) and furthest[-1] < 1e-4),
    )
    return [*told, limit]


EXPERIMENT = Experiment(
    "perceptron_decision", __doc__, run, plot, claims, uses=(), minutes=0.1,
    constants={"weights": WEIGHTS, "thresholds": THRESHOLDS, "sharpness": SHARPNESS},
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
