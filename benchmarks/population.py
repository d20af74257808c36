"""Seconds an epoch and network when many networks train in one program, beside one at a time.

    python -m benchmarks.population                 # about 3 minutes on 2 quiet cores
    python -m benchmarks.population --rounds 3 --output /tmp/population.json

Training only, as `sweep` does it, with mini-batches that all networks share; and once with evaluation.
"""

import time
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import optax

import nnjax
from benchmarks import libraries, peers
from benchmarks.turns import Flags, compare, main
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import make_optimizer
from nnjax.sweep import _population
from nnjax.sweep._trainer import evaluate_population
from nnjax.training import step

SIZES = (32, 8, 1)


class Population:
    """Many networks, one epoch a call; returns its seconds for each of them."""

    step = staticmethod(_population.train_epoch)

    def __init__(
        self,
        networks: int,
        data: nnjax.Dataset,
        sizes: tuple[int, ...] = peers.SIZES,
        batch_size: int = peers.M,
    ):
        self.networks, self.batch_size = networks, batch_size
        params = jax.vmap(lambda key: nnjax.init(key, sizes))(jax.random.split(jax.random.key(0), networks))
        optimizer = make_optimizer(optax.sgd, {"learning_rate": peers.ETA})
        self.optimizers, self.objectives = (
            jax.tree.map(lambda x: jnp.full(networks, x), of) for of in (optimizer, Objective())
        )
        self.states = _population.init_states(jax.random.key(1), params, self.optimizers)
        self.splits = jax.block_until_ready(jax.device_put((data.train, data.validation, data.test)))

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What an epoch is called with, and its program is compiled for."""
        return self.states, *self.splits[0], self.objectives, self.optimizers, self.batch_size

    def __call__(self) -> float:
        began = time.perf_counter()
        jax.block_until_ready(self.epoch())
        return (time.perf_counter() - began) / self.networks

    def epoch(self) -> Any:
        self.states, costs = self.train(*self.arguments)
        return costs

    def correct(self) -> int:
        """The right test images of the first network."""
        first = jax.tree.map(lambda x: x[0], self.states.params)
        return int(nnjax.count_correct(first, *self.splits[-1]))


class Evaluated(Population):
    """An epoch, and how many validation and test images each network reads rightly after it."""

    def epoch(self):
        costs = super().epoch()
        return evaluate_population(self.states.params, costs, self.objectives, *self.splits[1:], mesh=None)


@partial(jax.jit, static_argnames="batch_size", donate_argnames="states")
def step_by_step(states, images, labels, objectives, optimizers, batch_size):
    axes = states._replace(params=0, opt_state=0, key=None, epoch=None)
    of_one = partial(step.train_epoch, batch_size=batch_size)
    return jax.vmap(of_one, (axes, None, None, 0, 0), (axes, 0))(
        states, images, labels, objectives, optimizers
    )


class StepByStep(Population):
    """The same without blocks: `vmap` of the epoch of one network, as other optimizers are trained."""

    step = staticmethod(step_by_step)


def run(flags: Flags) -> dict[str, Any]:
    """Time every peer's epochs in turn."""
    data = nnjax.load(flags.dataset)
    made: dict[str, Any] = {f"{n} network{'s' * (n > 1)} in one program": Population(n, data) for n in SIZES}
    made |= {
        f"{SIZES[0]} networks, evaluated on 20,000 images": Evaluated(SIZES[0], data),
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
