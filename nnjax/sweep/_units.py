"""The chunks of a sweep as units of work on an executor."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn.metrics import Metrics
from nnjax.runtime.executors import Workers
from nnjax.runtime.files import make_dir, write_atomically
from nnjax.storage import CheckpointPolicy, digest
from nnjax.storage._serialization import deserialize, serialize
from nnjax.sweep._chunks import Reporter, TrainedChunk, train_chunks
from nnjax.sweep._plan import Cell, Chunk
from nnjax.sweep._trainer import Trained, Trainer
from nnjax.sweep.grid import Keys
from nnjax.training._observe import Watches
from nnjax.training.budget import Budget
from nnjax.training.history import join_histories


class ChunkUnit(NamedTuple):
    """What a worker needs to train a chunk, without the data.

    Attributes:
      cells: the settings of the networks of `chunk`.
      chunk: the networks, as pairs (index in `cells`, seed).
      key_data, key_impl, shared_batches: the keys of the sweep.
      budget, threads, metrics, watches: as for `Trainer`.
    """

    cells: list[Cell]
    chunk: Chunk
    key_data: np.ndarray
    key_impl: str
    shared_batches: bool
    budget: Budget
    threads: int
    metrics: Metrics
    watches: Watches


def make_unit(trainer: Trainer, chunk: Chunk) -> ChunkUnit:
    """A chunk with only the settings of its networks."""
    used = sorted({cell for cell, _ in chunk.networks})
    networks = [(used.index(cell), seed) for cell, seed in chunk.networks]
    key: Array = trainer.keys.key
    return ChunkUnit(
        [trainer.cells[i] for i in used],
        Chunk(networks, chunk.padded),
        np.asarray(jax.random.key_data(key)),
        str(jax.random.key_impl(key)),
        trainer.keys.shared_batches,
        trainer.budget,
        trainer.threads,
        trainer.metrics,
        jax.tree.map(np.asarray, trainer.watches),
    )


def train_unit(unit: ChunkUnit, splits: Any) -> Trained:
    """Trains a chunk on a worker; if the memory is not enough, in halves."""
    keys = Keys(jax.random.wrap_key_data(jnp.asarray(unit.key_data), impl=unit.key_impl), unit.shared_batches)
    trainer = Trainer(
        unit.cells, keys, jax.device_put(splits), unit.budget, None, unit.threads, unit.metrics,
        jax.device_put(unit.watches),
    )  # fmt: skip
    reporter = Reporter(None, [unit.chunk], unit.cells, [], unit.budget)
    parts = [part.trained for part in train_chunks(trainer, [unit.chunk], None, reporter)]
    history = join_histories([part.history for part in parts])
    return Trained(history, [params for part in parts for params in part.params], None)


def train_on(
    workers: Workers,
    trainer: Trainer,
    chunks: list[Chunk],
    data: Dataset,
    policy: CheckpointPolicy | None,
    reporter: Reporter,
) -> list[TrainedChunk]:
    """Trains chunks on the workers of an executor.

    Args:
      workers: the workers.
      trainer: the settings.
      chunks: the chunks; each is one unit of work.
      data: the data set.
      policy: the checkpoint policy, or None. Each result is stored in its directory as soon as it arrives. A
        stored result is not computed again.
      reporter: reports each finished chunk.
    """
    folder = policy and make_dir(Path(policy.directory, "units"))
    stores = [folder and _Result(folder / str(i), trainer, chunk) for i, chunk in enumerate(chunks)]
    results = {i: trained for i, store in enumerate(stores) if store and (trained := store.read())}
    for i, trained in results.items():
        reporter.show(chunks[i], trained)
    missing = [i for i in range(len(chunks)) if i not in results]
    units = [(make_unit(trainer, chunks[i]),) for i in missing]
    splits = jax.tree.map(np.asarray, (data.train, data.validation, data.test))
    for position, trained in workers.map(train_unit, units, splits):
        i = missing[position]
        results[i] = trained
        if store := stores[i]:
            store.write(trained)
        reporter.show(chunks[i], trained)
    return [TrainedChunk(chunk, results[i]) for i, chunk in enumerate(chunks)]


class _Result:
    """The file of a trained chunk. It contains a digest of what determines the training."""

    def __init__(self, path: Path, trainer: Trainer, chunk: Chunk):
        self._path, self._trainer, self._chunk = path, trainer, chunk
        self._identity = np.frombuffer(bytes.fromhex(digest(*trainer.fingerprint(chunk).values())), np.uint8)

    def read(self) -> Trained | None:
        """The trained chunk; None if there is no file, or if it cannot be used, which gives a warning."""
        if not self._path.exists():
            return None
        shapes = [self._trainer.cells[cell].shapes for cell, _ in self._chunk.networks]
        cell = self._trainer.cells[self._chunk.networks[0][0]]
        history = self._trainer.empty_history(cell, len(shapes))
        content = np.frombuffer(self._path.read_bytes(), np.uint8)
        try:
            identity, history, params = deserialize(content, (self._identity, history, shapes))
        except ValueError as error:
            return self._reject(f"is damaged ({error})")
        if (identity != self._identity).any():
            return self._reject("was written by different code or on a different machine")
        return Trained(history, params, None)

    def _reject(self, reason: str) -> None:
        warnings.warn(f"{self._path} {reason}: its networks are trained again", stacklevel=4)

    def write(self, trained: Trained) -> None:
        """Stores a trained chunk."""
        content = serialize((self._identity, trained.history, trained.params))
        write_atomically(self._path, content.tobytes())
