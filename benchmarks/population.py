"""Seconds per epoch and network of a sweep of many networks, and of one network at a time.

    python -m benchmarks.population                 # about 8 minutes on 2 idle cores
    python -m benchmarks.population --rounds 3 --output /tmp/population.json

Measures training alone, and in one case the evaluation too. Rows "in one program" train all networks in one
compiled program, without the threads of `sweep`.
"""

import time
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from benchmarks import libraries, peers
from benchmarks.harness import Flags, Record, main, time_peers
from nnjax.optim import make_optimizer
from nnjax.sweep import init_population, train_population
from nnjax.training import train_epoch

NUM_NETWORKS = (32, 8, 1)
SWEEP_EPOCHS, ADAM_RATE = 3, 0.003


class Population:
    """Many networks in one program; a call trains one epoch and returns its seconds per network."""

    train: Any = staticmethod(train_population)

    def __init__(
        self,
        networks: int,
        data: nnjax.Dataset,
        sizes: tuple[int, ...] = peers.SIZES,
        batch_size: int = peers.BATCH_SIZE,
    ):
        self.networks, self.batch_size = networks, batch_size
        rngs = map(np.random.default_rng, range(networks))
        drawn = [peers.draw_params(rng, np.float32, sizes) for rng in rngs]
        # Stacked on the host, because transferring thousands of networks one by one takes minutes.
        layers = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *drawn)
        params = tuple(nnjax.Layer(*layer) for layer in layers)
        optimizer = make_optimizer(optax.sgd, {"learning_rate": peers.LEARNING_RATE})
        self.optimizers, self.objectives = (
            jax.tree.map(lambda x: jnp.full(networks, x), tree) for tree in (optimizer, nnjax.Objective())
        )
        self.states = init_population(jax.random.key(1), params, self.optimizers)
        self.splits = jax.block_until_ready(jax.device_put((data.train, data.validation, data.test)))

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `train`."""
        return self.states, *self.splits[0], self.objectives, self.optimizers, self.batch_size

    def __call__(self) -> float:
        start = time.perf_counter()
        jax.block_until_ready(self.epoch())
        return (time.perf_counter() - start) / self.networks

    def epoch(self) -> Any:
        self.states, costs, _ = self.train(*self.arguments)
        return costs

    def correct(self) -> int:
        """The number of correct test predictions of the first network."""
        first = jax.tree.map(lambda x: x[0], self.states.params)
        return int(nnjax.count_correct(first, *self.splits[-1]))


@partial(jax.jit, static_argnames="batch_size", donate_argnames="states")
def train_without_blocks(states, inputs, targets, objectives, optimizers, batch_size):
    """An epoch of a population as `vmap` of the epoch of one network."""
    axes = states._replace(params=0, opt_state=0, key=None, step=None, watched=0)
    train_one = partial(train_epoch, batch_size=batch_size)
    return jax.vmap(train_one, (axes, None, None, 0, 0), (axes, 0, 0))(
        states, inputs, targets, objectives, optimizers
    )


class UnblockedPopulation(Population):
    """Many networks without blocks, as `sweep` trains them with optimizers other than plain SGD."""

    train = staticmethod(train_without_blocks)


class Swept:
    """Each call runs a sweep of a few epochs and returns the seconds per epoch and network.

    Args:
      networks: the number of networks.
      data: the data set.
      evaluates: whether the seconds include the evaluation after an epoch.
      **settings: other arguments of `sweep`.
    """

    def __init__(self, networks: int, data: nnjax.Dataset, evaluates: bool = False, **settings: Any):
        self.networks, self.data, self.evaluates = networks, data, evaluates
        self.settings: dict[str, Any] = {
            "hidden": peers.SIZES[1],
            "batch_size": peers.BATCH_SIZE,
            "learning_rate": peers.LEARNING_RATE,
            "epochs": SWEEP_EPOCHS,
        } | settings
        self.test_correct = np.array([])

    def __call__(self) -> float:
        ends: list[float] = []
        grid = nnjax.sweep(
            jax.random.key(1),
            self.data,
            seeds=self.networks,
            max_networks_per_program=self.networks,
            callback=lambda progress: ends.append(time.perf_counter()),
            **self.settings,
        )
        if len(self.data.test.targets):
            self.test_correct = grid.test_correct.isel(epoch=-1).values
        if self.evaluates:
            return float(np.median(np.diff(ends))) / self.networks
        return float(grid.seconds.isel(epoch=slice(1, None)).median())

    def correct(self) -> int:
        """The correct test predictions of a network, the median of all."""
        return int(np.median(self.test_correct))


def run(flags: Flags) -> Record:
    """Times the epochs of all peers."""
    data = nnjax.load(flags.dataset)
    many, num_evaluated = NUM_NETWORKS[0], len(data.validation.targets) + len(data.test.targets)
    timed: dict[str, Any] = {f"{n} network{'s' * (n > 1)}": Swept(n, data) for n in NUM_NETWORKS}
    adam = {"optimizer": optax.adam, "learning_rate": ADAM_RATE}
    timed |= {
        f"{many} networks, with evaluation on {num_evaluated:,} images": Swept(many, data, evaluates=True),
        f"{many} networks, with mini-batches of their own": Swept(many, data, shared_batches=False),
        f"{many} networks, Adam": Swept(many, data, **adam),
        f"{many} networks, in one thread": Swept(many, data, threads=1),
        f"{many} networks in one program": Population(many, data),
        f"{many} networks in one program, without blocks": UnblockedPopulation(many, data),
        "nnjax `fit`": peers.Fit(0, data),
        "NumPy, mini-batches": peers.NumpyBatches(0, data),
        "NumPy, mini-batches, float32": peers.NumpyFloat32(0, data),
    }
    if libraries.CReference.is_available():
        timed["C, one thread"] = libraries.CReference(0, data)
    versions = {}
    if libraries.Torch.is_available():
        versions["torch"] = version("torch")
        name = f"{many} networks, PyTorch `torch.func`"
        timed[name] = libraries.ManyTorch(many, data)
        timed[f"{name}, compiled"] = libraries.ManyCompiledTorch(many, data)
    return time_peers(timed, flags.rounds, data) | {"libraries": versions}


if __name__ == "__main__":
    main(run, "population", __doc__)
