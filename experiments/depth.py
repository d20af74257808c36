"""Why are deep networks hard to train, and what mends it?

Networks of 1 to 10 hidden layers of 30 neurons, five ways: as the chapter has them (sigmoid
neurons, weights from N(0, 1), quadratic cost, SGD); the same with weights from N(0, 1/n_in); mended
(rectified linear neurons, He's weights, softmax and cross-entropy, Adam); the same with the weighted
inputs of each hidden layer normalised; and with links past each hidden layer too. Each has a few η, of
which validation chooses one for each depth. Before training, the gradient of the cost by the biases
of each layer says how fast that layer would learn.

Expected: with sigmoid neurons the gradient shrinks from layer to layer towards the input, most with
small weights, as σ′ is at most 1/4, and depth costs accuracy. Mended, by all four changes at once,
it keeps its size and ten layers train almost as one; with normalisation and links, as well as one. No
more is expected of layers of 30 neurons.

    python -m experiments.depth             # about 15 minutes on 2 cores
    python -m experiments.depth --quick     # seconds, on the embedded digits
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from experiments.evidence import Claim, Experiment, Record, Settings, at_edge, percent, spread
from experiments.figures import STYLES, band, plain_ticks
from nnjax.nn.objective import mean_cost

DEPTHS = (1, 2, 3, 5, 7, 10)
QUICK_DEPTHS = (1, 3)
WIDTH = 30
BATCH_SIZE = 10
LOOKED_AT = 1000  # training images
KEY = 10
NEAR = 0.2  # points, that depth may cost


@dataclass(frozen=True)
class Normalised(nnjax.Dense):
    """`Dense` whose hidden layers' weighted inputs have mean 0 and variance 1, example by example.

    Ba, Kiros, Hinton: Layer normalization (2016), without its gains.

    Attributes:
      links: whether each hidden layer but the first adds to what it was given, rather than replaces it
        (He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2015).
    """

    links: bool = False

    def __call__(self, params, x, key=None):
        (w, b), *hidden, last = params
        a = self.activation(jax.nn.standardize(w @ x + b))
        for w, b in hidden:
            told = self.activation(jax.nn.standardize(w @ a + b))
            a = a + told if self.links else told
        return self.output(last.w @ a + last.b)


SIGMOID_RATES = (0.1, 0.3, 1.0, 3.0, 10.0)

NORMALISED_RATES = (0.0003, 0.001, 0.003, 0.01)

CHAPTERS = "sigmoid, N(0, 1)"


def _mended(forward: nnjax.Dense, *rates: float) -> dict[str, Any]:
    return {
        "initial_weights": nnjax.he,
        "objective": nnjax.Objective(forward, nnjax.softmax_cross_entropy),
        "optimizer": optax.adam,
        "learning_rate": rates,
    }


# What `sweep` is given for each: of its η, validation chooses one for each depth.
WAYS = {
    CHAPTERS: {"initial_weights": nnjax.standard_normal, "learning_rate": SIGMOID_RATES},
    "sigmoid, N(0, 1/n_in)": {"initial_weights": nnjax.lecun, "learning_rate": SIGMOID_RATES},
    "mended": _mended(nnjax.Dense(nnjax.relu, nnjax.identity), 0.0001, 0.0003, 0.001, 0.003, 0.01),
    "normalised": _mended(Normalised(nnjax.relu, nnjax.identity), *NORMALISED_RATES),
    "normalised, with links": _mended(Normalised(nnjax.relu, nnjax.identity, links=True), *NORMALISED_RATES),
}
MENDED = tuple(WAYS)[2:]


def run(settings: Settings) -> Record:
    """Measure gradients before training, then train every way at every depth.

    Each of `runs` holds counts at its chosen η, (seed, epoch), and `gradients`, (seed, layer), the
    output layer last.
    """
    data = settings.load()
    layers = [(WIDTH,) * depth for depth in (QUICK_DEPTHS if settings.quick else DEPTHS)]
    looked_at = jax.tree.map(lambda a: jnp.asarray(a[:LOOKED_AT]), data.train)
    runs = []
    for name, way in WAYS.items():
        grid = settings.sweep(KEY, data, hidden=layers, batch_size=BATCH_SIZE, **way)
        for i, hidden in enumerate(layers):
            validation, test = (c.isel(hidden=i) for c in (grid.validation_correct, grid.test_correct))
            chosen = validation.isel(epoch=-1).mean("seed").idxmax("learning_rate").item()
            sizes = (data.train.inputs.shape[1], *hidden, data.num_classes)
            keys = [grid.rng_keys(seed)[0] for seed in range(settings.seeds)]
            fresh = [nnjax.init(key, sizes, way["initial_weights"]) for key in keys]
            objective = way.get("objective", nnjax.Objective())
            runs.append(
                {
                    "way": name,
                    "depth": len(hidden),
                    "learning_rate": chosen,
                    "test_correct": test.sel(learning_rate=chosen).values,
                    "validation_correct": validation.sel(learning_rate=chosen).values,
                    "gradients": [gradient_sizes(params, objective, *looked_at) for params in fresh],
                }
            )
    return {"test_examples": len(data.test.targets), "runs": runs}


@jax.jit
def gradient_sizes(
    params: nnjax.Params, objective: nnjax.Objective, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """‖∂C/∂b‖ of each layer, the first hidden one first."""
    grads = jax.grad(mean_cost)(params, objective, images, labels, jax.random.key(0))
    return jnp.stack([jnp.linalg.norm(layer.b) for layer in grads])


def _median(record: Record, way: str, depth: int) -> np.ndarray:
    """The size of each layer's gradient before training: the median of the seeds."""
    (r,) = (r for r in record["runs"] if (r["way"], r["depth"]) == (way, depth))
    return np.median(r["gradients"], axis=0)


def _chosen(record: Record, way: str, depth: int) -> str:
    """The η that validation chose, and whether it lies at the edge of what was tried."""
    (r,) = (r for r in record["runs"] if (r["way"], r["depth"]) == (way, depth))
    rate = r["learning_rate"]
    return f"η = {rate:g}{at_edge(rate, WAYS[way]['learning_rate'])}"


def _final(record: Record, way: str) -> dict[int, np.ndarray]:
    """By depth, each seed's test images right in the end, in percent."""
    return {
        r["depth"]: percent(r["test_correct"], record["test_examples"])[:, -1]
        for r in record["runs"]
        if r["way"] == way
    }


def plot(record: Record) -> Any:
    """Left, the gradient's size by layer before training; right, what is misread at each depth."""
    from matplotlib import pyplot

    figure, (sizes, learnt) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for way, style in zip(WAYS, STYLES, strict=False):
        final = _final(record, way)
        depths = list(final)
        for depth in sorted({depths[len(depths) // 2], depths[-1]}):
            norms = _median(record, way, depth)
            sizes.plot(np.arange(1, len(norms) + 1), norms, markersize=4, **style)
        band(learnt, depths, 100 - np.transpose(list(final.values())), label=way, **style)
    for axis in (sizes, learnt):
        axis.set_yscale("log")
    plain_ticks(learnt.yaxis)
    sizes.set_xticks(range(1, depths[-1] + 2))
    learnt.set_xticks(depths)
    sizes.set(xlabel="layer, from the input (the last is the output)", ylabel="‖∂C/∂b‖ before training")
    learnt.set(xlabel="hidden layers", ylabel="test images wrong (%), log scale")
    epochs = record["settings"]["epochs"]
    sizes.set_title("each way at two depths; median of the seeds", fontsize=10)
    learnt.set_title(f"after {epochs} epochs: median and spread of the seeds", fontsize=10)
    figure.legend(*learnt.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{record['settings']['dataset']}, {record['settings']['seeds']} seeds each", fontsize=11)
    return figure


def claims(record: Record) -> list[Claim]:
    """What depth does to the gradient and to what is learnt, and whether the mending mends it."""
    final = {way: _final(record, way) for way in WAYS}
    shallow, deep = min(final["mended"]), max(final["mended"])
    many = [depth for depth in final["mended"] if depth >= 5] or [deep]
    return [
        *(_gradients(record, way, deep) for way in WAYS),
        *(_trained(record, way, {depth: final[way][depth] for depth in many}) for way in WAYS),
        *(
            Claim(
                f"{deep} hidden layers train as well as one, to {NEAR} points ({way})",
                "",
                f"{spread(final[way][deep])} beside {spread(final[way][shallow])}",
                bool(np.median(final[way][deep]) >= np.median(final[way][shallow]) - NEAR),
                of_the_chapter=False,
            )
            for way in MENDED
        ),
        *(_gain(record, way, final[way]) for way in MENDED),
    ]


def _gradients(record: Record, way: str, deep: int) -> Claim:
    """Whether early layers learn slower than late ones, before training."""
    norms = _median(record, way, deep)
    ratio = norms[0] / norms[-2]
    says = "do not learn slower" if way in MENDED else "learn slower"
    return Claim(
        f"{way}: before training, early layers {says} than late ones",
        "",
        f"with {deep} hidden layers the gradient of the first is {ratio:.2g} times that of the last",
        bool(ratio > 0.5) if way in MENDED else bool(ratio < 0.1),
        way == CHAPTERS,
    )


def _trained(record: Record, way: str, final: dict[int, np.ndarray]) -> Claim:
    """Whether many layers can be trained."""
    told = (f"{depth} layers, {_chosen(record, way, depth)}: {spread(r)}" for depth, r in final.items())
    return Claim(
        f"Networks of 5 to 10 hidden layers can be trained ({way})",
        "",
        "; ".join(told),
        bool(min(map(np.median, final.values())) > 90),
    )


def _gain(record: Record, way: str, final: dict[int, np.ndarray]) -> Claim:
    """What more layers are worth, one way: by as many as validation chooses, and by all."""
    shallow, deep = min(final), max(final)
    gain = {depth: f - final[shallow] for depth, f in final.items()}
    deeper = (r for r in record["runs"] if r["way"] == way and r["depth"] > shallow)
    best = max(deeper, key=lambda r: np.mean(r["validation_correct"], axis=0)[-1])["depth"]
    ours = (
        f"against one layer: {best}, best on validation, by {spread(gain[best], '{:+.2f}')} points; "
        f"{deep} by {spread(gain[deep], '{:+.2f}')}"
    )
    says = f"Deep networks do better than shallow ones ({way})"
    return Claim(says, "", ours, bool(gain[best].min() > 0))


EXPERIMENT = Experiment(
    "depth", __doc__, run, plot, claims, seeds=5, epochs=10, minutes=15,
    constants={
        "depths": DEPTHS, "quick_depths": QUICK_DEPTHS, "width": WIDTH, "batch_size": BATCH_SIZE,
        "learning_rates": {name: way["learning_rate"] for name, way in WAYS.items()},
        "looked_at": LOOKED_AT, "key": KEY,
    },
)  # fmt: skip

if __name__ == "__main__":
    EXPERIMENT.main()
