"""Why sigmoid neurons: how much does a small change of the weights change the output?

One weight of one neuron is swept, with the step function of a perceptron and with σ(c z) for several c.
Then all weights and biases of a small network change a little at once, and the change of its output is
compared with the linear prediction of `jax.grad`, Σ ∂output/∂w Δw.

Expected: the output of a perceptron does not change, or flips. The output of a sigmoid neuron changes by at
most c/4 |x Δw|, and approaches the step as c grows. The error of the prediction shrinks with the square of
Δw.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext

X = (1.0, 0.5)
# One neuron, z = x₁ w₁ + x₂ w₂ + b, with z = 0 at w₁ = 1; w₁ is swept.
W2, BIAS = 1.0, -1.5
SWEEP_START, SWEEP_STOP, CHANGE = -1.0, 3.0, 0.01
PLOTTED_SHARPNESS = (1.0, 3.0, 10.0, 100.0)
SHARPNESS = (1.0, 1.8, 3.2, 5.6, 10.0, 18.0, 32.0, 56.0, 100.0, 180.0, 320.0, 560.0, 1000.0, 1800.0, 3200.0,
             5600.0, 10_000.0)  # fmt: skip
# The network, and the factors of its change; the direction is drawn from N(0, 1).
SIZES = (2, 3, 1)
FACTORS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
KEY = 1


def run(context: RunContext) -> Record:
    """The neuron's curves, the largest change of each, and the network's measured and predicted changes.

    In double precision, because these are differences of nearly equal numbers.
    """
    with jax.enable_x64(True):
        return {"sharpness": SHARPNESS, "factors": FACTORS, **measure()}


@jax.jit
def measure() -> Record:
    """The computed values of the record."""
    w = jnp.arange(SWEEP_START + CHANGE / 2, SWEEP_STOP, CHANGE)  # z is never 0
    step = neuron(w, nnjax.heaviside)
    sigmoid = jax.vmap(lambda c: neuron(w, lambda z: nnjax.sigmoid(c * z)))
    measured, predicted = change_network(jnp.array(FACTORS))
    return {
        "w": w,
        "step": step,
        "sigmoid": sigmoid(jnp.array(PLOTTED_SHARPNESS)),
        "step_max_change": max_change(step),
        "sigmoid_max_change": max_change(sigmoid(jnp.array(SHARPNESS))),
        "measured": measured,
        "predicted": predicted,
    }


def neuron(w: jax.Array, activation: Callable) -> jax.Array:
    """The neuron's output for each value of its first weight."""

    def output(w1):
        layer = nnjax.Layer(jnp.array([[w1, W2]]), jnp.array([BIAS]))
        return nnjax.feedforward((layer,), jnp.array(X), output=activation)[0]

    return jax.vmap(output)(w)


def max_change(outputs: jax.Array) -> jax.Array:
    """The largest difference of neighbouring outputs, whose weights differ by `CHANGE`."""
    return jnp.max(jnp.abs(jnp.diff(outputs)), axis=-1)


def change_network(factors: jax.Array) -> tuple[jax.Array, Any]:
    """The measured and the predicted change of a network's output, if all its parameters change."""
    params, direction = (nnjax.init(key, SIZES) for key in jax.random.split(jax.random.key(KEY)))

    def output(params):
        return nnjax.feedforward(params, jnp.array(X))[0]

    def measured(factor):
        return output(optax.tree.add_scale(params, factor, direction)) - output(params)

    slope = optax.tree.vdot(jax.grad(output)(params), direction)
    return jax.vmap(measured)(factors), slope * factors


def plot(record: Record) -> Any:
    """The curves; the largest change by sharpness; the error of the linear prediction."""
    from matplotlib import pyplot

    figure, (curves, largest, errors) = pyplot.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    curves.plot(record["w"], record["step"], color="0.75", linewidth=5, label="step function")
    for c, outputs, line in zip(PLOTTED_SHARPNESS, record["sigmoid"], ("-", "--", "-.", ":"), strict=True):
        curves.plot(record["w"], outputs, line, color="black", label=f"σ({c:g} z)")
    curves.set(xlabel="weight $w_1$", ylabel="output", title="one neuron")

    c = np.array(record["sharpness"])
    largest.axhline(record["step_max_change"], color="0.75", linewidth=5, label="step function")
    largest.loglog(c, record["sigmoid_max_change"], "ko", mfc="none", label="σ(c z)")
    largest.loglog(c, bound(c), "k--", label="bound: c/4 · |x Δw|")
    largest.set(xlabel="sharpness c", ylabel="largest change of the output", ylim=(1e-3, 5))
    largest.set_title(f"the neuron, if $w_1$ changes by {CHANGE}")

    errors.loglog(record["factors"], np.abs(record["measured"]), "ko-", mfc="none", label="measured change")
    errors.loglog(record["factors"], error(record), "ks--", mfc="none", label="measured − predicted")
    errors.set(xlabel="factor of the change of all weights and biases", ylabel="change of the output")
    errors.set_title("a network and its linear prediction")
    for axis in (curves, largest, errors):
        axis.legend(loc="best", frameon=False, fontsize=8)
    return figure


def bound(c: Any) -> Any:
    """The largest possible change of σ(c z) if w₁ changes by `CHANGE`, because σ′ is at most ¼."""
    return c / 4 * X[0] * CHANGE


def error(record: Record) -> np.ndarray:
    """The error of the prediction."""
    return np.abs(np.subtract(record["measured"], record["predicted"]))


def claims(record: Record) -> list[Claim]:
    """What the chapter states about smoothness; it states no numbers."""
    changes, bounds = np.array(record["sigmoid_max_change"]), bound(np.array(record["sharpness"]))
    distances = np.mean(np.abs(np.subtract(record["sigmoid"], record["step"])), axis=1)
    relative = error(record)[0] / abs(record["measured"][0])
    order = np.polyfit(np.log(record["factors"]), np.log(error(record)), 1)[0]
    by_c = (f"{d:.2g} for c = {c:g}" for d, c in zip(distances, PLOTTED_SHARPNESS, strict=True))
    return [
        Claim("A small change of a weight does not change a perceptron's output, or flips it", "",
              f"a change of the weight by {CHANGE} changes the output by {record['step_max_change']:g} or 0",
              set(np.abs(np.diff(record["step"]))) == {0, 1}),
        Claim("The same change changes a sigmoid neuron's output a little", "",
              f"by at most {changes[0]:.5f}; never by more than c/4 |x Δw|", bool(np.all(changes <= bounds))),
        Claim("With large weights σ is nearly the step function", "",
              "mean distance from the step function: " + ", ".join(by_c),
              bool(np.all(np.diff(distances) < 0) and distances[-1] < 0.01)),
        Claim("The change of the output is nearly linear in the changes of weights and biases", "",
              f"relative error {relative:.1g} for the factor {record['factors'][0]:g}; "
              f"the error is of order {order:.2f}", bool(abs(order - 2) < 0.1)),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "smoothness", __doc__, run, plot, claims, uses=(), minutes=0.1,
    constants={
        "x": X, "neuron": (W2, BIAS), "sweep": (SWEEP_START, SWEEP_STOP, CHANGE),
        "plotted_sharpness": PLOTTED_SHARPNESS, "sharpness": SHARPNESS, "sizes": SIZES, "factors": FACTORS,
        "key": KEY,
    },
)  # fmt: skip
