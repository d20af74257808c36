"""Grid files: the results of a sweep as safetensors, with labels and structure as JSON metadata."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from nnjax.nn import AutoencoderParams, ConvParams, Layer, RecurrentParams, TransformerParams
from nnjax.nn.attention import Block
from nnjax.runtime.files import write_atomically
from nnjax.storage import digest
from nnjax.storage._formats import check_format

if TYPE_CHECKING:
    import xarray

FORMAT = 1
_KEY = "nnjax_grid"

# The named tuples that parameters may contain, by name.
_NODE_TYPES = Layer, ConvParams, RecurrentParams, TransformerParams, Block, AutoencoderParams
NODES = {node.__name__: node for node in _NODE_TYPES}


class GridParts(NamedTuple):
    """What a grid file contains.

    Attributes:
      data, watched, index, params: those of a `Grid`.
      key: the key of the sweep.
      shared_batches: that of the sweep.
    """

    data: "xarray.Dataset"
    watched: "dict[str, xarray.DataArray]"
    index: "xarray.DataArray"
    params: list[Any]
    key: Array
    shared_batches: bool


def write_grid(path: str | os.PathLike, grid: GridParts) -> None:
    """Writes a grid file; see `Grid.save`."""
    tensors: list[np.ndarray] = []

    def add(array: Any) -> int:
        tensors.append(np.array(array, order="C"))  # safetensors writes the whole buffer of a view
        return len(tensors) - 1

    def describe_variable(variable: Any) -> dict[str, Any]:
        values = variable.values
        is_number = values.dtype.kind in "biuf"
        content = {"tensor": add(values)} if is_number else {"values": [_json_label(x) for x in values]}
        return {"dims": variable.dims, **content}

    def describe_array(array: Any) -> dict[str, Any]:
        coords = {str(name): describe_variable(coord) for name, coord in array.coords.items()}
        return {"array": describe_variable(array), "coords": coords}

    meta = {
        "format": FORMAT,
        "data": {str(name): describe_array(array) for name, array in grid.data.data_vars.items()},
        "attrs": grid.data.attrs,
        "watched": {name: describe_array(array) for name, array in grid.watched.items()},
        "index": describe_array(grid.index),
        "params": _describe_params(grid.params, add),
        "key": {"data": add(jax.random.key_data(grid.key)), "impl": str(jax.random.key_impl(grid.key))},
        "shared_batches": grid.shared_batches,
    }
    text = json.dumps(meta)
    metadata = {_KEY: text, "digest": digest(text, tensors)}
    named = {str(i): tensor for i, tensor in enumerate(tensors)}
    write_atomically(Path(path), safetensors.save(named, metadata=metadata))


def _json_label(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def read_grid(path: str | os.PathLike) -> GridParts:
    """Reads a grid file; see `load_grid`."""
    import xarray

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no grid file {str(path)!r}")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            names = sorted(file.keys(), key=int) if _KEY in metadata else []
            tensors = [file.get_tensor(name) for name in names]
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} must be a grid file, got a file that cannot be read: {error}") from error
    if _KEY not in metadata:
        raise ValueError(f"{path} must be a grid file, got another file: write it with Grid.save")
    if digest(metadata[_KEY], tensors) != metadata.get("digest"):
        raise ValueError(f"{path} must be a grid file, got a damaged one: its digest does not match")
    meta = json.loads(metadata[_KEY])
    check_format(str(path), meta["format"], FORMAT, "save the grid again")

    def variable(described: Mapping[str, Any]) -> "xarray.Variable":
        if "tensor" in described:
            return xarray.Variable(described["dims"], tensors[described["tensor"]])
        labels = described["values"]
        is_text = all(isinstance(label, str) for label in labels)
        return xarray.Variable(described["dims"], np.array(labels, None if is_text else object))

    def array(described: Mapping[str, Any], name: str | None = None) -> "xarray.DataArray":
        coords = {name: variable(coord) for name, coord in described["coords"].items()}
        values = variable(described["array"])
        return xarray.DataArray(values.values, coords, values.dims, name)

    data = xarray.Dataset({name: array(part) for name, part in meta["data"].items()}, attrs=meta["attrs"])
    watched = {name: array(part, name) for name, part in meta["watched"].items()}
    params = _build_params(meta["params"], tensors)
    key = jax.random.wrap_key_data(jnp.asarray(tensors[meta["key"]["data"]]), impl=meta["key"]["impl"])
    return GridParts(data, watched, array(meta["index"]), params, key, meta["shared_batches"])


def _describe_params(params: list[Any], add: Any) -> list[dict[str, Any]]:
    """The networks by structure and shapes: those of a group are stacked, so that there are few tensors."""
    groups: dict[Any, list[int]] = {}
    for i, tree in enumerate(params):
        leaves, structure = jax.tree.flatten(tree)
        groups.setdefault((structure, *((x.shape, str(x.dtype)) for x in leaves)), []).append(i)
    described = []
    for networks in groups.values():
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(params[i] for i in networks))
        described.append({"networks": add(np.array(networks)), "tree": _describe_tree(stacked, add)})
    return described


def _build_params(described: list[dict[str, Any]], tensors: Sequence[np.ndarray]) -> list[Any]:
    """The inverse of `_describe_params`."""
    params: dict[int, Any] = {}
    for group in described:
        stacked = _build_tree(group["tree"], tensors)
        for row, network in enumerate(tensors[group["networks"]].tolist()):
            params[network] = jax.tree.map(lambda x, row=row: x[row], stacked)
    return [params[i] for i in range(len(params))]


def _describe_tree(tree: Any, add: Any) -> Any:
    """The structure of parameters as JSON; each leaf is the number of its tensor."""

    def children(values: Any) -> list:
        return [_describe_tree(value, add) for value in values]

    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {"dict": dict(zip(_text_keys(tree), children(tree.values()), strict=True))}
    if type(tree) in (list, tuple, *NODES.values()):
        return {type(tree).__name__: children(tree)}
    if isinstance(tree, np.ndarray | np.generic | jax.Array):
        return add(tree)
    raise ValueError(
        "params must consist of dictionaries, lists, tuples and the types of nnjax.nn to be saved, got "
        f"{type(tree).__name__}: save grid.data with xarray instead"
    )


def _text_keys(tree: Mapping) -> Iterator[str]:
    for key in tree:
        if not isinstance(key, str):
            raise ValueError(f"the keys of params must be strings to be saved, got {key!r}")
        yield key


def _build_tree(described: Any, tensors: Sequence[np.ndarray]) -> Any:
    """The inverse of `_describe_tree`."""
    if described is None:
        return None
    if isinstance(described, int):
        return tensors[described]
    ((kind, children),) = described.items()
    if kind == "dict":
        return {key: _build_tree(child, tensors) for key, child in children.items()}
    values = [_build_tree(child, tensors) for child in children]
    if kind in NODES:
        return NODES[kind](*values)
    return {"list": list, "tuple": tuple}[kind](values)
