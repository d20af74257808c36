"""Networks × epochs per second against the number of networks, for accelerators.

    python -m benchmarks.throughput                 # on a GPU; 1 to 10,000 networks
    python -m benchmarks.throughput --max-networks 32 --rounds 1 --output /tmp/throughput.json

Epochs of [784, 30, 10] with m = 10 on 50,000 images: in blocks as `sweep` trains, without blocks, and with
PyTorch's `torch.func` (without CUDA graphs) if it is installed. The roofline is the time to read and write
weights, z and deltas at the memory bandwidth of the device; it bounds the time only if they do not fit in the
caches. The last measurement is a whole `sweep` of 1,000 networks and 30 epochs.
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
from benchmarks import libraries, peers, roofline
from benchmarks.harness import OutputFlags, Record, provenance, write_result
from benchmarks.population import Population, UnblockedPopulation
from nnjax.optim import make_optimizer
from nnjax.sweep import block_steps

NUM_NETWORKS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
SWEEP_NETWORKS, SWEEP_EPOCHS = 1000, 30
FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Flags(OutputFlags):
    """The flags of this benchmark."""

    max_networks: int = 10_000
    """Largest number of networks to measure."""
    rounds: int = 3
    """Number of measured epochs per method, after one that compiles."""


def methods() -> dict[str, Any]:
    """The timed methods by name; PyTorch only if it is installed."""
    ours = {"blocked": Population, "without blocks": UnblockedPopulation}
    if not libraries.Torch.is_available():
        return ours
    return ours | {
        "torch.func": libraries.ManyTorch,
        "torch.func, compiled": libraries.ManyCompiledTorch,
    }


def steps_per_block(networks: int) -> int:
    """The mini-batches in a block for this number of networks; 0 if `sweep` does not use blocks."""
    init = jax.vmap(lambda key: nnjax.init(key, peers.SIZES))
    params = jax.eval_shape(init, jax.random.split(jax.random.key(0), networks))
    optimizer = make_optimizer(optax.sgd, {"learning_rate": peers.LEARNING_RATE})
    return block_steps(params, nnjax.Objective(), optimizer, peers.BATCH_SIZE, devices=1)


def traffic_bytes(networks: int, examples: int, steps: int) -> float:
    """The bytes of an epoch that reads the first layers twice and writes them once per `steps` steps.

    Within a block z is written and read once, and the deltas are written once; each step reads half of them
    on average. Training without blocks is the case steps = 1.
    """
    pixels, hidden, _ = peers.SIZES
    weights, activations = networks * hidden * pixels, peers.BATCH_SIZE * networks * hidden
    per_block = 3 * weights + steps * (3 + steps / 2) * activations
    return FLOAT32_BYTES * per_block * examples / (steps * peers.BATCH_SIZE)


def epoch_seconds(method: Any, networks: int, data: nnjax.Dataset, rounds: int) -> list[float]:
    """Seconds per network of each measured epoch."""
    epoch = method(networks, data)
    return [epoch() for _ in range(rounds + 1)][1:]


def try_or_reason(f: Callable[[], Any]) -> Any:
    """The result of `f`, or the error message if it fails, most likely because memory is exhausted."""
    try:
        return f()
    except (RuntimeError, MemoryError) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    finally:
        gc.collect()
        if libraries.Torch.is_available():
            libraries.ManyTorch.release_memory()


def sweep_seconds(data: nnjax.Dataset) -> float:
    """Seconds of a whole sweep, with initialization, compilation and evaluation."""
    start = time.perf_counter()
    nnjax.sweep(
        jax.random.key(0),
        data,
        seeds=SWEEP_NETWORKS,
        epochs=SWEEP_EPOCHS,
        learning_rate=peers.LEARNING_RATE,
    )
    return time.perf_counter() - start


def run(flags: Flags) -> Record:
    """Times every number of networks with every method, and a whole sweep if `max_networks` allows it."""
    data = nnjax.load(flags.dataset)
    bandwidth, n, timed = roofline.bandwidth(), len(data.train.targets), methods()
    rows = []
    for networks in (count for count in NUM_NETWORKS if count <= flags.max_networks):
        steps = steps_per_block(networks)
        seconds = {
            name: try_or_reason(partial(epoch_seconds, method, networks, data, flags.rounds))
            for name, method in timed.items()
        }
        bounds = {
            name: traffic_bytes(networks, n, block) / bandwidth / networks
            for name, block in (("blocked", max(steps, 1)), ("without blocks", 1))
        }
        rows.append({"networks": networks, "steps_per_block": steps, "roofline": bounds, "seconds": seconds})
        medians = {name: _median(times) for name, times in seconds.items()}
        print(networks, "networks, seconds per epoch and network:", medians, flush=True)
    return {
        "rounds": flags.rounds,
        "dataset": data.name,
        **provenance(),
        "libraries": {"torch": version("torch")} if "torch.func" in timed else {},
        "bandwidth": bandwidth,
        "rows": rows,
        "sweep": {
            "networks": SWEEP_NETWORKS,
            "epochs": SWEEP_EPOCHS,
            "seconds": try_or_reason(partial(sweep_seconds, data))
            if flags.max_networks >= SWEEP_NETWORKS
            else None,
        },
    }


def _median(seconds: list[float] | str) -> float | str:
    return seconds if isinstance(seconds, str) else round(statistics.median(seconds), 5)


def main() -> None:
    """Runs the benchmark and writes the record."""
    flags = tyro.cli(Flags, description=__doc__)
    # Otherwise jax reserves most of the device memory, and PyTorch cannot use it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    write_result(run(flags), "throughput", flags.output)


if __name__ == "__main__":
    main()
