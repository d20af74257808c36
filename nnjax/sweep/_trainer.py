"""Training one chunk of a sweep: initializes its networks from their keys and trains them in one program."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nnjax.data import Split
from nnjax.nn.conv import ConvParams
from nnjax.nn.dense import is_dense, sizes_of
from nnjax.nn.metrics import Metrics
from nnjax.optim.ema import eval_params
from nnjax.runtime import sharding
from nnjax.runtime.fingerprint import PROGRAM
from nnjax.runtime.sharding import to_numpy
from nnjax.storage import CheckpointPolicy, digest, open_checkpoints
from nnjax.sweep import _population
from nnjax.sweep._plan import Cell, Chunk
from nnjax.sweep._programs import PartPrograms, programs_for
from nnjax.sweep._threads import Parts
from nnjax.sweep.grid import Keys
from nnjax.training._epoch_loop import run_epochs
from nnjax.training._observe import Watches, due_steps, watched_shapes
from nnjax.training.budget import Budget
from nnjax.training.history import History, empty_history

# Networks whose largest matrix of weights is not larger than this are trained faster with one batched product
# for a few networks than with one product for each.
MAX_BATCHED_WEIGHTS = 4096

# The maximum number of networks in a part, unless they are dense and share mini-batches. It does not depend
# on the number of threads, so that the results do not depend on it.
NETWORKS_PER_PART = 4


@dataclass(frozen=True)
class Trainer:
    """Trains the chunks of a sweep one after another."""

    cells: list[Cell]
    keys: Keys
    splits: tuple[Split, Split, Split]  # on the device; all chunks use the same copy
    budget: Budget
    mesh: Mesh | None
    threads: int  # that train networks at the same time; 0 with a mesh or on an accelerator
    metrics: Metrics
    watches: Watches

    def train(
        self, chunk: Chunk, report: Callable[[History], None], policy: CheckpointPolicy | None
    ) -> tuple[History, list[Any]]:
        """The history of a chunk's networks, and the final parameters of each, without padding.

        Args:
          chunk: the networks to train.
          report: called after each epoch with the history so far.
          policy: the checkpoint policy, or None.
        """
        count = len(chunk.networks)
        # All devices, and all parts, must have the same number of networks, so the last one is repeated.
        repeated = [*chunk.networks, *[chunk.networks[-1]] * (-count % self._divisor(chunk))]
        cells = [self.cells[cell] for cell, _ in repeated]
        init_keys, fit_keys = zip(*(self.keys.for_seed(seed) for _, seed in repeated), strict=True)
        params = [cell.draw(key) for cell, key in zip(cells, init_keys, strict=True)]
        objectives = _population.stack([cell.objective for cell in cells])
        optimizers = _population.stack([cell.optimizer for cell in cells])
        if chunk.padded:
            masks = [_population.padding_mask(sizes_of(p), chunk.padded) for p in params]
            optimizers = _population.PaddingMask(optimizers, _population.stack(masks))
            params = [_population.pad(p, chunk.padded) for p in params]
        fit_key = fit_keys[0] if self.keys.shared_batches else jnp.stack(fit_keys)
        num_examples = len(self.splits[0].targets) if self.budget.unit == "step" else None
        states = _population.init_states(
            fit_key, _population.stack(params), optimizers, self.watches, num_examples
        )

        networks = slice(count)  # without the repeated ones
        history, final = self._run_epochs(
            states, objectives, optimizers, cells[0], policy,
            lambda history: report(history.select(networks)),
        )  # fmt: skip
        finals = [jax.tree.map(lambda x, i=i: x[i], final) for i in range(count)]
        if chunk.padded:
            sizes = (sizes_of(cell.shapes) for cell in cells[:count])
            finals = [_population.crop(p, s) for p, s in zip(finals, sizes, strict=True)]
        return history.select(networks), finals

    def is_separate(self, cell: Cell) -> bool:
        """Whether threads train the networks with these settings one by one or a few at a time."""
        return bool(self.threads) and not (is_dense(cell.shapes) and self.keys.shared_batches)

    def _divisor(self, chunk: Chunk) -> int:
        """The number by which the number of trained networks must be divisible."""
        parts = self._parts(self.cells[chunk.networks[0][0]], len(chunk.networks))
        return max(self.num_devices, *(1 if part.alone else part.count for part in parts))

    @property
    def num_devices(self) -> int:
        """The number of devices that share the networks of a chunk."""
        return sharding.num_devices(self.mesh)

    def steps_of_rows(self, cell: Cell) -> list[int]:
        """The number of training steps in each row of the history."""
        return self.budget.steps_of_rows(len(self.splits[0].targets), cell.batch_size)

    def watched_shapes(self, cell: Cell) -> dict[str, jax.ShapeDtypeStruct]:
        """For each watch, the shape and dtype of its values for one network in a row of the history."""
        return watched_shapes(self.watches, cell.shapes, self.steps_of_rows(cell)[0])

    def _run_epochs(self, states, objectives, optimizers, cell, policy, report) -> tuple[History, Any]:
        """Trains a population to the end, from its last checkpoint if there is one."""
        _, validation, test = self.splits
        count, has_counts = len(jax.tree.leaves(states.params)[0]), objectives.code is not None
        rows = self.steps_of_rows(cell)
        parts = self._parts(cell, count)
        settings = cell.batch_size, self.budget.drop_remainder, self.mesh, self.metrics, self.watches
        compiled = programs_for(*parts, self.splits, *settings)
        programs = PartPrograms(compiled, objectives, optimizers, *parts)
        fingerprint = {}
        if policy:
            first = states._replace(order=None)
            numbers = jax.tree.leaves((first, objectives, optimizers, self.watches))
            fingerprint = {"networks": digest(numbers), PROGRAM: programs.digest(first)}
        with open_checkpoints(policy, fingerprint, self.budget.unit) as checkpointer:
            states, history = run_epochs(
                _population.place(states, self.mesh),
                empty_history(
                    self.budget.unit, np.cumsum(rows), (count,), validation, test, has_counts,
                    dict(self.metrics), self.watched_shapes(cell), due_steps(self.watches, rows),
                ),
                self.budget,
                programs.advance,
                programs.evaluate,
                programs.compile,
                lambda states, history: report(history),
                checkpointer,
            )  # fmt: skip
        final = jax.vmap(eval_params)(states.params, states.opt_state)
        return history, jax.tree.map(to_numpy, final)

    def _parts(self, cell: Cell, count: int) -> tuple[Parts, Parts]:
        """How `count` networks of the settings of `cell` are split for training, and for evaluation.

        On a CPU, dense networks that share mini-batches are split into one part for each thread, so that
        their first layers become one large product. Convolutional networks, and dense networks with large
        matrices, are trained one by one, so that their intermediate results fit into the caches. All others
        are trained in parts of a few networks. Networks that are not dense are evaluated one by one.
        """
        if not self.threads:
            return Parts(), Parts()
        alone = Parts(count, True, self.threads)
        few = Parts(-(-count // NETWORKS_PER_PART), False, self.threads)
        if isinstance(cell.shapes, ConvParams):
            return alone, alone
        if not is_dense(cell.shapes):
            return few, alone
        if not self.is_separate(cell):
            together = Parts(min(count, self.threads), False, self.threads)
            return together, together
        is_large = max(layer.w.size for layer in cell.shapes) > MAX_BATCHED_WEIGHTS
        return (alone, alone) if is_large else (few, few)
