"""How time and memory of an epoch grow: with hidden units, batch size, examples, depth, networks.

    python -m benchmarks.growth                     # about 5 minutes on 2 quiet cores
    python -m benchmarks.growth --rounds 3 --output /tmp/growth.json

Of [784, 30, 10], m = 10 and one network, one thing grows at a time. Epochs have 10,000 images but
where the examples grow. The floor is what the matrix products take at this machine's own peak.
"""

import statistics
import time
from typing import Any, NamedTuple

import jax
import optax
import tyro

import nnjax
from benchmarks import floors, peers
from benchmarks.population import Population, StepByStep
from benchmarks.turns import Flags, circumstances, write
from experiments.figures import STYLES, write_figure
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import make_optimizer
from nnjax.training import step

EXAMPLES = 10_000


class Case(NamedTuple):
    """One point of a curve: the `x` on an axis, how it is trained, and what is trained."""

    axis: str
    x: int
    way: str = "fit"
    hidden: tuple[int, ...] = (30,)
    batch_size: int = peers.M
    examples: int = EXAMPLES
    networks: int = 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons a layer."""
        return 784, *self.hidden, 10


CASES = (
    *(Case("hidden units", h, way, (h,)) for way in ("fit", "sweep") for h in (10, 30, 100, 300, 1000, 3000)),
    *(
        Case("batch size", m, batch_size=m)
        for m in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
    ),
    *(Case("examples", n, examples=n) for n in (100, 300, 1000, 3000, 10_000, 50_000)),
    *(Case("hidden layers", depth, hidden=(30,) * depth) for depth in (1, 2, 3, 5, 10)),
    *(
        Case("networks", k, way, networks=k)
        for way in ("sweep", "step by step")
        for k in (1, 2, 4, 8, 16, 32, 64, 128, 256)
    ),
)


class One:
    """One network, as `fit` trains it."""

    step = staticmethod(step.train_epoch)

    def __init__(self, networks: int, data: nnjax.Dataset, sizes: tuple[int, ...], batch_size: int):
        optimizer = make_optimizer(optax.sgd, {"learning_rate": peers.ETA})
        state = step.init_state(jax.random.key(1), nnjax.init(jax.random.key(0), sizes), optimizer)
        self.arguments = state, *jax.device_put(data.train), Objective(), optimizer, batch_size


WAYS: dict[str, Any] = {"fit": One, "sweep": Population, "step by step": StepByStep}


class Epochs:
    """The epochs of a case, compiled; each call is one, and returns its seconds."""

    def __init__(self, case: Case, data: nnjax.Dataset):
        some = nnjax.Dataset.from_arrays(tuple(part[: case.examples] for part in data.train))
        made = WAYS[case.way](case.networks, some, case.sizes, case.batch_size)
        self.program = made.train.lower(*made.arguments).compile()
        self.states, *self.others, _ = made.arguments

    def __call__(self) -> float:
        began = time.perf_counter()
        self.states, _ = jax.block_until_ready(self.program(self.states, *self.others))
        return time.perf_counter() - began

    def bytes(self) -> int:
        """What the program holds at once: arguments, results, and what is in between."""
        m = self.program.memory_analysis()
        held = m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes
        return held - m.alias_size_in_bytes


def run(flags: Flags, cases: tuple[Case, ...] = CASES) -> dict[str, Any]:
    """Time an epoch of every case in turn, `rounds` times, after one that is not counted."""
    data = nnjax.load(flags.dataset)
    epochs = [Epochs(case, data) for case in cases]
    rounds = [[one() for one in epochs] for _ in range(flags.rounds + 1)][1:]
    peak = floors.peak()

    def told(case, one, *seconds):
        needed = floors.flops(case.sizes, case.examples) * case.networks
        return case._asdict() | {
            "seconds": seconds,
            "median": statistics.median(seconds),
            "floor": needed / peak,
            "bytes": one.bytes(),
        }

    return {
        "rounds": flags.rounds,
        "dataset": data.name,
        **circumstances(),
        "peak": peak,
        "cases": list(map(told, cases, epochs, *rounds)),
    }


def plot(record: dict[str, Any]) -> Any:
    """Above the seconds of an epoch and their floor, below the memory, an axis a column."""
    from matplotlib import pyplot

    axes = list(dict.fromkeys(case["axis"] for case in record["cases"]))
    size = 2.9 * len(axes), 6
    figure, rows = pyplot.subplots(
        2, len(axes), sharex="col", sharey="row", figsize=size, layout="constrained"
    )
    for axis, above, below in zip(axes, *rows, strict=True):
        cases = [case for case in record["cases"] if case["axis"] == axis]
        for way, style in zip(WAYS, STYLES, strict=False):
            own = [case for case in cases if case["way"] == way]
            x = [case["x"] for case in own]
            above.plot(x, [case["median"] for case in own], markersize=4, linewidth=1.4, **style)
            below.plot(
                x, [case["bytes"] / 1e6 for case in own], label=way, markersize=4, linewidth=1.4, **style
            )
        floor = {case["x"]: case["floor"] for case in cases}
        above.plot(floor.keys(), floor.values(), color="0.5", linewidth=1, label="floor of the arithmetic")
        above.set(xscale="log", yscale="log")
        below.set(xscale="log", yscale="log", xlabel=axis)
        below.xaxis.set_major_formatter("{x:g}")
    for row, label in zip(rows, ("seconds an epoch", "MB held by the program"), strict=True):
        row[0].set_ylabel(label)
        row[0].yaxis.set_major_formatter("{x:g}")
        row[0].legend(fontsize=8, frameon=False)
    return figure


def main() -> None:
    """Run, write the record and, beside it, its figure."""
    flags = tyro.cli(Flags, description=__doc__)
    record = run(flags)
    for c in record["cases"]:
        print(f"{c['axis']:14} {c['x']:6} {c['way']:13} {c['median']:9.4f} s, floor {c['floor']:.4f} s")
    folder = write(record, "growth", flags.output)
    write_figure("growth", lambda: plot(record), folder)


if __name__ == "__main__":
    main()
