"""The results of a sweep, as arrays with labelled axes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.sweep._axes import Axes
from nnjax.sweep._grid_file import GridParts, read_grid, write_grid
from nnjax.sweep._plan import Chunk
from nnjax.training.budget import Budget
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
        are the axes of the grid, `point` (if there is a `zip`), `seed` (unless it is in `zip`) and `epoch`.
        In a sweep with `steps`, the dimension `step`, the number of finished steps, replaces `epoch`.
        `diverged_at` has neither. With `halving`, `stopped_at` is the last epoch of each network that was
        stopped, and -1 for the others. `data.attrs` has `num_validation` and `num_test`, the sizes of the
        splits.
      watched: for each watch, its values. After the dimensions of `data`, they have the dimension `value`:
        the values of an epoch, or between two evaluations. The coordinate `watched_step` is the training step
        of each value. If the shapes differ between networks, the smaller ones are filled with NaN.
    """

    data: "xarray.Dataset"
    watched: "dict[str, xarray.DataArray]"
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
        return _named("validation_accuracy", self.validation_correct, self.data.attrs["num_validation"])

    @property
    def test_accuracy(self) -> Any:
        """The fraction of correct predictions on the test split; None without counts."""
        return _named("test_accuracy", self.test_correct, self.data.attrs["num_test"])

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
        watched = {name: values.squeeze(axis, drop=True) for name, values in self.watched.items()}
        return replace(self, data=data, watched=watched, _index=index)

    def to_dataframe(self) -> "pandas.DataFrame":
        """The histories as a tidy pandas DataFrame: one row per network and epoch (or evaluation)."""
        return self.data.to_dataframe().reset_index()

    def save(self, path: str | PathLike) -> None:
        """Writes the grid to a file for `nnjax.load_grid`.

        Args:
          path: the file, by convention `*.safetensors`; an existing file is replaced atomically.

        Raises:
          ValueError: parameters that contain other nodes than dictionaries, lists, tuples and the types of
            `nnjax.nn`.
          OSError: the file cannot be written; an existing file is unchanged.

        >>> import nnjax
        >>> grid = nnjax.sweep(jax.random.key(0), nnjax.load("digits"), hidden=5, epochs=1, learning_rate=1.0)
        >>> grid.save("/tmp/grid.safetensors")
        >>> nnjax.load_grid("/tmp/grid.safetensors")
        Grid({'seed': 1, 'epoch': 1})
        """
        write_grid(path, GridParts(self.data, self.watched, self._index, self._params, *self._keys))

    def _axes(self) -> dict[str, list]:
        return {str(d): self.data[d].values.tolist() for d in self._index.dims}


def _named(name: str, correct: Any, total: int) -> Any:
    return None if correct is None else accuracy(correct, total).rename(name)


def load_grid(path: str | PathLike) -> Grid:
    """Loads a grid that `Grid.save` wrote. The file contains no code.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not a grid file, is damaged, or has another format.
    """
    parts = read_grid(path)
    keys = Keys(parts.key, parts.shared_batches)
    return Grid(parts.data, parts.watched, parts.index, parts.params, keys)


def make_grid(
    axes: Axes,
    chunks: Sequence[Chunk],
    histories: Sequence[History],
    params: list[Any],
    keys: Keys,
    budget: Budget,
    has_stops: bool = False,
) -> Grid:
    """The grid of the results of all chunks.

    Args:
      axes: the axes of the grid.
      chunks, histories: the chunks and their histories. Those of networks that were stopped are shorter.
      params: the parameters of each network, in the order of `axes.networks()`.
      keys: the keys of the sweep.
      budget: the length of the training.
      has_stops: whether the grid has the variable `stopped_at`.
    """
    import xarray

    index = {network: i for i, network in enumerate(axes.networks())}
    positions = [[index[network] for network in chunk.networks] for chunk in chunks]
    coords, sizes, rows = axes.coords(), axes.sizes(), len(budget.row_ends)

    def gather(parts: Sequence[np.ndarray], missing: Any) -> np.ndarray:
        """Joins the parts (networks, ...) of all chunks in the shape of the grid; fills smaller shapes."""
        inner = tuple(np.max([part.shape[1:] for part in parts], axis=0).astype(int))
        whole = np.full((len(index), *inner), missing, parts[0].dtype)
        for networks, part in zip(positions, parts, strict=True):
            for network, values in zip(networks, part, strict=True):
                whole[(network, *map(slice, values.shape))] = values
        return whole.reshape(*sizes.values(), *inner)

    columns = {
        name: gather([_by_network(history, name) for history in histories], missing)
        for name, missing in _missing_values(histories[0]).items()
    }
    row_coords = {"epoch": np.arange(rows)} if budget.unit == "epoch" else {"step": np.array(budget.row_ends)}
    by_row = {name: ((*sizes, budget.unit), column) for name, column in columns.items()}
    diverged_at = gather([history.diverged_at for history in histories], -1)
    attrs = {name: getattr(histories[0], name) for name in ("num_validation", "num_test")}
    by_network = {"diverged_at": (tuple(sizes), diverged_at)}
    if has_stops:
        last = [len(history) - 1 if len(history) < rows else -1 for history in histories]
        of_chunks = [np.full(len(c.networks), n) for c, n in zip(chunks, last, strict=True)]
        by_network["stopped_at"] = tuple(sizes), gather(of_chunks, -1)
    data = xarray.Dataset(by_row | by_network, coords | row_coords, attrs)
    watched = {}
    for name in histories[0].watched:
        values = gather([np.moveaxis(history.watched[name], 1, 0) for history in histories], np.nan)
        steps = gather(
            [np.broadcast_to(h.watched_step[name], (h.train_cost.shape[1], *h.watched_step[name].shape))
             for h in histories], -1,
        )  # fmt: skip
        dims = (*sizes, budget.unit, "value", *(f"{name}_{i}" for i in range(values.ndim - len(sizes) - 2)))
        of_values = {"watched_step": (dims[: steps.ndim], steps)}
        watched[name] = xarray.DataArray(values, coords | row_coords | of_values, dims, name)
    order = xarray.DataArray(np.arange(len(index)).reshape(tuple(sizes.values())), coords, tuple(sizes))
    return Grid(data, watched, order, params, keys)


def _missing_values(history: History) -> dict[str, Any]:
    """By name of a variable of a grid, the value that marks a missing result."""
    columns = {name: value for name, value in history.columns().items() if isinstance(value, np.ndarray)}
    columns = {name: value for name, value in columns.items() if name != "step"} | history.metrics
    return {name: -1 if value.dtype.kind == "i" else np.nan for name, value in columns.items()}


def _by_network(history: History, name: str) -> np.ndarray:
    """A variable of a chunk's networks, (networks, rows); `seconds` are divided among them."""
    if name == "seconds":
        networks = history.train_cost.shape[1]
        return np.broadcast_to(history.seconds / networks, (networks, len(history)))
    values = history.metrics[name] if name in history.metrics else getattr(history, name)
    return np.moveaxis(values, 1, 0)
