"""Networks × epochs a second against the number of networks, as an accelerator is to show it.

    python -m benchmarks.networks                   # on a GPU; 1 to 10,000 networks
    python -m benchmarks.networks --most 32 --rounds 1 --output /tmp/networks.json

Epochs of [784, 30, 10], m = 10, on 50,000 images: by blocks as `sweep` trains, step by step, and with
PyTorch's `torch.func` where it is installed; beside them what the traffic of the weights alone would
take at the bandwidth that this device shows. Last, `sweep` of 1,000 networks, 30 epochs, as a whole.
"""

import statistics
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import tyro

import nnjax
from benchmarks import floors, libraries, peers
from benchmarks.population import Population, StepByStep
from benchmarks.turns import write
from experiments.evidence import commit
from nnjax.runs import environment

COUNTS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
WHOLE = (1000, 30)  # networks and epochs of the sweep that is timed as a whole


@dataclass(frozen=True)
class Flags:
    """The flags of this benchmark."""

    most: int = 10_000
    """No more networks than these."""
    rounds: int = 3
    """Epochs counted of each, after one that compiles."""
    dataset: str = "mnist"
    """A 28x28 data set."""
    output: Path | None = None
    """Where the record goes; by default where the committed one is."""


def ways() -> dict[str, Any]:
    """What is timed, by name; PyTorch where it is installed."""
    ours = {"by blocks": Population, "step by step": StepByStep}
    if not libraries.Torch.can_run():
        return ours
    return ours | {
        "torch.func": libraries.ManyTorch,
        "torch.func, compiled": libraries.ManyCompiledTorch,
    }


def traffic(networks: int, examples: int, steps: int) -> float:
    """The bytes of an epoch that reads the first layers twice and writes them once in so many steps.

    Within a block z is written and read, and the deltas are written once and on average half of
    them read each step; step by step (steps = 1) is a block of one.
    """
    pixels, hidden, _ = peers.SIZES
    weights, unit = networks * hidden * pixels, peers.M * networks * hidden
    per_block = 3 * weights + steps * (3 + steps / 2) * unit
    return 4 * per_block * examples / (steps * peers.M)


def seconds(way: Any, networks: int, data: nnjax.Dataset, rounds: int) -> list[float] | str:
    """Of each network, an epoch at a time; or why it could not be had."""
    try:
        made = way(networks, data)
        return [made() for _ in range(rounds + 1)][1:]
    except Exception as error:  # out of memory has a class of its own in every library
        return f"{type(error).__name__}: {error}".partition("\n")[0]


def run(flags: Flags) -> dict[str, Any]:
    """Time all counts and ways, and a sweep as a whole where so many networks are asked for."""
    data = nnjax.load(flags.dataset)
    speed, n, chosen = floors.bandwidth(), len(data.train.labels), ways()
    rows = []
    for networks in (count for count in COUNTS if count <= flags.most):
        steps = {"step by step": 1, "by blocks": Population(networks, data).steps()}
        row = {
            "networks": networks,
            "steps_in_a_block": steps["by blocks"],
            "floors": {name: traffic(networks, n, max(s, 1)) / speed / networks for name, s in steps.items()},
            "seconds": {name: seconds(way, networks, data, flags.rounds) for name, way in chosen.items()},
        }
        rows.append(row)
        print(networks, {name: _median(s) for name, s in row["seconds"].items()}, flush=True)
    whole = None
    if flags.most >= WHOLE[0]:
        began = time.perf_counter()
        nnjax.sweep(jax.random.key(0), data, seeds=WHOLE[0], epochs=WHOLE[1], learning_rate=peers.ETA)
        whole = time.perf_counter() - began
    return {
        "rounds": flags.rounds,
        "dataset": data.name,
        "commit": commit(),
        **environment(),
        "libraries": {"torch": version("torch")} if len(chosen) > 2 else {},
        "bandwidth": speed,
        "rows": rows,
        "sweep_of_1000_networks_30_epochs": whole,
    }


def _median(taken: list[float] | str) -> float | str:
    return taken if isinstance(taken, str) else round(statistics.median(taken), 5)


def main() -> None:
    """Run, and write the record."""
    flags = tyro.cli(Flags, description=__doc__)
    write(run(flags), "networks", flags.output)


if __name__ == "__main__":
    main()
