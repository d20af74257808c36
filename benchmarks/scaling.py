"""How the time and the memory of an epoch grow with hidden units, batch size, examples, depth and networks.

    python -m benchmarks.scaling                    # about 15 minutes on 2 idle cores
    python -m benchmarks.scaling --rounds 3 --output /tmp/scaling.json

Starting from one network [784, 30, 10] with m = 10, one quantity grows at a time. An epoch has 10,000 images,
unless their number grows. The rows "sweep" call `nnjax.sweep`. The rows "one program" train the same networks
in one compiled program, without threads, and show its memory. The roofline is the time of the matrix products
alone at the peak speed of the machine.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import optax
import tyro

import nnjax
from benchmarks import peers, roofline
from benchmarks.harness import Flags, Record, provenance, write_result
from benchmarks.population import ADAM_RATE, Population, Swept
from nnjax.compare import plots
from nnjax.optim import make_optimizer
from nnjax.training import init_state, train_epoch

EXAMPLES = 10_000
HIDDEN_UNITS = (10, 30, 100, 300, 1000, 3000)
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
NUM_EXAMPLES = (100, 300, 1000, 3000, 10_000, 50_000)
HIDDEN_LAYERS = (1, 2, 3, 5, 10)
NUM_NETWORKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Case(NamedTuple):
    """One point of a curve: its `x` on an axis, the method of training, and what is trained."""

    axis: str
    x: int
    method: str = "fit"
    hidden: tuple[int, ...] = (30,)
    batch_size: int = peers.BATCH_SIZE
    examples: int = EXAMPLES
    networks: int = 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """The neurons of each layer."""
        return 784, *self.hidden, 10


CASES = (
    *(Case("hidden units", h, method, (h,)) for method in ("fit", "sweep") for h in HIDDEN_UNITS),
    *(Case("batch size", m, batch_size=m) for m in BATCH_SIZES),
    *(Case("examples", n, examples=n) for n in NUM_EXAMPLES),
    *(Case("hidden layers", depth, hidden=(30,) * depth) for depth in HIDDEN_LAYERS),
    *(
        Case("networks", k, method, networks=k)
        for method in ("sweep", "sweep, Adam", "one program")
        for k in NUM_NETWORKS
    ),
)


class SingleNetwork:
    """One network, as `fit` trains it."""

    train = staticmethod(train_epoch)

    def __init__(self, networks: int, data: nnjax.Dataset, sizes: tuple[int, ...], batch_size: int):
        optimizer = make_optimizer(optax.sgd, {"learning_rate": peers.LEARNING_RATE})
        state = init_state(jax.random.key(1), peers.draw_network(0, sizes), optimizer)
        self.arguments = state, *jax.device_put(data.train), nnjax.Objective(), optimizer, batch_size


PROGRAMS: dict[str, Any] = {"fit": SingleNetwork, "one program": Population}
SWEEPS: dict[str, Any] = {"sweep": {}, "sweep, Adam": {"optimizer": optax.adam, "learning_rate": ADAM_RATE}}


class CompiledEpoch:
    """The compiled epoch of a case; a call trains one epoch and returns its seconds."""

    def __init__(self, case: Case, data: nnjax.Dataset):
        training = PROGRAMS[case.method](case.networks, data, case.sizes, case.batch_size)
        self.program = training.train.lower(*training.arguments).compile()
        self.states, *self.arguments, _ = training.arguments  # without the batch size, which is static

    def __call__(self) -> float:
        start = time.perf_counter()
        self.states, *_ = jax.block_until_ready(self.program(self.states, *self.arguments))
        return time.perf_counter() - start

    def memory_bytes(self) -> int:
        """The memory of the program: arguments, results, temporary arrays; donated arguments count once."""
        m = self.program.memory_analysis()
        total = m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes
        return total - m.alias_size_in_bytes


class SweptEpoch:
    """A sweep of a few epochs; a call returns the seconds of one epoch of all networks."""

    def __init__(self, case: Case, data: nnjax.Dataset):
        settings = {"hidden": [case.hidden], "batch_size": case.batch_size} | SWEEPS[case.method]
        self.sweep = Swept(case.networks, data, **settings)

    def __call__(self) -> float:
        return self.sweep() * self.sweep.networks

    def memory_bytes(self) -> None:
        """Unknown, because `sweep` does not show its programs."""


def make_epoch(case: Case, data: nnjax.Dataset) -> CompiledEpoch | SweptEpoch:
    """The epoch of a case, on the first training examples of a data set, without evaluation."""
    subset = nnjax.Dataset.from_arrays(tuple(part[: case.examples] for part in data.train))
    return (SweptEpoch if case.method in SWEEPS else CompiledEpoch)(case, subset)


def run(flags: Flags, cases: Sequence[Case] = CASES) -> Record:
    """Times an epoch of every case in alternating rounds, after one that is not counted."""
    data = nnjax.load(flags.dataset)
    epochs = [make_epoch(case, data) for case in cases]
    rounds = [[epoch() for epoch in epochs] for _ in range(flags.rounds + 1)][1:]
    peak = roofline.peak_flops()

    def result(case, epoch, *seconds):
        flops = roofline.backprop_flops(case.sizes, case.examples) * case.networks
        return case._asdict() | {
            "seconds": seconds,
            "median": statistics.median(seconds),
            "roofline": flops / peak,
            "memory_bytes": epoch.memory_bytes(),
        }

    return {
        "rounds": flags.rounds,
        "dataset": data.name,
        **provenance(),
        "peak_flops": peak,
        "cases": list(map(result, cases, epochs, *rounds)),
    }


def plot(record: Record) -> Any:
    """Seconds per epoch with their roofline above, memory below; one column per axis."""
    from matplotlib import pyplot

    axes = list(dict.fromkeys(case["axis"] for case in record["cases"]))
    size = 2.9 * len(axes), 6
    figure, (above, below) = pyplot.subplots(
        2, len(axes), sharex="col", sharey="row", figsize=size, layout="constrained", squeeze=False
    )
    for axis, seconds_plot, memory_plot in zip(axes, above, below, strict=True):
        cases = [case for case in record["cases"] if case["axis"] == axis]
        for method, style in zip((*PROGRAMS, *SWEEPS), plots.STYLES, strict=False):
            curve = [case for case in cases if case["method"] == method]
            x, line = [case["x"] for case in curve], {"markersize": 4, "linewidth": 1.4, **style}
            seconds_plot.plot(x, [case["median"] for case in curve], label=method, **line)
            if method in PROGRAMS:
                memory_plot.plot(x, [case["memory_bytes"] / 1e6 for case in curve], **line)
        bound = {case["x"]: case["roofline"] for case in cases}
        seconds_plot.plot(bound.keys(), bound.values(), color="0.5", linewidth=1, label="roofline")
        seconds_plot.set(xscale="log", yscale="log")
        memory_plot.set(xscale="log", yscale="log", xlabel=axis)
        memory_plot.xaxis.set_major_formatter("{x:g}")
    for row, label in ((above, "seconds per epoch"), (below, "memory of the program, MB")):
        row[0].set_ylabel(label)
        row[0].yaxis.set_major_formatter("{x:g}")
    above[-1].legend(fontsize=8, frameon=False)
    return figure


def main() -> None:
    """Runs the benchmark and writes the record and its figure."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    for c in record["cases"]:
        print(
            f"{c['axis']:14} {c['x']:6} {c['method']:21} {c['median']:9.4f} s, roofline {c['roofline']:.4f} s"
        )
    directory = write_result(record, "scaling", flags.output)
    plots.save_figure(lambda: plot(record), directory, "scaling")


if __name__ == "__main__":
    main()
