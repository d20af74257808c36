"""What can perceptrons decide, alone and in layers?

The decision whether to go out at the weekend, for all inputs; then NAND, and an exclusive or and a half adder
built of NANDs. All of them are evaluated by `nnjax.feedforward`. Last, the book's exercise: sigmoid neurons
with the same weights and biases, all multiplied by a large c.

Expected: with threshold 5 only the weather decides, with threshold 3 company and transport together also
suffice. The gates agree with Boolean algebra, and so do the sigmoid neurons as c grows.
"""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext

WEIGHTS = (6, 2, 2)
THRESHOLDS = (5, 3)
SHARPNESS = (1, 2, 3, 4, 6, 8, 10)

WEEKEND = ("good weather", "company", "transport")
BITS = ("a", "b")
# For each network: the claim, its inputs, and its outputs in Boolean algebra.
NETWORKS = {
    "threshold 5": ("With threshold 5 only the weather decides", WEEKEND,
                    {"go, threshold 5": lambda weather, *others: weather}),
    "threshold 3": ("With threshold 3 company and transport together also suffice", WEEKEND,
                    {"go, threshold 3": lambda weather, *others: weather or all(others)}),
    "nand": ("Weights -2, -2 and bias 3 compute NAND", BITS, {"a NAND b": lambda a, b: not (a and b)}),
    "xor": ("Layers of NANDs compute an exclusive or", BITS, {"a XOR b": lambda a, b: a != b}),
    "half adder": ("Layers of NANDs add two bits", BITS,
                   {"a + b: sum": lambda a, b: (a + b) % 2, "a + b: carry": lambda a, b: (a + b) // 2}),
}  # fmt: skip


def networks() -> dict[str, nnjax.Params]:
    """The perceptron networks by name; `wire` passes an input on to the next layer."""
    first = layer(nand(2, 0, 1), wire(2, 0), wire(2, 1))
    xor = (first, layer(nand(3, 0, 1), nand(3, 0, 2)), layer(nand(2, 0, 1)))
    second = layer(nand(3, 0, 1), nand(3, 0, 2), wire(3, 0))
    half_adder = (first, second, layer(nand(3, 0, 1), nand(3, 2, 2)))
    five, three = ((layer((np.array(WEIGHTS), -threshold)),) for threshold in THRESHOLDS)
    return dict(zip(NETWORKS, (five, three, (layer(nand(2, 0, 1)),), xor, half_adder), strict=True))


def layer(*neurons: tuple[np.ndarray, float]) -> nnjax.Layer:
    """A layer of neurons, each with its weights and its bias."""
    w, b = zip(*neurons, strict=True)
    return nnjax.Layer(jnp.array(w, jnp.float32), jnp.array(b, jnp.float32))


def nand(n_in: int, i: int, j: int) -> tuple[np.ndarray, float]:
    """A perceptron that outputs 0 only if the inputs i and j are both 1."""
    return -2 * (np.eye(n_in)[i] + np.eye(n_in)[j]), 3


def wire(n_in: int, i: int) -> tuple[np.ndarray, float]:
    """A perceptron that repeats input i; its z is never 0, because a large c has no effect at 0."""
    return 2 * np.eye(n_in)[i], -1


def run(context: RunContext) -> Record:
    """The outputs of every network for every input: as perceptrons, and as sigmoid neurons for each c."""
    decisions = []
    for name, params in networks().items():
        x = np.array(list(product((0, 1), repeat=params[0].w.shape[1])))
        sharpness = np.array(SHARPNESS, np.float32)
        decided, sigmoid = map(np.asarray, outputs(params, x.astype(np.float32), sharpness))
        distances = np.max(np.abs(sigmoid - decided), axis=(1, 2))
        decisions.append({"name": name, "layers": len(params), "x": x, "decided": decided.astype(int),
                          "max_distance": distances})  # fmt: skip
    return {"sharpness": SHARPNESS, "decisions": decisions}


@jax.jit
def outputs(params: nnjax.Params, x: Any, sharpness: Any) -> tuple[jax.Array, jax.Array]:
    """The outputs for every row of x: of the perceptrons, and of the sigmoid neurons for every c."""

    def network(params, activation):
        return jax.vmap(lambda x: nnjax.feedforward(params, x, activation, activation))(x)

    sigmoid = jax.vmap(lambda c: network(jax.tree.map(lambda p: c * p, params), nnjax.sigmoid))
    return network(params, nnjax.heaviside), sigmoid(sharpness)


def plot(record: Record) -> Any:
    """Two tables of squares, black for 1; and the distance of sigmoid neurons from perceptrons."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained", width_ratios=(5, 4, 5))
    draw_table(axes[0], record["decisions"][:2], "weights 6, 2, 2: go out at the weekend?")
    draw_table(axes[1], record["decisions"][2:], "NAND, and networks of NANDs")
    for layers, line, label in ((3, "s--", "three layers"), (1, "o-", "one layer")):
        distances = [d["max_distance"] for d in record["decisions"] if d["layers"] == layers]
        axes[2].semilogy(record["sharpness"], np.max(distances, axis=0), line, color="black", label=label)
    axes[2].axhline(0.5, color="0.5", linewidth=0.8, label="0.5: below it, rounding gives the same bits")
    axes[2].set(xlabel="factor c of weights and biases", ylabel="largest distance from the perceptrons")
    axes[2].set_title("sigmoid neurons with the same weights", fontsize=10)
    axes[2].legend(loc="lower left", frameon=False, fontsize=8)
    return figure


def draw_table(axis: Any, decisions: list[Record], title: str) -> None:
    """A column of squares for each input vector, and a row for each of its bits and each output."""
    x = decisions[0]["x"]
    inputs = NETWORKS[decisions[0]["name"]][1]
    names = [*inputs, *(output for d in decisions for output in NETWORKS[d["name"]][2])]
    bits = np.hstack([x, *(d["decided"] for d in decisions)]).T
    down, across = np.indices(bits.shape)
    axis.scatter(across, down, s=150, marker="s", c=1 - bits, cmap="gray", vmin=0, vmax=1, edgecolor="black")
    axis.axhline(len(inputs) - 0.5, color="0.5", linewidth=0.8)
    axis.set_yticks(range(len(names)), names)
    axis.set_xticks(range(len(x)), ["".join(map(str, row)) for row in x])
    axis.set(xlim=(-0.6, len(x) - 0.4), ylim=(len(names) - 0.4, -0.6), xlabel="inputs (black: 1)")
    axis.set_title(title, fontsize=10)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def claims(record: Record) -> list[Claim]:
    """Every network against Boolean algebra, and the sigmoid neurons against the perceptrons."""
    result = []
    for d in record["decisions"]:
        statement, _, boolean = NETWORKS[d["name"]]
        agree = np.equal(d["decided"], [[f(*bits) for f in boolean.values()] for bits in d["x"]])
        measured = f"{np.sum(agree)} of {np.size(agree)} outputs agree with Boolean algebra"
        result.append(Claim(statement, "", measured, bool(np.all(agree))))
    distance = np.max([d["max_distance"] for d in record["decisions"]], axis=0)
    first, last = (f"{distance[i]:.2g} at c = {record['sharpness'][i]}" for i in (0, -1))
    statement = "Sigmoid neurons with large weights and biases decide like perceptrons"
    shrinks = bool(np.all(np.diff(distance) < 0) and distance[-1] < 1e-4)
    return [*result, Claim(statement, "", f"largest distance of an output: {first}, {last}", shrinks)]


EXPERIMENT = Experiment(
    "perceptron_decision", __doc__, run, plot, claims, uses=(), minutes=0.1,
    constants={"weights": WEIGHTS, "thresholds": THRESHOLDS, "sharpness": SHARPNESS},
)  # fmt: skip
