"""Training one chunk of a sweep: initializes its networks from their keys and trains them in one program."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nnjax.data import Split
from nnjax.nn.dense import is_dense, sizes_of
from nnjax.nn.metrics import Metrics
from nnjax.optim.ema import eval_params
from nnjax.runtime import sharding
from nnjax.runtime.fingerprint import PROGRAM
from nnjax.runtime.sharding import to_numpy
from nnjax.storage import CheckpointPolicy, digest, open_checkpoints
from nnjax.sweep import _population
from nnjax.sweep._plan import Cell, Chunk
from nnjax.sweep.grid import Keys
from nnjax.training._epoch_loop import evaluate_epoch, run_epochs
from nnjax.training._observe import Watches, due_steps, watched_shapes
from nnjax.training.budget import Budget
from nnjax.training.history import History, empty_history


@dataclass(frozen=True)
class Trainer:
    """Trains the chunks of a sweep one after another."""

    cells: list[Cell]
    keys: Keys
    splits: tuple[Split, Split, Split]  # on the device; all chunks use the same copy
    budget: Budget
    mesh: Mesh | None
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
        # Every device must train the same number of networks, so the last network is repeated.
        repeated = [*chunk.networks, *[chunk.networks[-1]] * (-count % self.num_devices)]
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
        training, validation, test = self.splits
        arguments = *training, objectives, optimizers, cell.batch_size, self.mesh, self.watches
        one_by_one = self.mesh is None and jax.default_backend() == "cpu" and not is_dense(cell.shapes)
        evaluated = objectives, validation, test, self.metrics, self.mesh, one_by_one
        count, has_counts = len(jax.tree.leaves(states.params)[0]), objectives.code is not None
        rows, drop_remainder = self.steps_of_rows(cell), self.budget.drop_remainder

        train, fingerprint = _population.train_epoch, {}
        if policy:
            first = states._replace(order=None)
            numbers = jax.tree.leaves((first, objectives, optimizers, self.watches))
            program = train.lower(first, *arguments, drop_remainder=drop_remainder)
            evaluate = evaluate_population.lower(states.params, *evaluated)
            fingerprint = {
                "networks": digest(numbers),
                PROGRAM: digest(program.as_text(), evaluate.as_text()),
            }

        with open_checkpoints(policy, fingerprint, self.budget.unit) as checkpointer:
            states, history = run_epochs(
                _population.place(states, self.mesh),
                empty_history(
                    self.budget.unit, np.cumsum(rows), (count,), validation, test, has_counts,
                    dict(self.metrics), self.watched_shapes(cell), due_steps(self.watches, rows),
                ),
                self.budget,
                lambda states, size: train(states, *arguments, size, drop_remainder),
                lambda params: evaluate_population(params, *evaluated),
                lambda states, size: train.lower(states, *arguments, size, drop_remainder).compile(),
                lambda states, history: report(history),
                checkpointer,
            )  # fmt: skip
        final = jax.vmap(eval_params)(states.params, states.opt_state)
        return history, jax.tree.map(to_numpy, final)


@partial(jax.jit, static_argnames=("metrics", "mesh", "one_by_one"))
def evaluate_population(params, objectives, validation, test, metrics, mesh, one_by_one=False):
    """`evaluate_epoch` of each network.

    On CPUs, networks with large intermediate results (convolutional, recurrent and attention networks) are
    evaluated 1.4 to 5 times faster one by one: the results of one network fit into the caches.

    Args:
      params: the parameters of a population, with a leading network axis.
      objectives: pytrees whose leaves have a leading network axis.
      validation, test: the splits to evaluate, the same for all networks.
      metrics: as in `evaluate_epoch`.
      mesh: devices that share the networks, or None for one device.
      one_by_one: whether one network is evaluated after another, instead of all at the same time.
    """
    evaluate = partial(evaluate_epoch, metrics=metrics)
    if one_by_one:
        return jax.lax.map(lambda network: evaluate(*network, validation, test), (params, objectives))
    return sharding.vmap(evaluate, (0, 0, None, None), 0, mesh)(params, objectives, validation, test)
