"""The axes of a sweep: from sequences of settings to the cells of a grid and their labels."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from nnjax.runtime.checks import check_positive_int
from nnjax.training.history import COLUMNS

# Names that every grid uses for dimensions and variables, so an axis must have another name.
RESERVED = (
    "seed", "epoch", "point", "value", *COLUMNS, "diverged_at", "validation_accuracy", "test_accuracy"
)  # fmt: skip

# (label, value)
Labelled = tuple[Any, Any]


@dataclass(frozen=True)
class Axes:
    """The axes of a grid.

    A cell is a combination of the values of `product` at one point. Each cell is trained with every seed.

    Attributes:
      product: for each axis, its values by label.
      points: for each setting in `zip`, its label and value at each point. All of these settings vary along
        the axis `point`.
      seeds: the seeds, or None if `zip` contains `seed`.
    """

    product: dict[str, dict[Any, Any]]
    points: dict[str, list[Labelled]]
    seeds: range | None

    @property
    def num_points(self) -> int:
        """The length of the axis `point`; 1 without it."""
        return len(next(iter(self.points.values()))) if self.points else 1

    def cells(self) -> list[dict[str, Labelled]]:
        """For each cell, the labels and values of its settings; the last axis varies fastest."""
        combinations = itertools.product(*(axis.items() for axis in self.product.values()))
        return [
            dict(zip(self.product, combination, strict=True))
            | {name: values[point] for name, values in self.points.items()}
            for combination in combinations
            for point in range(self.num_points)
        ]

    def labels(self) -> list[dict[str, Any]]:
        """For each cell, its labels; if there are points, also the number of its point."""
        labels = [{name: label for name, (label, _) in cell.items()} for cell in self.cells()]
        if self.points:
            labels = [{"point": i % self.num_points} | of_cell for i, of_cell in enumerate(labels)]
        return labels

    def networks(self) -> list[tuple[int, int]]:
        """Pairs (cell, seed) in the order of the grid."""
        if self.seeds is None:
            return [(i, cell["seed"][1]) for i, cell in enumerate(self.cells())]
        return [(i, seed) for i in range(len(self.cells())) for seed in self.seeds]

    def sizes(self) -> dict[str, int]:
        """The length of each dimension."""
        points = {"point": self.num_points} if self.points else {}
        seeds = {} if self.seeds is None else {"seed": len(self.seeds)}
        return {name: len(axis) for name, axis in self.product.items()} | points | seeds

    def coords(self) -> dict[str, Any]:
        """The coordinates of the grid; those of the settings in `zip` have the dimension `point`."""
        coords: dict[str, Any] = {name: _coordinate(list(axis)) for name, axis in self.product.items()}
        if self.points:
            coords["point"] = np.arange(self.num_points)
            for name, values in self.points.items():
                coords[name] = ("point", _coordinate([label for label, _ in values]))
        return coords if self.seeds is None else coords | {"seed": np.array(self.seeds)}

    def shown(self) -> dict[str, Any]:
        """The axes for messages: the values, with their labels if these are not the values."""
        product = {
            name: list(axis) if list(axis) == list(axis.values()) else axis
            for name, axis in self.product.items()
        }
        return product | {
            name: [label if label == value else (label, value) for label, value in values]
            for name, values in self.points.items()
        }


def make_axes(settings: Mapping[str, Any], zipped: Mapping[str, Any] | None, seeds: Any) -> Axes:
    """Checks the settings of a sweep and returns the axes of the grid.

    Args:
      settings: the settings by name; sequences and mappings from labels to values are axes.
      zipped: the argument `zip` of `sweep`: sequences of equal length by name, which vary together. They
        replace the settings of the same names.
      seeds: the number of seeds.

    Raises:
      ValueError: a name that a grid uses itself, an axis without values or with equal labels, or sequences
        of different lengths in `zip`.
    """
    num_seeds = check_positive_int("seeds", seeds)
    if zipped is not None and not isinstance(zipped, Mapping):
        raise ValueError(f"zip must be a mapping from names to sequences, got {zipped!r}")
    zipped = zipped or {}
    parsed = {name: parse_axis(name, value) for name, value in settings.items() if name not in zipped}
    product = {name: axis for name, axis in parsed.items() if axis is not None}
    points = {name: _parse_points(name, values) for name, values in zipped.items()}
    for name in points:
        if name in settings and _labelled(name, settings[name]) is not None:
            raise ValueError(f"{name} must be an axis or a sequence in zip, got both")
    if "seed" in points and num_seeds > 1:
        raise ValueError(f"seeds must be 1 if zip contains seed, got {num_seeds}")
    for name in (*product, *points):
        if name in RESERVED and not (name == "seed" and name in points):
            raise ValueError(
                f"a swept hyper-parameter must not be called {name}, because the grid uses this name: rename "
                "it with a function around the optimizer"
            )
    lengths = {name: len(values) for name, values in points.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the sequences in zip must have equal lengths, got {lengths}")
    for _, seed in points.get("seed", []):
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ValueError(f"seed must be a sequence of non-negative integers in zip, got {seed!r}")
    return Axes(product, points, None if "seed" in points else range(num_seeds))


def parse_axis(name: str, value: Any) -> dict[Any, Any] | None:
    """An axis as a mapping from labels to values; None if `value` is a single value.

    >>> parse_axis("hidden", (30, (30, 20)))
    {30: 30, '30x20': (30, 20)}
    """
    labelled = _labelled(name, value)
    if labelled is None:
        return None
    axis = dict(labelled)
    if len(axis) < len(labelled):
        labels = [label for label, _ in labelled]
        repeated = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(
            f"{name} must have distinct values and labels, got {repeated!r} twice: remove one, or pass a "
            "mapping from labels to values"
        )
    return axis


def _parse_points(name: str, values: Any) -> list[Labelled]:
    """The labels and values of a setting in `zip`."""
    labelled = _labelled(name, values)
    if labelled is None:
        raise ValueError(f"{name} must be a sequence in zip, got {values!r}")
    return labelled


def _labelled(name: str, value: Any) -> list[Labelled] | None:
    """The labels and values of a sequence or a mapping; None if `value` is a single value."""
    if isinstance(value, Mapping):
        labelled = [(_label(name, label), element) for label, element in value.items()]
    elif isinstance(value, optax.GradientTransformation):  # a tuple, but one optimizer
        return None
    elif isinstance(value, list | tuple | range) or (
        isinstance(value, np.ndarray | jax.Array) and value.ndim == 1
    ):
        values = [_python_number(x) for x in np.asarray(value)] if hasattr(value, "dtype") else list(value)
        labelled = [(_label(name, element), element) for element in values]
    else:
        return None
    if not labelled:
        raise ValueError(f"{name} must have at least one value, got none")
    return labelled


def _python_number(value: np.generic) -> Any:
    """An array's element as a Python number: float32 0.3, stored as 0.30000001, becomes 0.3."""
    return float(str(value)) if value.dtype.kind == "f" else value.item()


def _label(name: str, value: Any) -> Any:
    """The label of a value: a number or a string as it is, layers as "30x20", a function as its name."""
    if isinstance(value, tuple | list) and not isinstance(value, optax.GradientTransformation):
        return value[0] if len(value) == 1 else "x".join(map(str, value))
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    if isinstance(value, str | int | float | np.generic):
        return value
    raise ValueError(
        f"{name} must be a mapping from labels to values if the values have no names, got {value!r}"
    )


def _coordinate(labels: list) -> np.ndarray:
    """The labels of an axis: an array of numbers or of strings; of objects if there are both."""
    return np.array(labels, object if len({isinstance(label, str) for label in labels}) > 1 else None)
