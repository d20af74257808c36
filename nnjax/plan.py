"""What a sweep trains, and how: axes -> cells -> programs -> chunks of networks."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.fits import check_data_fits
from nnjax.network import check_sizes, gaussian, init, is_dense, sizes_of
from nnjax.objective import Dense, Objective
from nnjax.optimizers import Optimizer, make_optimizer
from nnjax.population import sees_padding

# Numbers that a group of widths may hold, padding included, for each that its networks have.
WASTE = 1.25

# Bytes in one program: what training keeps should fit a CPU's caches (measured: with twice as much
# a network took twice as long), and all together a part of the memory that any machine has.
CACHE = 6 * 2**20
MEMORY = 2**30

# What stands beside the axes in a grid's data, and so can be no axis.
RESERVED = ("seed", "epoch", "cost", "validation_correct", "test_correct", "seconds", "diverged_at")

Sizes = tuple[int, ...]


class Cell(NamedTuple):
    """One setting of a grid: what its networks have in common, and the shapes of their params."""

    draw: Callable[[Array], Any]
    shapes: Any
    objective: Objective
    optimizer: Optimizer

    def can_pad(self) -> bool:
        """Whether its networks are the built-in dense ones, which may be widened."""
        return is_dense(self.shapes) and isinstance(self.objective.forward, Dense)

    def program(self) -> tuple:
        """What two cells must have alike to be trained by one program: all but numbers and widths."""
        trees = (jax.tree.structure(part) for part in (self.shapes, self.objective, self.optimizer))
        leaves = jax.tree.leaves(self.shapes)
        fixed = sizes_of(self.shapes)[:: len(self.shapes)] if self.can_pad() else [x.shape for x in leaves]
        numbers = map(jnp.shape, jax.tree.leaves(self.objective))
        return *trees, *fixed, *numbers, *(x.dtype for x in leaves)

    def state_bytes(self) -> int:
        """The memory of what training keeps of one network: parameters and optimizer state."""
        return bytes_of((self.shapes, jax.eval_shape(self.optimizer.init, self.shapes)))

    def step_bytes(self, batch_size: int) -> int:
        """About the memory of a step of one network: four numbers for each example and unit."""
        leaves = jax.tree.leaves(self.shapes)
        return batch_size * sum(4 * x.dtype.itemsize * x.shape[0] for x in leaves if x.ndim)


class Chunk(NamedTuple):
    """Networks that one program trains: (cell, seed) each, and the sizes that it pads them to."""

    networks: Sequence[tuple[int, int]]
    padded: Sizes | None


def axis(name: str, given: Any) -> dict[Any, Any] | None:
    """The values along an axis by their labels; None where `given` is one value and makes no axis.

    >>> axis("hidden", (30, (30, 20)))
    {30: 30, '30-20': (30, 20)}
    """
    if isinstance(given, Mapping):
        labelled = {_label(name, label): value for label, value in given.items()}
    elif isinstance(given, list | tuple | range) or (
        isinstance(given, np.ndarray | jax.Array) and given.ndim == 1
    ):
        values = list(map(_plain, np.asarray(given))) if hasattr(given, "dtype") else given
        labels = [_label(name, value) for value in values]
        labelled = dict(zip(labels, values, strict=True))
        if len(labelled) < len(labels):
            same = next(label for label in labels if labels.count(label) > 1)
            raise ValueError(
                f"{name} repeats a value or a label, {same!r}: leave one out, or name both in a mapping"
            )
    else:
        return None
    if not labelled:
        raise ValueError(f"{name} is empty: give one value, or several to make an axis of them")
    return labelled


def _plain(value: np.generic) -> Any:
    """A number of an array as Python has it: float32 means 0.3 where it holds 0.30000001."""
    return float(str(value)) if value.dtype.kind == "f" else value.item()


def _label(name: str, value: Any) -> Any:
    """What an axis calls a value: numbers and strings themselves, layers 30-20, functions their name."""
    if isinstance(value, tuple | list):
        return value[0] if len(value) == 1 else "-".join(map(str, value))
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    if isinstance(value, str | int | float | np.generic):
        return value
    raise ValueError(f"{name}: {value!r} needs a label; give a mapping from labels to values")


def make_cells(
    data: Dataset, settings: dict[str, Any], factory: Any, hyperparameters: dict[str, Any]
) -> tuple[dict[str, dict], list[Cell]]:
    """The axes of a grid, and its cells, the last axis running fastest; each cell checked."""
    given = settings | hyperparameters
    for name in hyperparameters:
        if name in RESERVED:
            raise ValueError(f"sweep cannot vary a hyper-parameter called {name}: wrap the optimizer")
    axes = {name: labelled for name, value in given.items() if (labelled := axis(name, value)) is not None}
    cells = []
    for labels in itertools.product(*axes.values()):
        chosen = given | {name: axes[name][label] for name, label in zip(axes, labels, strict=True)}
        optimizer = make_optimizer(factory, {name: chosen[name] for name in hyperparameters})
        cells.append(_make_cell(data, optimizer, **{name: chosen[name] for name in settings}))
    return axes, cells


def _make_cell(data: Dataset, optimizer: Optimizer, *, objective, hidden, init, initial_weights) -> Cell:
    if not isinstance(objective, Objective):
        raise ValueError(f"objective must be an Objective, not {objective!r}")
    if init is not None and (hidden is not None or initial_weights is not None):
        raise ValueError(
            "hidden and initial_weights are for dense networks: with an init of your own, leave them out"
        )
    for name, function in (("init", init), ("initial_weights", initial_weights)):
        if not (function is None or callable(function)):
            raise ValueError(f"{name} must be a function, such as nnjax.scaled, not {function!r}")
    draw = init or _dense(data, objective, 30 if hidden is None else hidden, initial_weights or gaussian)
    try:
        shapes = jax.eval_shape(draw, jax.random.key(0))
    except TypeError as error:
        raise ValueError(f"init must draw parameters from a key: {error}") from error
    check_data_fits(objective, shapes, data)
    return Cell(draw, shapes, objective, optimizer)


def _dense(data: Dataset, objective: Objective, hidden, initial_weights) -> Callable[[Array], Any]:
    """Draws a dense network whose first and last layers fit the data."""
    images, labels = data.train
    n_out = labels.shape[1] if labels.ndim > 1 else objective.code.outputs(data.num_classes)
    layers = hidden if isinstance(hidden, tuple | list) else (hidden,)
    sizes = check_sizes((images.shape[1], *layers, n_out))
    return partial(init, sizes=sizes, initial_weights=initial_weights)


def make_chunks(
    cells: Sequence[Cell],
    seeds: int,
    data: Dataset,
    batch_size: int,
    shared_batches: bool,
    at_once: int | None,
    devices: int = 1,
) -> Iterator[Chunk]:
    """All networks of the cells, program by program and as many at once as caches and memory allow."""
    own_batches = 0 if shared_batches else bytes_of(data.train)
    for members, padded in _groups(cells, data):
        networks = [(cell, seed) for cell in members for seed in range(seeds)]
        kept = own_batches + max(cells[i].state_bytes() for i in members)
        used = kept + max(cells[i].step_bytes(batch_size) for i in members)
        fit = devices * max(1, MEMORY // used)
        if jax.default_backend() == "cpu":  # whose virtual devices share its caches
            fit = min(fit, max(devices, CACHE // kept))
        for some in cut(networks, at_once or fit):
            yield Chunk(some, padded)


def _groups(cells: Sequence[Cell], data: Dataset) -> Iterator[tuple[list[int], Sizes | None]]:
    """Cells that one program can train, and the sizes to which it pads them, or None."""
    programs = defaultdict(list)
    for i, cell in enumerate(cells):
        programs[cell.program()].append(i)
    for members in programs.values():
        if not cells[members[0]].can_pad():
            yield members, None
            continue
        by_sizes = defaultdict(list)
        for i in members:
            by_sizes[sizes_of(cells[i].shapes)].append(i)
        for group in group_widths(by_sizes):
            narrowest = [cells[i] for i in by_sizes[group[-1]]]
            if len(group) == 1 or any(_mixes_units(cell, widest(group), data) for cell in narrowest):
                yield from ((by_sizes[sizes], None) for sizes in group)
            else:
                yield [i for sizes in group for i in by_sizes[sizes]], widest(group)


def _mixes_units(cell: Cell, padded: Sizes, data: Dataset) -> bool:
    draw, _, objective, optimizer = cell
    images, labels = (jnp.asarray(part[:10]) for part in data.train)
    return sees_padding(draw(jax.random.key(0)), padded, objective, optimizer, images, labels)


def group_widths(sizes: Iterable[Sizes]) -> list[list[Sizes]]:
    """Sizes of one depth in groups in which padding wastes little; the largest first.

    >>> group_widths([(64, 10, 10), (64, 30, 10), (64, 9, 10)])
    [[(64, 30, 10)], [(64, 10, 10), (64, 9, 10)]]
    """
    groups: list[list[Sizes]] = []
    for one in sorted(sizes, key=size, reverse=True):
        more = [*groups[-1], one] if groups else [one]
        if len(more) * size(widest(more)) <= WASTE * sum(map(size, more)):
            groups[-1:] = [more]
        else:
            groups.append([one])
    return groups


def size(sizes: Sizes) -> int:
    """The weights and biases of a dense network.

    >>> size((784, 30, 10))
    23860
    """
    return sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))


def widest(group: Sequence[Sizes]) -> Sizes:
    """The sizes to which all networks of a group are padded.

    >>> widest([(4, 2, 3, 1), (4, 5, 2, 1)])
    (4, 5, 3, 1)
    """
    return tuple(map(max, zip(*group, strict=True)))


def bytes_of(tree: Any) -> int:
    """The memory of a pytree of arrays, or of their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def cut(networks: Sequence, at_once: int) -> Iterator[Sequence]:
    """`networks` in chunks of nearly one length, at most `at_once` in each.

    >>> [list(chunk) for chunk in cut(range(7), 3)]
    [[0, 1, 2], [3, 4, 5], [6]]
    """
    length = math.ceil(len(networks) / math.ceil(len(networks) / at_once))
    for i in range(0, len(networks), length):
        yield networks[i : i + length]
