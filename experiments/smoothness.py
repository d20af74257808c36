"""Why smooth neurons: how far does a small change of the weights move the output?

One weight of one neuron is swept, with the perceptron's step and with σ(c z) at several
sharpnesses c. Then all weights and biases of a small network are moved a little at once, and the
change of its output is set beside the one that `jax.grad` predicts, Σ ∂output/∂w Δw.

Expected: the perceptron does not move at all, then flips; the sigmoid neuron moves by at most
c/4 |x Δw|, and tends to the step as c grows; the prediction's error shrinks with the square of Δw.

    python -m experiments.smoothness        # seconds
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings

X = (1.0, 0.5)
# One neuron, z = x₁ w₁ + x₂ w₂ + b, that turns where w₁ = 1.
W2, BIAS = 1.0, -1.5
FROM, TO, CHANGE = -1.0, 3.0, 0.01
DRAWN = (1.0, 3.0, 10.0, 100.0)
SHARPNESS = tuple(np.logspace(0, 4, 17).tolist())
# The network, and how far its weights and biases are moved: so many times a draw from N(0, 1).
SIZES = (2, 3, 1)
SMALL = tuple(np.logspace(-4, 0, 9).tolist())
KEY = 1


def sharp(c: Any) -> Callable:
    """σ(c z): the sigmoid neuron whose weights and bias are all c times as large."""
    return lambda z: nnjax.sigmoid(c * z)


def run(settings: Settings) -> Record:
    """The neuron's curves, the largest change of each, and the network's changes as predicted.

    In double precision, for these are differences of numbers that are nearly equal.
    """
    with jax.enable_x64(True):
        return {"sharpness": SHARPNESS, "small": SMALL, **measure()}


@jax.jit
def measure() -> Record:
    """All numbers of the record that are computed."""
    # Weights on both sides of z = 0, and none on it.
    w = jnp.arange(FROM + CHANGE / 2, TO, CHANGE)
    step = neuron(w, nnjax.heaviside)
    sigmoid = jax.vmap(lambda c: neuron(w, sharp(c)))
    return {
        "w": w,
        "step": step,
        "sigmoid": sigmoid(jnp.array(DRAWN)),
        "step_moves": _largest_change(step),
        "sigmoid_moves": _largest_change(sigmoid(jnp.array(SHARPNESS))),
        **move_network(jnp.array(SMALL)),
    }


def neuron(w: jax.Array, activation: Callable) -> jax.Array:
    """The neuron's output for each value of its first weight."""

    def output(w1):
        layer = nnjax.Layer(jnp.array([[w1, W2]]), jnp.array([BIAS]))
        return nnjax.feedforward((layer,), jnp.array(X), output=activation)[0]

    return jax.vmap(output)(w)


def _largest_change(outputs: jax.Array) -> jax.Array:
    """The most that an output differs from its neighbour's, whose weight differs by CHANGE."""
    return jnp.max(jnp.abs(jnp.diff(outputs)), axis=-1)


def move_network(small: jax.Array) -> Record:
    """How far a network's output moves with all its parameters: measured, and by its gradient."""
    params, direction = (nnjax.init(key, SIZES) for key in jax.random.split(jax.random.key(KEY)))

    def output(params):
        return nnjax.feedforward(params, jnp.array(X))[0]

    def moved(delta):
        return output(optax.tree.add_scale(params, delta, direction)) - output(params)

    slope = optax.tree.vdot(jax.grad(output)(params), direction)
    return {"moved": jax.vmap(moved)(small), "predicted": slope * small}


def plot(record: Record) -> Any:
    """The curves; the largest change by sharpness; the error of the linear prediction."""
    from matplotlib import pyplot

    figure, (curves, largest, errors) = pyplot.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    curves.plot(record["w"], record["step"], color="0.75", linewidth=5, label="step")
    for c, outputs, line in zip(DRAWN, record["sigmoid"], ("-", "--", "-.", ":"), strict=True):
        curves.plot(record["w"], outputs, line, color="black", label=f"σ({c:g} z)")
    curves.set(xlabel="weight $w_1$", ylabel="output", title="one neuron")

    c = np.array(record["sharpness"])
    largest.axhline(record["step_moves"], color="0.75", linewidth=5, label="step")
    largest.loglog(c, record["sigmoid_moves"], "ko", mfc="none", label="σ(c z)")
    largest.loglog(c, bound(c), "k--", label="c/4 · |x Δw|")
    largest.set(xlabel="sharpness c", ylabel="largest change of the output", ylim=(1e-3, 5))
    largest.set_title(f"... whose $w_1$ changes by {CHANGE}")

    errors.loglog(record["small"], np.abs(record["moved"]), "ko-", mfc="none", label="measured")
    errors.loglog(record["small"], error(record), "ks--", mfc="none", label="measured - predicted")
    errors.set(xlabel="how far all weights and biases move", ylabel="change of the output")
    errors.set_title("a network, beside its gradient")
    for axis in (curves, largest, errors):
        axis.legend(loc="best", frameon=False, fontsize=8)
    return figure


def bound(c: Any) -> Any:
    """What a change of w₁ moves σ(c z) by at most, for σ' is nowhere above ¼."""
    return c / 4 * X[0] * CHANGE


def error(record: Record) -> np.ndarray:
    """How far the prediction lies from what was measured."""
    return np.abs(np.subtract(record["moved"], record["predicted"]))


def claims(record: Record) -> list[Claim]:
    """What the chapter says of smoothness; it has no numbers for it."""
    moves, within = np.array(record["sigmoid_moves"]), bound(np.array(record["sharpness"]))
    apart = np.mean(np.abs(np.subtract(record["sigmoid"], record["step"])), axis=1)
    least = error(record)[0] / abs(record["moved"][0])
    order = np.polyfit(np.log(record["small"]), np.log(error(record)), 1)[0]
    return [
        Claim(
            "However small a change of a weight, it can flip a perceptron, and else does nothing",
            "",
            f"a change by {CHANGE} moves its output by {record['step_moves']:g}, or by 0",
            set(np.abs(np.diff(record["step"]))) == {0, 1},
        ),
        Claim(
            "A sigmoid neuron it moves a little",
            "",
            f"by {moves[0]:.5f} at most, and never by more than c/4 |x Δw|",
            bool(np.all(moves <= within)),
        ),
        Claim(
            "With large weights σ is nearly the step",
            "",
            "in the mean over the weights "
            + ", ".join(f"{a:.2g} from it (c = {c:g})" for a, c in zip(apart, DRAWN, strict=True)),
            bool(np.all(np.diff(apart) < 0) and apart[-1] < 0.01),
        ),
        Claim(
            "The change of the output is nearly linear in the changes of weights and biases",
            "",
            f"linear but for {least:.1g} at Δ = {record['small'][0]:g}; the error is of order {order:.2f}",
            bool(abs(order - 2) < 0.1),
        ),
    ]


EXPERIMENT = Experiment(
    "smoothness", __doc__, run, plot, claims, uses=(), minutes=0.1,
    constants={
        "x": X, "neuron": (W2, BIAS), "sweep": (FROM, TO, CHANGE), "drawn": DRAWN, "sharpness": SHARPNESS,
        "sizes": SIZES, "small": SMALL, "key": KEY,
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
