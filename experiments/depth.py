"""Why are deep networks hard to train, and what helps?

Networks of 1 to 10 hidden layers of 30 neurons, in five configurations: as in the chapter (sigmoid neurons,
weights from N(0, 1), quadratic cost, SGD); with weights from N(0, 1/n_in); modern (ReLU, He's weights,
softmax and cross-entropy, Adam); modern with layer normalization; and with residual connections as well.
Validation selects the learning rate of every configuration for every depth. Before training, the gradient
of the cost with respect to the biases of each layer shows how fast that layer would learn.

Expected: with sigmoid neurons the gradient shrinks from layer to layer towards the input, because σ′ is at
most 1/4, and depth costs accuracy. In the modern configurations the gradient keeps its size, and ten layers
train almost as well as one. Layers of 30 neurons are not expected to profit from depth.
"""

from typing import Any

import jax
import numpy as np

import nnjax
from experiments.depth_configs import BOOK, CHAPTER, CONFIGS, MODERN, QUICK
from experiments.experiment import Claim, Experiment, Record, RunContext, edge_note
from nnjax.compare.plots import STYLES, learning_curves, readable_log_ticks
from nnjax.compare.statistics import format_median_range, percent, select_best
from nnjax.runtime import stable_repr

DEPTHS, QUICK_DEPTHS = (1, 2, 3, 5, 7, 10), (1, 2)
WIDTH = 30
PROBE_IMAGES = 1000  # training images
KEY = 10
MARGIN = 0.2  # points of accuracy that depth may cost


def run(context: RunContext) -> Record:
    """Measures gradients before training, then trains every configuration at every depth.

    Each of `runs` has counts for the selected η, (seed, epoch), and `gradients`, (seed, layer), the output
    layer last.
    """
    data = context.load()
    layers = [(WIDTH,) * depth for depth in (QUICK_DEPTHS if context.quick else DEPTHS)]
    probe = jax.tree.map(lambda a: a[:PROBE_IMAGES], data.train)
    runs = []
    for name in QUICK if context.quick else CONFIGS:
        setup = CONFIGS[name]
        objective = setup.objective(data)
        grid = context.sweep(KEY, setup.config, data, hidden=layers, learning_rate=setup.rates,
                             objective=objective)  # fmt: skip
        before = setup.config.sweep(jax.random.key(KEY), data, hidden=layers, learning_rate=setup.rates[0],
                                    objective=objective, seeds=context.seeds, steps=1,
                                    watch={"gradients": bias_gradients(objective, *probe)})  # fmt: skip
        for i, hidden in enumerate(layers):
            results = grid.data.isel(hidden=i).transpose("learning_rate", "seed", "epoch")
            selected = select_best(results.validation_correct.values[..., -1])
            gradients = before.watched["gradients"].isel(hidden=i, step=0, value=0)
            runs.append(
                {
                    "config": name,
                    "depth": len(hidden),
                    "learning_rate": setup.rates[selected],
                    "test_correct": results.test_correct.values[selected],
                    "validation_correct": results.validation_correct.values[selected],
                    "gradients": gradients.values[:, : len(hidden) + 1],
                }
            )
    return {"num_test": len(data.test.targets), "runs": runs}


def bias_gradients(objective: nnjax.Objective, images: Any, labels: Any) -> nnjax.watch.Watch:
    """‖∂C/∂b‖ of each layer, the first hidden one first."""
    return nnjax.watch.probe_gradient_norms(objective, images, labels, part=biases)


def biases(layers: nnjax.Params) -> list[jax.Array]:
    """The biases of each layer."""
    return [layer.b for layer in layers]


def names_of(record: Record) -> list[str]:
    """The configurations that were trained."""
    return list(dict.fromkeys(r["config"] for r in record["runs"]))


def find_run(record: Record, name: str, depth: int) -> Record:
    """The run of a configuration at a depth."""
    return next(r for r in record["runs"] if (r["config"], r["depth"]) == (name, depth))


def final_accuracy(record: Record, name: str) -> dict[int, np.ndarray]:
    """By depth, the test accuracy of each seed at the end, in percent."""
    runs = (r for r in record["runs"] if r["config"] == name)
    return {r["depth"]: percent(r["test_correct"], record["num_test"])[:, -1] for r in runs}


def plot(record: Record) -> Any:
    """Left, the gradient by layer before training; right, the test error by depth."""
    from matplotlib import pyplot

    figure, (norms, error) = pyplot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    depths = list(final_accuracy(record, CHAPTER))
    for name, style in zip(names_of(record), STYLES, strict=False):
        for depth in sorted({depths[len(depths) // 2], depths[-1]}):
            values = np.median(find_run(record, name, depth)["gradients"], axis=0)
            norms.plot(np.arange(1, len(values) + 1), values, markersize=4, **style)
        errors = 100 - np.transpose(list(final_accuracy(record, name).values()))
        learning_curves(error, {name: errors}, x=depths, styles=[{**style, "markevery": 1}])
    norms.set(xlabel="layer, from the input (the last is the output)", ylabel="‖∂C/∂b‖ before training")
    error.set(xlabel="hidden layers", ylabel="test error (%)", xticks=depths)
    norms.set_xticks(range(1, depths[-1] + 2))
    for axis in (norms, error):
        axis.set_yscale("log")
    readable_log_ticks(error.yaxis)
    s = record["settings"]
    norms.set_title("each configuration at two depths, median of the seeds", fontsize=10)
    error.set_title(f"after {s['epochs']} epochs: median, minimum to maximum", fontsize=10)
    handles = error.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{s['dataset']}, {s['seeds']} seeds each", fontsize=11)
    return figure


def claims(record: Record) -> list[Claim]:
    """What depth does to the gradient and to accuracy in each configuration."""
    accuracy = {name: final_accuracy(record, name) for name in names_of(record)}
    deep, modern = max(accuracy[CHAPTER]), [name for name in accuracy if name in MODERN]
    return [
        *(gradient_claim(record, name, deep) for name in accuracy),
        *(training_claim(record, name, accuracy[name]) for name in accuracy),
        *(equal_claim(name, accuracy[name]) for name in modern),
        *(gain_claim(record, name, accuracy[name]) for name in modern),
    ]


def gradient_claim(record: Record, name: str, deep: int) -> Claim:
    """Whether early layers learn slower than late ones, before training."""
    norms = np.median(find_run(record, name, deep)["gradients"], axis=0)
    ratio, modern = norms[0] / norms[-2], name in MODERN
    return Claim(
        f"{name}: before training, early layers {'do not ' if modern else ''}learn slower than late ones", "",
        f"with {deep} hidden layers the gradient of the first is {ratio:.2g} times that of the last",
        bool(ratio > 0.5 if modern else ratio < 0.1), from_book=name == CHAPTER,
    )  # fmt: skip


def training_claim(record: Record, name: str, accuracy: dict[int, np.ndarray]) -> Claim:
    """Whether many layers can be trained."""
    many = [depth for depth in accuracy if depth >= 5] or [max(accuracy)]
    rates = {depth: find_run(record, name, depth)["learning_rate"] for depth in many}
    notes = {depth: edge_note(rate, CONFIGS[name].rates) for depth, rate in rates.items()}
    parts = (
        f"{depth} layers, η = {rates[depth]:g}{notes[depth]}: {format_median_range(accuracy[depth])}"
        for depth in many
    )
    trained = bool(min(np.median(accuracy[depth]) for depth in many) > 90)
    statement = f"{name}: networks of 5 to 10 hidden layers can be trained"
    return Claim(statement, "", "; ".join(parts), trained, from_book=name == MODERN[0])


def equal_claim(name: str, accuracy: dict[int, np.ndarray]) -> Claim:
    """Whether the deepest network is as accurate as the shallowest."""
    one, deep = accuracy[min(accuracy)], accuracy[max(accuracy)]
    return Claim(
        f"{name}: {max(accuracy)} hidden layers are as accurate as one, within {MARGIN} points", "",
        f"{format_median_range(deep)} and {format_median_range(one)}",
        bool(np.median(deep) >= np.median(one) - MARGIN), from_book=False,
    )  # fmt: skip


def gain_claim(record: Record, name: str, accuracy: dict[int, np.ndarray]) -> Claim:
    """The gain in accuracy with the depth that validation selects, and with the largest depth."""
    depths = [depth for depth in accuracy if depth > min(accuracy)]
    validation = [np.asarray(find_run(record, name, depth)["validation_correct"])[:, -1] for depth in depths]
    best, deep = depths[select_best(validation)], max(depths)
    gain = {depth: accuracy[depth] - accuracy[min(accuracy)] for depth in (best, deep)}
    by_depth = {depth: format_median_range(values, "{:+.2f}") for depth, values in gain.items()}
    measured = f"{best} layers (best on validation) minus one layer: {by_depth[best]} points; "
    measured += f"{deep} layers: {by_depth[deep]}"
    return Claim(
        f"{name}: deep networks are better than shallow ones", "", measured, bool(gain[best].min() > 0),
        from_book=name == MODERN[0],
    )  # fmt: skip


EXPERIMENT = Experiment(
    "depth", __doc__, run, plot, claims, seeds=5, epochs=BOOK.epochs, minutes=15,
    constants={
        "configs": {
            name: {"config": setup.config.to_json(), "learning_rates": setup.rates,
                   "forward": setup.forward and stable_repr(setup.forward)}
            for name, setup in CONFIGS.items()
        },
        "depths": DEPTHS, "width": WIDTH, "probe_images": PROBE_IMAGES, "key": KEY,
    },
)  # fmt: skip
