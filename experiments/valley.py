"""The ball in a valley: where does gradient descent go on a function of two variables?

Through an elongated bowl with η too small, right and too large; and down a curved valley with the
variants of gradient descent. Each variant tries the same learning rates, and shows the one that
ends lowest without ever lying above the start: a lucky leap over the hills is no way down.

Expected: in the bowl C = ½(a v₁² + b v₂²) a step multiplies v by (1 - ηa, 1 - ηb), which climbs
where η > 2/b; ΔC tends to -η‖∇C‖² as η tends to 0; variants that keep a velocity come down the
curved valley first.

    python -m experiments.valley        # seconds
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings
from nnjax.optim.optimizers import Optimizer, make_optimizer
from nnjax.sweep._population import stack

# The bowl: gradient descent climbs where η > 2/b = 0.2.
A, B = 1.0, 10.0
BOWL_START, BOWL_STEPS = (-4.0, 1.0), 25
RATES = {"too small": 0.01, "right": 0.15, "too large": 0.205}
SMALL = tuple(np.logspace(-4, -1, 13).tolist())
# The curved valley: as Rosenbrock's, with walls a tenth as steep.
START, STEPS = (-1.2, 1.0), 60
VARIANTS = {
    "sgd": optax.sgd, "momentum": nnjax.momentum, "nesterov": nnjax.nesterov, "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop, "adam": optax.adam, "lion": optax.lion,
}  # fmt: skip
TRIED = tuple(np.logspace(-4, 1, 26).tolist())
LINES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = "os^DvPX"


def bowl(v: Any) -> Any:
    """½(a v₁² + b v₂²)."""
    return (A * v[0] ** 2 + B * v[1] ** 2) / 2


def curved(v: Any) -> Any:
    """A valley along the parabola v₂ = v₁², lowest at (1, 1)."""
    return (1 - v[0]) ** 2 + 10 * (v[1] - v[0] ** 2) ** 2


def run(settings: Settings) -> Record:
    """The paths, their costs, and how near ΔC comes to -η‖∇C‖²; in double precision."""
    with jax.enable_x64(True):
        rates = zip(RATES, _descend_all(optax.sgd, RATES.values(), bowl, BOWL_START, BOWL_STEPS), strict=True)
        return {
            "bowl": [{"name": name, **descent} for name, descent in rates],
            "small": SMALL,
            "ratio": jax.vmap(decrease)(jnp.array(SMALL)),
            "variants": [{"name": name, **_best(factory)} for name, factory in VARIANTS.items()],
        }


@partial(jax.jit, static_argnames=("cost", "steps"))
def descend(optimizer: Optimizer, cost: Any, start: jax.Array, steps: int) -> dict[str, jax.Array]:
    """The ball's path, (steps + 1, 2) with its start, and the cost along it."""

    def step(state, _):
        v, opt_state = state
        state = optimizer.apply(jax.grad(cost)(v), opt_state, v)
        return state, state[0]

    _, path = jax.lax.scan(step, (start, optimizer.init(start)), length=steps)
    path = jnp.concatenate([start[None], path])
    return {"path": path, "cost": jax.vmap(cost)(path)}


def _descend_all(factory, rates, cost, start, steps) -> list[Record]:
    """A descent for each learning rate, in one program."""
    optimizers = [make_optimizer(factory, {"learning_rate": rate}) for rate in rates]
    found = jax.vmap(lambda optimizer: descend(optimizer, cost, jnp.array(start), steps))(stack(optimizers))
    return [
        {"learning_rate": o.hyperparams["learning_rate"], **{name: x[i] for name, x in found.items()}}
        for i, o in enumerate(optimizers)
    ]


def _best(factory: Any) -> Record:
    """The descent that ends lowest of those that never lie above the start."""
    found = _descend_all(factory, TRIED, curved, START, STEPS)
    tame = [descent for descent in found if jnp.all(descent["cost"] <= descent["cost"][0])]
    return min(tame, key=lambda descent: descent["cost"][-1])


def decrease(learning_rate: jax.Array) -> jax.Array:
    """-ΔC / (η‖∇C‖²) for one step from the bowl's start."""
    v = jnp.array(BOWL_START)
    grads = jax.grad(bowl)(v)
    return (bowl(v) - bowl(v - learning_rate * grads)) / (learning_rate * jnp.sum(grads**2))


def plot(record: Record) -> Any:
    """The bowl at three learning rates and the size of a step; then each variant, and their costs."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 4, figsize=(12, 8.4), layout="constrained")
    *bowls, ratio = axes[0]
    *valleys, costs = axes[1:].flat
    for axis, r in zip(bowls, record["bowl"], strict=True):
        _contours(axis, bowl, (-4.6, 1.6), (-3.8, 3.8))
        axis.plot(*np.transpose(r["path"]), "ko-", markersize=3, linewidth=1)
        axis.set_title(f"{r['name']}: η = {r['learning_rate']:g}", fontsize=10)
    ratio.semilogx(record["small"], record["ratio"], "ko-", markersize=3, linewidth=1)
    ratio.set(xlabel="η", ylabel="-ΔC / (η‖∇C‖²)", ylim=(0, 1.1))
    ratio.set_title("one step, beside -η‖∇C‖²", fontsize=10)
    for axis, r, line, marker in zip(valleys, record["variants"], LINES, MARKERS, strict=True):
        _contours(axis, curved, (-1.5, 1.5), (-0.5, 1.6))
        axis.plot(*np.transpose(r["path"]), "ko-", markersize=3, linewidth=1)
        axis.plot(1, 1, "*", color="white", markeredgecolor="black", markersize=12)
        axis.set_title(f"{r['name']}, η = {r['learning_rate']:.2g}", fontsize=10)
        costs.semilogy(r["cost"], linestyle=line, marker=marker, markevery=12, color="black",
                       markersize=4, linewidth=1, label=r["name"])  # fmt: skip
    costs.set(xlabel="step", ylabel="C", ylim=(5e-5, 20))
    costs.set_title("down the curved valley", fontsize=10)
    costs.legend(fontsize=7, frameon=False, loc="lower left", handlelength=3)
    return figure


def _contours(axis: Any, cost: Any, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Lines of equal cost, closer together where it is low."""
    v = np.meshgrid(np.linspace(*across, 90), np.linspace(*up, 90))
    axis.contour(*v, cost(v), levels=np.logspace(-1.5, 2.5, 13), colors="0.75", linewidths=0.8)
    axis.set(xlabel="$v_1$", ylabel="$v_2$", xlim=across, ylim=up)


def claims(record: Record) -> list[Claim]:
    """What the chapter says of the ball."""
    slow, right, fast = (np.array(r["cost"]) / r["cost"][0] for r in record["bowl"])
    ends = {r["name"]: r["cost"][-1] for r in record["variants"]}
    near, far = record["ratio"][0], record["ratio"][-1]
    rolling = max(ends["momentum"], ends["nesterov"])
    return [
        Claim(
            "A small step changes the cost by -η‖∇C‖²",
            "",
            f"by {near:.4f} of it where η = {SMALL[0]:g}, by {far:.2f} where η = {SMALL[-1]:g}",
            abs(near - 1) < 1e-3,
        ),
        Claim(
            "Where η is too small the ball goes down, but slowly",
            "",
            f"{slow[-1]:.0%} of the cost is left after {BOWL_STEPS} steps, {right[-1]:.2%} where η is right",
            bool(np.all(np.diff(slow) < 0) and slow[-1] > 10 * right[-1]),
        ),
        Claim(
            "Where η is too large the cost can rise",
            "",
            f"to {fast[-1]:.1f} times the first",
            bool(fast[-1] > 1),
        ),
        Claim(
            "Variants that mimic a rolling ball have advantages",
            "",
            f"after {STEPS} steps: " + ", ".join(f"{name} {end:.1g}" for name, end in ends.items()),
            rolling < ends["sgd"],
        ),
    ]


EXPERIMENT = Experiment(
    "valley", __doc__, run, plot, claims, uses=(), minutes=0.1,
    constants={
        "bowl": {"a": A, "b": B, "start": BOWL_START, "steps": BOWL_STEPS, "rates": RATES, "small": SMALL},
        "curved": {"start": START, "steps": STEPS, "tried": TRIED, "variants": list(VARIANTS)},
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
