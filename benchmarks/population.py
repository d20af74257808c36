"""Seconds an epoch and network when many networks train in one program, beside one at a time.

    python -m benchmarks.population                 # about 3 minutes on 2 quiet cores
    python -m benchmarks.population --rounds 3 --output /tmp/population.json

Training only, as `sweep` does it, with mini-batches that all networks share.
"""

import time
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import optax

import nnjax
from benchmarks import libraries, peers
from benchmarks.turns import Flags, compare, main
from nnjax import population, train
from nnjax.objective import Objective
from nnjax.optimizers import make_optimizer

SIZES = (32, 8, 1)


class Population:
    """Many networks, one epoch a call; returns its seconds for each of them."""

    def __init__(self, networks: int, data: nnjax.Dataset):
        self.networks = networks
        params = [nnjax.init(key, peers.SIZES) for key in jax.random.split(jax.random.key(0), networks)]
        optimizers = [make_optimizer(optax.sgd, {"learning_rate": peers.ETA})] * networks
        self.optimizers = population.stack(optimizers)
        self.objectives = population.stack([Objective()] * networks)
        self.states = population.start(jax.random.key(1), population.stack(params), self.optimizers)
        self.training, self.test = jax.device_put((data.train, data.test))

    def __call__(self) -> float:
        began = time.perf_counter()
        self.states, _ = jax.block_until_ready(self._epoch())
        return (time.perf_counter() - began) / self.networks

    def _epoch(self):
        return population.epoch(self.states, *self.training, self.objectives, self.optimizers, peers.M)

    def correct(self) -> int:
        """The right test images of the first network."""
        return int(nnjax.count_correct(jax.tree.map(lambda x: x[0], self.states.params), *self.test))


class StepByStep(Population):
    """The same without blocks: `vmap` of the epoch of one network, as other optimizers are trained."""

    def _epoch(self):
        return _step_by_step(self.states, *self.training, self.objectives, self.optimizers)


@partial(jax.jit, donate_argnums=0)
def _step_by_step(states, images, labels, objectives, optimizers):
    axes = states._replace(params=0, opt_state=0, key=None, epoch=None)
    of_one = partial(train.epoch, batch_size=peers.M)
    return jax.vmap(of_one, (axes, None, None, 0, 0), (axes, 0))(
        states, images, labels, objectives, optimizers
    )


def run(flags: Flags) -> dict[str, Any]:
    """Time every peer's epochs in turn."""
    data = nnjax.load(flags.dataset)
    made: dict[str, Any] = {f"{n} network{'s' * (n > 1)} in one program": Population(n, data) for n in SIZES}
    made |= {
        f"{SIZES[0]} networks, step by step": StepByStep(SIZES[0], data),
        "nnjax `fit`": peers.Fit(0, data),
        "NumPy by mini-batches": peers.NumpyBatches(0, data),
        "NumPy by mini-batches, float32": peers.NumpySingle(0, data),
    }
    with_torch = libraries.Torch.can_run()
    if with_torch:
        name = f"{SIZES[0]} networks, PyTorch `torch.func`"
        made |= {
            name: libraries.ManyTorch(SIZES[0], data),
            f"{name}, compiled": libraries.ManyCompiledTorch(SIZES[0], data),
        }
    versions = {"torch": version("torch")} if with_torch else {}
    return compare(made, flags.rounds, data.name) | {"libraries": versions}


if __name__ == "__main__":
    main(run, "population", __doc__)
