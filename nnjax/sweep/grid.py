"""The results of a sweep, as arrays with labelled axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.sweep._plan import Chunk
from nnjax.training.history import History, accuracy

if TYPE_CHECKING:
    import pandas
    import xarray


class Keys(NamedTuple):
    """The keys of every seed of a sweep, derived from the key of the sweep."""

    key: Array
    shared_batches: bool

    def for_seed(self, seed: int) -> tuple[Array, Array]:
        """The keys of a seed's initial parameters and of its training."""
        init_key, fit_key = jax.random.split(self.key)
        return (
            jax.random.fold_in(init_key, seed),
            fit_key if self.shared_batches else jax.random.fold_in(fit_key, seed),
        )


@dataclass(frozen=True, repr=False)
class Grid:
    """The result of `sweep`: labelled histories, and the parameters of every network.

    Attributes:
      data: an `xarray.Dataset` of the columns of `History` that the training has, each metric under its own
        name. `seconds` is the time of the program's epoch divided by its number of networks. The dimensions
        are the axes of the grid, `seed` and `epoch`; `diverged_at` has no dimension `epoch`. `data.attrs` has
        `num_validation` and `num_test`, the sizes of the splits.
    """

    data: "xarray.Dataset"
    _index: "xarray.DataArray"  # the index in _params of each network
    _params: list[Any]
    _keys: Keys

    def __repr__(self) -> str:
        return f"Grid({dict(self.data.sizes)})"

    train_cost = property(lambda self: self.data["train_cost"])
    validation_cost = property(lambda self: self.data.get("validation_cost"))
    test_cost = property(lambda self: self.data.get("test_cost"))
    validation_correct = property(lambda self: self.data.get("validation_correct"))
    test_correct = property(lambda self: self.data.get("test_correct"))
    seconds = property(lambda self: self.data["seconds"])
    diverged_at = property(lambda self: self.data["diverged_at"])

    @property
    def validation_accuracy(self) -> Any:
        """The fraction of correct predictions on the validation split; None without counts."""
        return accuracy(self.validation_correct, self.data.attrs["num_validation"])

    @property
    def test_accuracy(self) -> Any:
        """The fraction of correct predictions on the test split; None without counts."""
        return accuracy(self.test_correct, self.data.attrs["num_test"])

    def params(self, **labels: Any) -> Any:
        """The final parameters of one network, selected by its label on every axis.

        Raises:
          ValueError: labels that the grid does not have, or that select more than one network.
        """
        try:
            selected = self._index.sel(labels)
        except (KeyError, ValueError) as error:
            raise ValueError(f"labels must be values on the axes {self._axes()}, got {labels}") from error
        if selected.size > 1:
            missing = ", ".join(str(d) for d in selected.dims if selected.sizes[d] > 1)
            raise ValueError(f"labels must select one network, got {labels}: add a label for {missing}")
        return jax.tree.map(jnp.asarray, self._params[selected.item()])

    def rng_keys(self, seed: int) -> tuple[Array, Array]:
        """The keys of `init` and of `fit` with which the network of a seed can be trained again alone."""
        return self._keys.for_seed(seed)

    def squeeze(self, axis: str) -> "Grid":
        """The grid without an axis that has one value."""
        data, index = (part.squeeze(axis, drop=True) for part in (self.data, self._index))
        return replace(self, data=data, _index=index)

    def to_dataframe(self) -> "pandas.DataFrame":
        """The histories as a tidy pandas DataFrame: one row per network and epoch."""
        return self.data.to_dataframe().reset_index()

    def _axes(self) -> dict[str, list]:
        return {str(d): self.data[d].values.tolist() for d in self._index.dims}


def label_results(
    axes: dict[str, dict], seeds: int, chunks: Sequence[Chunk], histories: Sequence[History]
) -> "tuple[xarray.Dataset, xarray.DataArray]":
    """The labelled histories of all chunks, and the index of each network in the order of cells and seeds."""
    import xarray

    coords = {name: _coordinate(axis) for name, axis in axes.items()} | {"seed": np.arange(seeds)}
    shape = tuple(map(len, coords.values()))
    count, epochs = math.prod(shape), len(histories[0])
    columns: dict[str, np.ndarray] = {}
    diverged_at = np.zeros(count, int)
    for chunk, history in zip(chunks, histories, strict=True):
        networks = [cell * seeds + seed for cell, seed in chunk.networks]
        seconds = np.broadcast_to(history.seconds[:, None] / len(networks), (epochs, len(networks)))
        values = history.columns() | {"seconds": seconds} | history.metrics
        for name, value in values.items():
            if name != "metrics" and value is not None:
                missing = -1 if value.dtype.kind == "i" else np.nan
                column = columns.setdefault(name, np.full((count, epochs), missing, value.dtype))
                column[networks] = value.T
        diverged_at[networks] = history.diverged_at
    by_epoch = {name: ((*coords, "epoch"), c.reshape(*shape, epochs)) for name, c in columns.items()}
    by_network = {"diverged_at": (tuple(coords), diverged_at.reshape(shape))}
    sizes = {name: getattr(histories[0], name) for name in ("num_validation", "num_test")}
    return (
        xarray.Dataset(by_epoch | by_network, coords | {"epoch": np.arange(epochs)}, sizes),
        xarray.DataArray(np.arange(count).reshape(shape), coords),
    )


def _coordinate(axis: dict) -> np.ndarray:
    """The labels of an axis: an array of numbers or of strings; of objects if there are both."""
    labels = list(axis)
    return np.array(labels, object if len({isinstance(label, str) for label in labels}) > 1 else None)
