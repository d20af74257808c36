"""Training the chunks of a sweep one after another, or in halves if the memory is not enough."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax

from nnjax.storage import CheckpointPolicy
from nnjax.sweep._plan import Cell, Chunk, num_bytes
from nnjax.sweep._trainer import Rows, Trained, Trainer
from nnjax.training.budget import Budget
from nnjax.training.history import History


class Progress(NamedTuple):
    """The progress of a sweep.

    Attributes:
      networks, num_networks: finished networks, and all networks.
      unit: "epoch", or "step" for a sweep with `steps`.
      done, total: the finished epochs or steps of the networks in training, and the number to train.
      fraction: the fraction of all work that is done.
      settings: for each network in training, its labels in the grid, such as {"hidden": 30, "seed": 0}.
      history: the `History` of these networks so far, with a network axis.
    """

    networks: int
    num_networks: int
    unit: str
    done: int
    total: int
    fraction: float
    settings: list[dict[str, Any]]
    history: History


class TrainedChunk(NamedTuple):
    """A chunk, and its networks after their training."""

    chunk: Chunk
    trained: Trained


@dataclass
class Reporter:
    """Calls `callback` with the progress after each row of the history.

    Attributes:
      callback: a function of the `Progress`, or None.
      chunks: all chunks, whose networks are counted.
      cells: the combinations of settings.
      labels: the labels of each combination.
      budget: the length of the training.
      share: the work of the sweep as a fraction of training all networks for all epochs; below 1 with
        halving.
    """

    callback: Callable[[Progress], None] | None
    chunks: list[Chunk]
    cells: list[Cell]
    labels: list[dict[str, Any]]
    budget: Budget
    share: float = 1.0
    _num_finished: int = 0
    _done: float = 0.0  # work of finished chunks

    def report(self, chunk: Chunk, history: History, start: int = 0) -> None:
        """Reports a row of the history of a chunk, whose training began at the row `start`."""
        if not self.callback:
            return
        done, total = self.budget.row_ends[len(history) - 1], self.budget.total
        all_networks = sum(len(chunk.networks) for chunk in self.chunks)
        settings = [self.labels[cell] | {"seed": seed} for cell, seed in chunk.networks]
        work = self._done + self._work(chunk) * self._fraction(start, len(history))
        fraction = min(work / (self.share * self._work(*self.chunks)), 1.0)
        self.callback(
            Progress(
                self._num_finished, all_networks, self.budget.unit, done, total, fraction, settings, history
            )
        )

    def finish(self, chunk: Chunk, start: int, end: int) -> None:
        """Counts the rows of a chunk as done."""
        self._done += self._work(chunk) * self._fraction(start, end)

    def show(self, chunk: Chunk, trained: Trained) -> None:
        """Reports a chunk that was trained by a worker or read from its file."""
        self.report(chunk, trained.history)
        self.finish(chunk, 0, len(trained.history))
        self.stop(len(chunk.networks))

    def stop(self, networks: int) -> None:
        """Counts networks as finished."""
        self._num_finished += networks

    def _fraction(self, start: int, end: int) -> float:
        """The part of the training between two rows."""
        ends = [0, *self.budget.row_ends]
        return (ends[end] - ends[start]) / self.budget.total

    def _work(self, *chunks: Chunk) -> int:
        """The work to train chunks, in any unit. With halving, all networks count the same."""
        if self.share < 1:
            return sum(len(c.networks) for c in chunks)
        return sum(len(c.networks) * num_bytes(self.cells[c.networks[0][0]].shapes) for c in chunks)


def train_chunks(
    trainer: Trainer,
    chunks: list[Chunk],
    policy: CheckpointPolicy | None,
    reporter: Reporter,
    rows: Rows | None = None,
) -> Iterator[TrainedChunk]:
    """Trains chunks; with `rows`, only some rows of their history.

    If the memory is not enough for a chunk, its halves are trained one after the other.

    Each chunk has its own subdirectory of the checkpoint directory. If that of a first half exists, a resumed
    sweep trains the halves without trying the whole chunk.
    """
    directory = policy and Path(policy.directory)
    waiting = [(f"program-{i}", chunk) for i, chunk in enumerate(chunks)]
    has_warned = False
    while waiting:
        name, chunk = waiting.pop(0)
        first, second = f"{name}-0", f"{name}-1"
        if not (directory and (directory / first).exists()):
            chunk_policy = policy and replace(policy, directory=Path(policy.directory) / name)
            trained = _train(trainer, chunk, chunk_policy, reporter, rows)
            if trained:
                yield TrainedChunk(chunk, trained)
                continue
            if not has_warned:
                warnings.warn(_too_large(chunk), stacklevel=3)
                has_warned = True
            if directory:
                (directory / first).mkdir(parents=True)
        middle = -(-len(chunk.networks) // 2)
        waiting.insert(0, (second, chunk._replace(networks=chunk.networks[middle:])))
        waiting.insert(0, (first, chunk._replace(networks=chunk.networks[:middle])))


def _too_large(chunk: Chunk) -> str:
    return (
        f"the memory is not enough to train {len(chunk.networks)} networks together, so they are trained in "
        "halves: pass max_networks_per_program to train fewer networks at a time"
    )


def _train(
    trainer: Trainer, chunk: Chunk, policy: CheckpointPolicy | None, reporter: Reporter, rows: Rows | None
) -> Trained | None:
    """The networks after their training; None if there are several and the memory is not enough."""
    start = len(rows.starts[chunk.networks[0]].history) if rows and rows.starts else 0
    try:
        trained = trainer.train(chunk, lambda h: reporter.report(chunk, h, start), policy, rows)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        # With several processes, the others would go on with the whole chunk.
        if len(chunk.networks) == 1 or jax.process_count() > 1 or not is_out_of_memory(error):
            raise
        return None
    reporter.finish(chunk, start, len(trained.history))
    if len(trained.history) == len(trainer.budget.row_ends):
        reporter.stop(len(chunk.networks))
    return trained


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
