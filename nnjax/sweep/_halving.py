"""Successive halving: the networks with the lowest validation accuracy stop, and the others continue.

After a number of epochs, the networks with the best validation accuracy are kept. Their states are packed
into new chunks, and their training continues with the same mini-batches and the same schedule (Jamieson,
Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter Optimization*, 2016).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nnjax.data import Dataset
from nnjax.runtime.checks import check_positive_int
from nnjax.storage import CheckpointPolicy
from nnjax.sweep._chunks import Reporter, TrainedChunk, train_chunks
from nnjax.sweep._plan import Cell, Chunk, split_evenly
from nnjax.sweep._trainer import Rows, Start, Trained, Trainer
from nnjax.training.budget import Budget
from nnjax.training.history import History

Network = tuple[int, int]


@dataclass(frozen=True)
class Halving:
    """Successive halving: at regular intervals, only the best networks of a sweep continue.

    Networks are ranked by validation accuracy, and by validation cost if accuracies are equal or there are no
    labels. Diverged networks rank last. The seeds of a setting are separate networks: some can stop and
    others continue.

    Attributes:
      every_epochs: the number of epochs between two selections.
      keep: the fraction of the remaining networks that continue after each selection, rounded up.

    Raises:
      ValueError: `every_epochs` is not a positive integer, or `keep` is not greater than 0 and less than 1.
    """

    every_epochs: int
    keep: float = 0.5

    def __post_init__(self):
        check_positive_int("every_epochs", self.every_epochs)
        if not isinstance(self.keep, Real) or not 0 < self.keep < 1:
            raise ValueError(f"keep must be greater than 0 and less than 1, got {self.keep!r}")

    def num_kept(self, networks: int) -> int:
        """The number of networks that continue.

        >>> Halving(2, keep=0.5).num_kept(5)
        3
        """
        return math.ceil(self.keep * networks)

    def share(self, epochs: int, networks: int) -> float:
        """The work with halving, as a fraction of training all networks for all epochs.

        >>> Halving(2).share(4, 8)
        0.75
        """
        work = sum((end - start) * count for start, end, count in self.stages(epochs, networks))
        return work / (epochs * networks)

    def stages(self, epochs: int, networks: int) -> list[tuple[int, int, int]]:
        """The first epoch, the end (exclusive) and the number of networks of each stage.

        >>> Halving(2).stages(5, 8)
        [(0, 2, 8), (2, 4, 4), (4, 5, 2)]
        """
        stages = []
        for start, end in pairwise([*range(0, epochs, self.every_epochs), epochs]):
            stages.append((start, end, networks))
            networks = self.num_kept(networks)
        return stages


def check_halving(halving: Any, data: Dataset, budget: Budget) -> None:
    """Raises ValueError if networks cannot be compared at the end of each stage of `halving`, if any."""
    if halving is None:
        return
    if not isinstance(halving, Halving):
        raise ValueError(f"halving must be a nnjax.Halving, got {halving!r}")
    if budget.unit != "epoch":
        raise ValueError("steps must be None if halving is passed: pass epochs instead")
    if not len(data.validation.targets):
        raise ValueError("halving requires a validation split, got a data set without validation examples")
    if halving.every_epochs % budget.evaluate_every:
        raise ValueError(
            f"every_epochs of halving must be a multiple of evaluate_every, got {halving.every_epochs} and "
            f"{budget.evaluate_every}"
        )


def train_stages(
    trainer: Trainer,
    chunks: list[Chunk],
    halving: Halving,
    policy: CheckpointPolicy | None,
    reporter: Reporter,
) -> list[TrainedChunk]:
    """Trains the networks of chunks with successive halving.

    Returns:
      The chunks of the networks that stopped and of those that finished, with their histories.
    """
    results: list[TrainedChunk] = []
    starts: dict[Network, Start] = {}
    total = trainer.budget.total
    for first, end, num_networks in halving.stages(total, sum(len(chunk.networks) for chunk in chunks)):
        stage_policy = policy and replace(policy, directory=Path(policy.directory) / f"epoch-{first}")
        parts = list(train_chunks(trainer, chunks, stage_policy, reporter, Rows(starts, end)))
        if end == total:
            return results + parts
        starts = {network: start for part in parts for network, start in _starts(part)}
        kept = set(_best(starts)[: halving.num_kept(num_networks)])
        results += [
            stopped for part in parts if (stopped := _select(part, lambda n, kept=kept: n not in kept))
        ]
        reporter.stop(num_networks - len(kept))
        starts = {network: start for network, start in starts.items() if network in kept}
        chunks = _repack(chunks, trainer.cells, kept)
    return results


def _starts(part: TrainedChunk) -> Iterator[tuple[Network, Start]]:
    """From where the training of each network continues."""
    assert part.trained.states is not None
    for i, (network, state) in enumerate(zip(part.chunk.networks, part.trained.states, strict=True)):
        yield network, Start(state, _part_of_history(part.trained.history, [i]))


def _part_of_history(history: History, indices: Sequence[int]) -> History:
    """The history of some networks of a chunk, with their share of the seconds."""
    share = len(indices) / history.train_cost.shape[1]
    return replace(history.select(np.asarray(indices, int)), seconds=history.seconds * share)


def _best(starts: Mapping[Network, Start]) -> list[Network]:
    """The networks from best to worst: by correct validation predictions, then by validation cost."""

    def rank(network: Network) -> tuple[bool, float, float]:
        history = starts[network].history
        counts, cost = history.validation_correct, float(history.validation_cost[-1, 0])  # pyright: ignore[reportOptionalSubscript]
        has_diverged = bool(history.diverged_at[0] >= 0) or np.isnan(cost)
        return has_diverged, 0.0 if counts is None else -float(counts[-1, 0]), cost

    return sorted(starts, key=rank)


def _select(part: TrainedChunk, is_selected: Callable[[Network], bool]) -> TrainedChunk | None:
    """The selected networks of a chunk; None if there are none."""
    indices = [i for i, network in enumerate(part.chunk.networks) if is_selected(network)]
    if not indices:
        return None
    chunk = part.chunk._replace(networks=[part.chunk.networks[i] for i in indices])
    history, params = (
        _part_of_history(part.trained.history, indices),
        [part.trained.params[i] for i in indices],
    )
    return TrainedChunk(chunk, Trained(history, params, None))


def _repack(chunks: list[Chunk], cells: Sequence[Cell], networks: Container[Network]) -> list[Chunk]:
    """The remaining networks, in chunks that are not larger than before.

    Networks whose programs and padding differ remain in different chunks.
    """
    groups = defaultdict(list)
    for chunk in chunks:
        cell = cells[chunk.networks[0][0]]
        shapes = chunk.padded or tuple(leaf.shape for leaf in jax.tree.leaves(cell.shapes))
        groups[cell.program(), chunk.padded, shapes].append(chunk)
    repacked = []
    for (_, padded, _), group in groups.items():
        remaining = [network for chunk in group for network in chunk.networks if network in networks]
        size = max(len(chunk.networks) for chunk in group)
        repacked += [Chunk(part, padded) for part in split_evenly(remaining, size)] if remaining else []
    return repacked
