"""Training one chunk of a sweep: initializes its networks from their keys and trains them in one program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
from nnjax.runtime.host_shape import HostShape
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
from nnjax.training.history import History, empty_history, join_histories
from nnjax.training.step import TrainState

# Networks whose largest matrix of weights is not larger than this are trained faster with one batched product
# for a few networks than with one product for each.
MAX_BATCHED_WEIGHTS = 4096

# The maximum number of networks in a part, unless they are dense and share mini-batches. It does not depend
# on the number of threads, so that the results do not depend on it.
NETWORKS_PER_PART = 4


class Start(NamedTuple):
    """The state and the history so far of one network, from which its training continues."""

    state: TrainState
    history: History


class Rows(NamedTuple):
    """The rows of the history that are trained next, such as a stage of successive halving.

    Attributes:
      starts: the start of each network, by (cell, seed); empty at the beginning.
      end: the number of rows of the history after which training ends.
    """

    starts: Mapping[tuple[int, int], Start]
    end: int


class _Population(NamedTuple):
    """The networks that a program trains.

    Attributes:
      networks: pairs (cell, seed).
      cell: one of their cells; they agree in everything that does not have a network axis.
      states, objectives, optimizers: pytrees whose leaves have a leading network axis.
    """

    networks: list[tuple[int, int]]
    cell: Cell
    states: TrainState
    objectives: Any
    optimizers: Any


class Trained(NamedTuple):
    """The networks of a chunk after their training, without padding.

    Attributes:
      history: the history of all networks.
      params: the parameters of each network.
      states: the state of each network from which its training can continue, or None at the end.
    """

    history: History
    params: list[Any]
    states: list[TrainState] | None


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
        self,
        chunk: Chunk,
        report: Callable[[History], None],
        policy: CheckpointPolicy | None,
        rows: Rows | None = None,
    ) -> Trained:
        """Trains the networks of a chunk.

        Args:
          chunk: the networks to train.
          report: called after each epoch with the history so far.
          policy: the checkpoint policy, or None.
          rows: the rows to train; all by default.
        """
        population = self._draw(chunk)
        start, count = None, len(chunk.networks)
        if rows and rows.starts:
            starts = [rows.starts[network] for network in population.networks]
            states = _population.join_states(population.states, [start.state for start in starts])
            population = population._replace(states=states)
            start = join_histories([start.history for start in starts])
            start = replace(start, seconds=sum(each.history.seconds for each in starts[:count]))

        networks = slice(count)  # without the repeated ones
        end = len(self.budget.row_ends) if rows is None else rows.end
        history, states = self._run_epochs(
            population, policy, lambda history: report(history.select(networks)), start, end
        )
        final = jax.tree.map(to_numpy, jax.vmap(eval_params)(states.params, states.opt_state))
        finals = [jax.tree.map(lambda x, i=i: x[i], final) for i in range(count)]
        if chunk.padded:
            sizes = (sizes_of(self.cells[cell].shapes) for cell, _ in chunk.networks)
            finals = [_population.crop(p, s) for p, s in zip(finals, sizes, strict=True)]
        is_end = end == len(self.budget.row_ends)
        continued = None if is_end else _population.states_of(states)[:count]
        return Trained(history.select(networks), finals, continued)

    def _draw(self, chunk: Chunk) -> _Population:
        """The networks of a chunk before their training."""
        # All devices, and all parts, must have the same number of networks, so the last one is repeated.
        count = len(chunk.networks)
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
        return _Population(repeated, cells[0], states, objectives, optimizers)

    def fingerprint(self, chunk: Chunk) -> dict[str, str]:
        """What determines the training of a chunk, in addition to the settings of the sweep."""
        population = self._draw(chunk)
        return self._fingerprint(population, self._programs(population))

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

    def watched_shapes(self, cell: Cell) -> dict[str, HostShape]:
        """For each watch, the shape and dtype of its values for one network in a row of the history."""
        return watched_shapes(self.watches, cell.shapes, self.steps_of_rows(cell)[0])

    def empty_history(self, cell: Cell, count: int) -> History:
        """The history of `count` networks before the first epoch."""
        _, validation, test = self.splits
        rows = self.steps_of_rows(cell)
        return empty_history(
            self.budget.unit, np.cumsum(rows), (count,), validation, test, cell.objective.code is not None,
            dict(self.metrics), self.watched_shapes(cell), due_steps(self.watches, rows),
        )  # fmt: skip

    def _programs(self, population: _Population) -> PartPrograms:
        cell = population.cell
        parts = self._parts(cell, len(population.networks))
        settings = cell.batch_size, self.budget.drop_remainder, self.mesh, self.metrics, self.watches
        programs = programs_for(*parts, self.splits, *settings)
        return PartPrograms(programs, population.objectives, population.optimizers, *parts)

    def _fingerprint(self, population: _Population, programs: PartPrograms) -> dict[str, str]:
        first = population.states._replace(order=None)
        numbers = jax.tree.leaves((first, population.objectives, population.optimizers, self.watches))
        return {"networks": digest(numbers), PROGRAM: programs.digest(first)}

    def _run_epochs(
        self,
        population: _Population,
        policy: CheckpointPolicy | None,
        report: Callable[[History], None],
        start: History | None,
        end: int,
    ) -> tuple[History, TrainState]:
        """Trains a population, from its last checkpoint if there is one."""
        programs = self._programs(population)
        fingerprint = self._fingerprint(population, programs) if policy else {}
        with open_checkpoints(policy, fingerprint, self.budget.unit) as checkpointer:
            states, history = run_epochs(
                _population.place(population.states, self.mesh),
                self.empty_history(population.cell, len(population.networks)),
                self.budget,
                programs.advance,
                programs.evaluate,
                programs.compile,
                lambda states, history: report(history),
                checkpointer,
                start,
                end,
            )
        return history, states

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
