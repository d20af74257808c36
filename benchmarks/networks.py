"""Networks × epochs a second against the number of networks, as an accelerator is to show it.

    python -m benchmarks.networks                   # on a GPU; 1 to 10,000 networks
    python -m benchmarks.networks --most 32 --rounds 1 --output /tmp/networks.json

Epochs of [784, 30, 10], m = 10, on 50,000 images: by blocks as `sweep` trains, step by step, and with
PyTorch's `torch.func` where it is installed (without CUDA graphs); beside them what reading and
writing weights, z and deltas would take at the bandwidth of this device's memory, which is a floor where
they do not fit its caches. Last, `sweep` of 1,000 networks, 30 epochs, as a whole.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import optax
import tyro

import nnjax
from benchmarks import floors, libraries, peers
from benchmarks.population import Population, StepByStep
from benchmarks.turns import Place, circumstances, write
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import make_optimizer
from nnjax.sweep import _blocked

COUNTS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
WHOLE = (1000, 30)  # networks and epochs of the sweep that is timed as a whole


@dataclass(frozen=True)
class Flags(Place):
    """The flags of this benchmark."""

    most: int = 10_000
    """No more networks than these."""
    rounds: int = 3
    """Epochs counted of each, after one that compiles."""


def ways() -> dict[str, Any]:
    """What is timed, by name; PyTorch where it is installed."""
    ours = {"by blocks": Population, "step by step": StepByStep}
    if not libraries.Torch.can_run():
        return ours
    return ours | {
        "torch.func": libraries.ManyTorch,
        "torch.func, compiled": libraries.ManyCompiledTorch,
    }


def steps_in_a_block(networks: int) -> int:
    """The mini-batches in a block of so many networks, or 0 where they are trained step by step."""
    init = jax.vmap(lambda key: nnjax.init(key, peers.SIZES))
    params = jax.eval_shape(init, jax.random.split(jax.random.key(0), networks))
    optimizer = make_optimizer(optax.sgd, {"learning_rate": peers.ETA})
    return _blocked.block_steps(params, Objective(), optimizer, peers.M, devices=1)


def traffic(networks: int, examples: int, steps: int) -> float:
    """The bytes of an epoch that reads the first layers twice and writes them once in so many steps.

    Within a block z is written and read, and the deltas are written once and on average half of
    them read each step; step by step (steps = 1) is a block of one.
    """
    pixels, hidden, _ = peers.SIZES
    weights, unit = networks * hidden * pixels, peers.M * networks * hidden
    per_block = 3 * weights + steps * (3 + steps / 2) * unit
    return 4 * per_block * examples / (steps * peers.M)


def epochs(way: Any, networks: int, data: nnjax.Dataset, rounds: int) -> list[float]:
    """Seconds of each network, an epoch at a time."""
    made = way(networks, data)
    return [made() for _ in range(rounds + 1)][1:]


def had(f: Callable[[], Any]) -> Any:
    """What f returns, or in words why it could not be had: most likely, memory."""
    try:
        return f()
    except (RuntimeError, MemoryError) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    finally:
        gc.collect()
        if libraries.Torch.can_run():
            libraries.ManyTorch.give_back()


def whole_sweep(data: nnjax.Dataset) -> float:
    """Seconds of a sweep, drawing, compiling and evaluating included."""
    began = time.perf_counter()
    nnjax.sweep(jax.random.key(0), data, seeds=WHOLE[0], epochs=WHOLE[1], learning_rate=peers.ETA)
    return time.perf_counter() - began


def run(flags: Flags) -> dict[str, Any]:
    """Time all counts and ways, and a sweep as a whole where so many networks are asked for."""
    data = nnjax.load(flags.dataset)
    speed, n, chosen = floors.bandwidth(), len(data.train.targets), ways()
    rows = []
    for networks in (count for count in COUNTS if count <= flags.most):
        in_block = steps_in_a_block(networks)
        row = {
            "networks": networks,
            "steps_in_a_block": in_block,
            "floors": {
                name: traffic(networks, n, steps) / speed / networks
                for name, steps in (("by blocks", max(in_block, 1)), ("step by step", 1))
            },
            "seconds": {
                name: had(partial(epochs, way, networks, data, flags.rounds)) for name, way in chosen.items()
            },
        }
        rows.append(row)
        print(
            networks,
            "networks, seconds of each an epoch:",
            {name: _median(s) for name, s in row["seconds"].items()},
            flush=True,
        )
    return {
        "rounds": flags.rounds,
        "dataset": data.name,
        **circumstances(),
        "libraries": {"torch": version("torch")} if "torch.func" in chosen else {},
        "bandwidth": speed,
        "rows": rows,
        "sweep_of_1000_networks_30_epochs": had(partial(whole_sweep, data))
        if flags.most >= WHOLE[0]
        else None,
    }


def _median(taken: list[float] | str) -> float | str:
    return taken if isinstance(taken, str) else round(statistics.median(taken), 5)


def main() -> None:
    """Run, and write the record."""
    flags = tyro.cli(Flags, description=__doc__)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # what jax reserves PyTorch cannot have
    write(run(flags), "networks", flags.output)


if __name__ == "__main__":
    main()
