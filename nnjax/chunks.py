"""A chunk of a sweep: networks of one program, drawn from their keys and trained side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from nnjax import parallel, population
from nnjax.data import Split
from nnjax.descent import History, descend, score
from nnjax.network import sizes_of
from nnjax.parallel import plain
from nnjax.plan import Cell, Chunk
from nnjax.runs.checkpoints import Checkpoint, kept
from nnjax.runs.claims import PROGRAM, digest


class Keys(NamedTuple):
    """The keys of every seed of a sweep, from the sweep's own."""

    key: Array
    shared_batches: bool

    def of(self, seed: int) -> tuple[Array, Array]:
        """The keys of a seed's initial parameters and of its training."""
        init_key, fit_key = jax.random.split(self.key)
        return (
            jax.random.fold_in(init_key, seed),
            fit_key if self.shared_batches else jax.random.fold_in(fit_key, seed),
        )


@dataclass(frozen=True)
class Trainer:
    """Trains one chunk of a sweep after another."""

    cells: list[Cell]
    keys: Keys
    splits: tuple[Split, Split, Split]  # on the device, once for all chunks
    epochs: int
    batch_size: int
    mesh: Mesh | None

    def train(
        self, chunk: Chunk, report: Callable[[int], None], keep: Checkpoint | None
    ) -> tuple[History, list[Any]]:
        """The history of a chunk's networks, and the final parameters of each at its own sizes."""
        count = len(chunk.networks)
        # Every device trains equally many: the last network once more where they are not.
        networks = [*chunk.networks, *[chunk.networks[-1]] * (-count % self.devices)]
        cells = [self.cells[cell] for cell, _ in networks]
        init_keys, fit_keys = zip(*(self.keys.of(seed) for _, seed in networks), strict=True)
        params = [cell.draw(key) for cell, key in zip(cells, init_keys, strict=True)]
        objectives = population.stack([cell.objective for cell in cells])
        optimizers = population.stack([cell.optimizer for cell in cells])
        if chunk.padded:
            masks = [population.mask(sizes_of(p), chunk.padded) for p in params]
            optimizers = population.Masked(optimizers, population.stack(masks))
            params = [population.pad(p, chunk.padded) for p in params]
        fit_key = fit_keys[0] if self.keys.shared_batches else jnp.stack(fit_keys)
        states = population.start(fit_key, population.stack(params), optimizers)

        history, final = self._descend(states, objectives, optimizers, report, keep)
        finals = [jax.tree.map(lambda x, i=i: x[i], final) for i in range(count)]
        if chunk.padded:
            own = (sizes_of(cell.shapes) for cell in cells[:count])
            finals = [population.crop(p, sizes) for p, sizes in zip(finals, own, strict=True)]
        return history, finals

    @property
    def devices(self) -> int:
        """How many share the networks of a chunk."""
        return parallel.devices(self.mesh)

    def _descend(self, states, objectives, optimizers, report, keep) -> tuple[History, Any]:
        """All epochs of a population, or those that are left where it was stopped."""
        training, validation, test = self.splits
        arguments = *training, objectives, optimizers, self.batch_size, self.mesh

        told = {}
        if keep:
            made_of = jax.tree.leaves((states, objectives, optimizers))
            cost = jnp.zeros(len(jax.tree.leaves(states.params)[0]))
            training = population.epoch.lower(states, *arguments)
            scoring = score_all.lower(states.params, cost, objectives, validation, test, self.mesh)
            told = {"networks": digest(made_of), PROGRAM: digest(training.as_text(), scoring.as_text())}

        with kept(keep, told) as checkpoints:
            states, history = descend(
                population.place(states, self.mesh),
                lambda states: population.epoch(states, *arguments),
                lambda params, cost: score_all(params, cost, objectives, validation, test, self.mesh),
                self.epochs,
                lambda states: population.epoch.lower(states, *arguments).compile(),
                lambda states, history: report(len(history)),
                networks=(len(jax.tree.leaves(states.params)[0]),),
                checkpoints=checkpoints,
            )
        return history, jax.tree.map(plain, states.evaluated)


@partial(jax.jit, static_argnames="mesh")
def score_all(params, cost, objectives, validation, test, mesh):
    """`score` of each network."""
    return parallel.vmap(score, (0, 0, 0, None, None), (0, 0, 0), mesh)(
        params, cost, objectives, validation, test
    )
