"""Seconds of an epoch of 1 to 10,000 networks with each method, and the time for the memory traffic alone.

Epochs of [784, 30, 10] with m = 10: in blocks as `sweep` trains, without blocks, with other precisions of the
matrix products, and with PyTorch's `torch.func` (without CUDA graphs) if it is installed. On a GPU, jax and
PyTorch multiply in TF32 unless another precision is named.

The roofline is the time to read and write weights, z and deltas at the memory bandwidth of the device. It
bounds the time only if they do not fit in the caches.
"""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import optax

import nnjax
from benchmarks import libraries, peers, roofline
from benchmarks.harness import Record
from benchmarks.population import Population, UnblockedPopulation
from nnjax.nn import ComputeDtype
from nnjax.optim import make_optimizer
from nnjax.sweep import block_steps

NUM_NETWORKS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
FLOAT32_BYTES = 4


class PrecisePopulation(Population):
    """A population with a precision of its matrix products, as for `jax.default_matmul_precision`."""

    def __init__(self, precision: str, networks: int, data: nnjax.Dataset):
        super().__init__(networks, data)
        self.precision = precision

    def epoch(self):
        with jax.default_matmul_precision(self.precision):
            return super().epoch()


class Bfloat16Population(UnblockedPopulation):
    """A population without blocks that computes in bfloat16, with parameters in float32."""

    def __init__(self, networks: int, data: nnjax.Dataset):
        super().__init__(networks, data)
        self.objectives = replace(self.objectives, forward=ComputeDtype(self.objectives.forward))


def methods() -> dict[str, Any]:
    """The timed methods by name; PyTorch only if it is installed."""
    ours = {
        "in blocks": Population,
        "in blocks, products in float32": partial(PrecisePopulation, "float32"),
        "in blocks, products in bfloat16": partial(PrecisePopulation, "BF16_BF16_F32"),
        "without blocks": UnblockedPopulation,
        "without blocks, `ComputeDtype` bfloat16": Bfloat16Population,
    }
    if not libraries.Torch.is_available():
        return ours
    return ours | {
        "PyTorch `torch.func`": libraries.ManyTorch,
        "PyTorch `torch.func`, compiled": libraries.ManyCompiledTorch,
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
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    finally:
        gc.collect()
        if libraries.Torch.is_available():
            libraries.ManyTorch.release_memory()


def rows(data: nnjax.Dataset, max_networks: int, rounds: int) -> Iterator[Record]:
    """For each number of networks, the seconds with every method and the rooflines, per network."""
    bandwidth, examples = roofline.bandwidth(), len(data.train.targets)
    for networks in (count for count in NUM_NETWORKS if count <= max_networks):
        steps = steps_per_block(networks)
        seconds = {
            name: try_or_reason(partial(epoch_seconds, method, networks, data, rounds))
            for name, method in methods().items()
        }
        bounds = {
            name: traffic_bytes(networks, examples, block) / bandwidth / networks
            for name, block in (("in blocks", max(steps, 1)), ("without blocks", 1))
        }
        yield {
            "networks": networks,
            "steps_per_block": steps,
            "bandwidth": bandwidth,
            "roofline": bounds,
            "seconds": seconds,
        }
