"""The ball in a valley: how does gradient descent move on a function of two variables?

In an elongated bowl, with η too small, suitable and too large; and in a curved valley, with the variants of
gradient descent. Every variant tries the same learning rates. The figure shows the rate with the lowest
final cost, of the rates whose cost never exceeds the initial cost.

Expected: in the bowl C = ½(a v₁² + b v₂²) a step multiplies v by (1 − ηa, 1 − ηb), which diverges for η >
2/b. ΔC approaches −η‖∇C‖² as η approaches 0. Variants with a velocity arrive first in the curved valley.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from experiments.experiment import Claim, Experiment, Record, RunContext
from nnjax.optim import Optimizer, make_optimizer

# The bowl: gradient descent diverges for η > 2/b = 0.2.
A, B = 1.0, 10.0
BOWL_START, BOWL_STEPS = (-4.0, 1.0), 25
RATES = {"too small": 0.01, "suitable": 0.15, "too large": 0.205}
SMALL_RATES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
# The curved valley: Rosenbrock's function with a tenth of its steepness.
START, STEPS = (-1.2, 1.0), 60
VARIANTS = {
    "sgd": optax.sgd, "momentum": nnjax.momentum, "nesterov": nnjax.nesterov, "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop, "adam": optax.adam, "lion": optax.lion,
}  # fmt: skip
CANDIDATES = (*(float(f"{m}e{k}") for k in range(-4, 1) for m in (1, 1.6, 2.5, 4, 6.3)), 10.0)
LINES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = "os^DvPX"


def bowl(v: Any) -> Any:
    """½(a v₁² + b v₂²)."""
    return (A * v[0] ** 2 + B * v[1] ** 2) / 2


def curved_valley(v: Any) -> Any:
    """A valley along the parabola v₂ = v₁², with its minimum at (1, 1)."""
    return (1 - v[0]) ** 2 + 10 * (v[1] - v[0] ** 2) ** 2


def run(context: RunContext) -> Record:
    """The paths, their costs, and −ΔC / (η‖∇C‖²) for small η; in double precision."""
    with jax.enable_x64(True):
        in_bowl = descend_all(optax.sgd, RATES.values(), bowl, BOWL_START, BOWL_STEPS)
        return {
            "bowl": [{"name": name, **path} for name, path in zip(RATES, in_bowl, strict=True)],
            "small_rates": SMALL_RATES,
            "ratio": jax.jit(jax.vmap(decrease))(np.array(SMALL_RATES)),
            "variants": [{"name": name, **best_descent(factory)} for name, factory in VARIANTS.items()],
        }


@partial(jax.jit, static_argnames=("cost", "steps"))
def descend(optimizer: Optimizer, cost: Any, start: jax.Array, steps: int) -> dict[str, jax.Array]:
    """The path of the ball from its start, (steps + 1, 2), and the cost along it."""

    def step(state, _):
        v, opt_state = state
        v, opt_state, _ = optimizer.apply(jax.grad(cost)(v), opt_state, v)
        return (v, opt_state), v

    _, path = jax.lax.scan(step, (start, optimizer.init(start)), length=steps)
    path = jnp.concatenate([start[None], path])
    return {"path": path, "cost": jax.vmap(cost)(path)}


def descend_all(factory, rates, cost, start, steps) -> list[Record]:
    """The descent for each learning rate, in one program."""
    optimizers = [make_optimizer(factory, {"learning_rate": rate}) for rate in rates]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *optimizers)
    descend_one = partial(descend, cost=cost, start=np.array(start), steps=steps)
    results = jax.device_get(jax.vmap(descend_one)(stacked))
    return [
        {"learning_rate": rate, **{name: x[i] for name, x in results.items()}} for i, rate in enumerate(rates)
    ]


def best_descent(factory: Any) -> Record:
    """The descent with the lowest final cost, of those that are never above the start."""
    descents = descend_all(factory, CANDIDATES, curved_valley, START, STEPS)
    below_start = [descent for descent in descents if np.all(descent["cost"] <= descent["cost"][0])]
    return min(below_start, key=lambda descent: descent["cost"][-1])


def decrease(learning_rate: jax.Array) -> jax.Array:
    """−ΔC / (η‖∇C‖²) for one step from the start in the bowl."""
    v = jnp.array(BOWL_START)
    grads = jax.grad(bowl)(v)
    return (bowl(v) - bowl(v - learning_rate * grads)) / (learning_rate * jnp.sum(grads**2))


def plot(record: Record) -> Any:
    """The bowl for three learning rates and the decrease in one step; then each variant, and their costs."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 4, figsize=(12, 8.4), layout="constrained")
    *bowls, ratio = axes[0]
    *valleys, costs = axes[1:].flat
    for axis, r in zip(bowls, record["bowl"], strict=True):
        draw_path(axis, r["path"], bowl, (-4.6, 1.6), (-3.8, 3.8))
        axis.set_title(f"η {r['name']}: {r['learning_rate']:g}", fontsize=10)
    ratio.semilogx(record["small_rates"], record["ratio"], "ko-", markersize=3, linewidth=1)
    ratio.set(xlabel="η", ylabel="−ΔC / (η‖∇C‖²)", ylim=(0, 1.1))
    ratio.set_title("decrease in one step", fontsize=10)
    for axis, r, line, marker in zip(valleys, record["variants"], LINES, MARKERS, strict=True):
        draw_path(axis, r["path"], curved_valley, (-1.5, 1.5), (-0.5, 1.6))
        axis.plot(1, 1, "*", color="white", markeredgecolor="black", markersize=12)
        axis.set_title(f"{r['name']}, η = {r['learning_rate']:g}", fontsize=10)
        costs.semilogy(r["cost"], linestyle=line, marker=marker, markevery=12, color="black",
                       markersize=4, linewidth=1, label=r["name"])  # fmt: skip
    costs.set(xlabel="step", ylabel="cost C", ylim=(5e-5, 20))
    costs.set_title("in the curved valley", fontsize=10)
    costs.legend(fontsize=7, frameon=False, loc="lower left", handlelength=3)
    return figure


def draw_path(axis: Any, path: Any, cost: Any, x: tuple[float, float], y: tuple[float, float]) -> None:
    """A path, and lines of equal cost."""
    v = np.meshgrid(np.linspace(*x, 90), np.linspace(*y, 90))
    axis.contour(*v, cost(v), levels=np.logspace(-1.5, 2.5, 13), colors="0.75", linewidths=0.8)
    axis.plot(*np.transpose(path), "ko-", markersize=3, linewidth=1)
    axis.set(xlabel="$v_1$", ylabel="$v_2$", xlim=x, ylim=y)


def claims(record: Record) -> list[Claim]:
    """What the chapter states about the ball."""
    slow, suitable, fast = (np.array(r["cost"]) / r["cost"][0] for r in record["bowl"])
    ends = {r["name"]: r["cost"][-1] for r in record["variants"]}
    smallest, largest = record["ratio"][0], record["ratio"][-1]
    return [
        Claim("A small step changes the cost by −η‖∇C‖²", "",
              f"the ratio is {smallest:.4f} for η = {SMALL_RATES[0]:g}, and {largest:.2f} for η = "
              f"{SMALL_RATES[-1]:g}",
              abs(smallest - 1) < 1e-3),
        Claim("If η is too small, the ball moves down slowly", "",
              f"{100 * slow[-1]:.0f} % of the cost is left after {BOWL_STEPS} steps, "
              f"{100 * suitable[-1]:.2f} % for the suitable η",
              bool(np.all(np.diff(slow) < 0) and slow[-1] > 10 * suitable[-1])),
        Claim("If η is too large, the cost can rise", "", f"to {fast[-1]:.1f} times the cost at the start",
              bool(fast[-1] > 1)),
        Claim("Variants that imitate a rolling ball have advantages", "",
              f"cost after {STEPS} steps: " + ", ".join(f"{name} {end:.1g}" for name, end in ends.items()),
              max(ends["momentum"], ends["nesterov"]) < ends["sgd"]),
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "valley", __doc__, run, plot, claims, uses=(), minutes=0.1,
    constants={
        "bowl": {"a": A, "b": B, "start": BOWL_START, "steps": BOWL_STEPS, "rates": RATES},
        "small_rates": SMALL_RATES,
        "curved": {"start": START, "steps": STEPS, "candidates": CANDIDATES, "variants": list(VARIANTS)},
    },
)  # fmt: skip
