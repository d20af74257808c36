"""`sweep`: a grid of settings and seeds, trained in as few compiled programs as its shapes allow.

Keys: the sweep's key is split in two. The first, folded with the seed, draws a network's initial
parameters, the same for every setting; the second is the key of `fit`, of all networks alike or,
with `shared_batches=False`, folded with the seed as well. `Grid.keys` gives both again.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from nnjax.chunks import Keys, Trainer
from nnjax.data import Dataset
from nnjax.descent import History, check_arguments, settings_of
from nnjax.numbers import whole_number
from nnjax.objective import Objective
from nnjax.optimizers import Factory
from nnjax.parallel import placing, with_auto_axes
from nnjax.plan import Cell, Chunk, bytes_of, make_cells, make_chunks
from nnjax.processes import agree, by_first
from nnjax.runs.checkpoints import Checkpoint, as_checkpoint
from nnjax.runs.claims import claimed

if TYPE_CHECKING:
    import pandas
    import xarray


class Progress(NamedTuple):
    """How far a sweep is: finished networks, the epoch of those in training, the share of all work."""

    networks: int
    of_networks: int
    epoch: int
    of_epochs: int
    share: float


@dataclass(frozen=True, repr=False)
class Grid:
    """What `sweep` returns: labelled histories, and every network's parameters.

    Attributes:
      data: an `xarray.Dataset` of `cost`, `validation_correct`, `test_correct` and `seconds`
        (training alone, each network's share of its program's epoch), whose dimensions are the
        axes of the grid, `seed` and `epoch`; and `diverged_at`, without `epoch`.
    """

    data: "xarray.Dataset"
    _places: "xarray.DataArray"  # of every network in _params
    _params: list[Any]
    _keys: Keys

    def __repr__(self) -> str:
        return f"Grid({dict(self.data.sizes)})"

    cost = property(lambda self: self.data["cost"])
    validation_correct = property(lambda self: self.data["validation_correct"])
    test_correct = property(lambda self: self.data["test_correct"])
    seconds = property(lambda self: self.data["seconds"])
    diverged_at = property(lambda self: self.data["diverged_at"])

    def params(self, **labels: Any) -> Any:
        """The final parameters of one network, named by its place on every axis.

        Raises:
          ValueError: labels that the grid has not, or that leave more than one network.
        """
        try:
            found = self._places.sel(labels)
        except (KeyError, ValueError) as error:
            raise ValueError(f"the grid has no network {labels}: its axes are {self._axes()}") from error
        if found.size > 1:
            missing = ", ".join(str(d) for d in found.dims if found.sizes[d] > 1)
            raise ValueError(f"{labels} is no single network: name its {missing} too")
        return jax.tree.map(jnp.asarray, self._params[found.item()])

    def keys(self, seed: int) -> tuple[Array, Array]:
        """The keys of `init` and of `fit` with which one network can be trained again alone."""
        return self._keys.of(seed)

    def rows(self) -> "pandas.DataFrame":
        """The histories as tidy rows: a pandas DataFrame, a row for each network and epoch."""
        return self.data.to_dataframe().reset_index()

    def _axes(self) -> dict[str, list]:
        return {str(d): self.data[d].values.tolist() for d in self._places.dims}


def sweep(
    key: Array,
    data: Dataset,
    *,
    hidden: Any = None,
    seeds: int = 1,
    init: Any = None,
    initial_weights: Any = None,
    objective: Any = Objective(),
    optimizer: Factory | optax.GradientTransformation = optax.sgd,
    epochs: int = 30,
    batch_size: int = 10,
    shared_batches: bool = True,
    at_once: int | None = None,
    checkpoint: str | PathLike | Checkpoint | None = None,
    mesh: Mesh | None = None,
    callback: Callable[[Progress], None] | None = None,
    **hyperparameters: Any,
) -> Grid:
    """Train every combination of settings, with every seed, and label what comes of it.

    `hidden`, `init`, `initial_weights`, `objective` and each hyper-parameter of `optimizer` take
    one value, or a sequence of values, or a mapping from labels to values: those become an axis.

    Args:
      key: a `jax.random.key`.
      data: as for `fit`.
      hidden: neurons of the hidden layer, (30, 100) for two widths; several layers as a tuple of
        their own, [(30,), (30, 20)]. 30 where neither it nor `init` is given.
      seeds: how many networks each setting has; seed s draws the same initial parameters
        whatever the setting.
      init: instead of `hidden`, draws the parameters of a model of your own from a key.
      initial_weights: how dense networks are drawn: `gaussian` (the default), `scaled` or your own.
      objective, optimizer, epochs, batch_size: as for `fit`.
      shared_batches: whether all networks see the same mini-batches, so that settings are
        compared on common random numbers, and faster; or each seed's draws its own.
      at_once: networks in one compiled program, at most; by default what suits the machine.
      checkpoint: as for `fit`: a sweep that was stopped goes on from there when it is started again
        with the same arguments, `epochs` apart, which may be more.
      mesh: devices, as of `jax.make_mesh`, that share the networks among them.
      callback: called with the `Progress` after each epoch.
      **hyperparameters: those of `optimizer`; numbers are swept inside one program, other values
        each get a program.

    Returns:
      A `Grid`: `grid.test_correct.sel(learning_rate=3.0).mean("seed")` and the like.

    Raises:
      ValueError: before anything is trained, where an argument is wrong: it says which and why.

    >>> import nnjax
    >>> grid = sweep(jax.random.key(0), nnjax.load("digits"), hidden=(10, 30), seeds=2, epochs=20,
    ...              learning_rate=(0.01, 3.0))
    >>> grid
    Grid({'hidden': 2, 'learning_rate': 2, 'seed': 2, 'epoch': 20})
    >>> bool((grid.test_correct.isel(epoch=-1).sel(learning_rate=3.0) > 200).all())
    True
    """
    epochs, batch_size = check_arguments(key, data, epochs, batch_size)
    seeds = whole_number("seeds", seeds)
    at_once = None if at_once is None else whole_number("at_once", at_once)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback must be a function of the Progress, not {callback!r}")
    keep = as_checkpoint(checkpoint)
    settings = {"objective": objective, "hidden": hidden, "init": init, "initial_weights": initial_weights}
    axes, cells = make_cells(data, settings, optimizer, hyperparameters)
    mesh = with_auto_axes(mesh)
    # On the device before the first epoch's clock starts.
    splits = jax.block_until_ready(placing(mesh)((data.train, data.validation, data.test)))
    trainer = Trainer(cells, Keys(key, shared_batches), splits, epochs, batch_size, mesh)
    chunks = list(make_chunks(cells, seeds, data, batch_size, shared_batches, at_once, trainer.devices))

    with contextlib.ExitStack() as held:
        if keep or jax.process_count() > 1:
            given = settings | hyperparameters | {name: list(axis) for name, axis in axes.items()}
            told = settings_of(
                key, data, batch_size, **given, optimizer=optimizer, seeds=seeds,
                shared_batches=shared_batches, devices=trainer.devices,
                programs=[len(chunk.networks) for chunk in chunks],
            )  # fmt: skip
            agree(told | {"epochs": epochs, "checkpoint": keep is not None})
            if keep:
                by_first(lambda: held.enter_context(claimed(Path(keep.folder), told, keep.named)))
        histories, params = _train_all(trainer, chunks, keep, callback)
    everything = [params[cell, seed] for cell in range(len(cells)) for seed in range(seeds)]
    return Grid(*_labelled(axes, seeds, chunks, histories), everything, trainer.keys)


def _train_all(
    trainer: Trainer,
    chunks: list[Chunk],
    keep: Checkpoint | None,
    callback: Callable[[Progress], None] | None,
) -> tuple[list[History], dict[tuple[int, int], Any]]:
    """The history of each chunk, and the final parameters of each (cell, seed)."""
    histories, params = [], {}
    for i, chunk in enumerate(chunks):
        report = _reporter(callback, trainer.cells, chunks, i, trainer.epochs)
        own = keep and replace(keep, folder=Path(keep.folder) / f"program-{i}")
        history, final = trainer.train(chunk, report, own)
        histories.append(history)
        params |= zip(chunk.networks, final, strict=True)
    return histories, params


def _reporter(
    callback: Callable[[Progress], None] | None, cells: list[Cell], chunks: list[Chunk], i: int, epochs: int
) -> Callable[[int], None]:
    """Tells `callback` of an epoch of chunk i."""
    work = [len(c.networks) * bytes_of(cells[c.networks[0][0]].shapes) for c in chunks]
    done, of = (sum(len(c.networks) for c in some) for some in (chunks[:i], chunks))

    def report(epoch: int) -> None:
        share = (sum(work[:i]) + work[i] * epoch / epochs) / sum(work)
        if callback:
            callback(Progress(done, of, epoch, epochs, share))

    return report


def _labelled(
    axes: dict[str, dict], seeds: int, chunks: list[Chunk], histories: list[History]
) -> "tuple[xarray.Dataset, xarray.DataArray]":
    """The histories of all chunks as arrays with named axes, and the place of each network among all."""
    import xarray

    coords = {name: _labels(axis) for name, axis in axes.items()} | {"seed": np.arange(seeds)}
    shape = tuple(map(len, coords.values()))
    count, epochs = math.prod(shape), len(histories[0])
    counts = ("validation_correct", "test_correct")
    columns = {name: np.zeros((count, epochs)) for name in ("cost", "seconds")}
    columns |= {name: np.zeros((count, epochs), int) for name in counts}
    diverged_at = np.zeros(count, int)
    for chunk, history in zip(chunks, histories, strict=True):
        networks = [cell * seeds + seed for cell, seed in chunk.networks]
        own = slice(len(networks))
        for name in ("cost", *counts):
            columns[name][networks] = getattr(history, name).T[own]
        columns["seconds"][networks] = history.seconds / len(networks)
        diverged_at[networks] = history.diverged_at[own]
    by_epoch = {name: ((*coords, "epoch"), c.reshape(*shape, epochs)) for name, c in columns.items()}
    by_network = {"diverged_at": (tuple(coords), diverged_at.reshape(shape))}
    return (
        xarray.Dataset(by_epoch | by_network, coords | {"epoch": np.arange(epochs)}),
        xarray.DataArray(np.arange(count).reshape(shape), coords),
    )


def _labels(axis: dict) -> np.ndarray:
    """The labels of an axis as coordinates: numbers as numbers, a mixture as objects."""
    labels = list(axis)
    return np.array(labels, object if len({isinstance(label, str) for label in labels}) > 1 else None)
