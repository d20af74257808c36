"""The plan of a sweep: axes -> cells (combinations of settings) -> programs -> chunks of networks."""

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
from nnjax.nn._shape_checks import check_dataset, num_outputs
from nnjax.nn.dense import Dense, check_sizes, init, is_dense, sizes_of, standard_normal
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Optimizer, make_optimizer
from nnjax.sweep._population import padding_changes_training
from nnjax.training.history import COLUMNS

# The maximum ratio of the number of parameters of a group with padding to that without padding.
MAX_PADDING_RATIO = 1.25

# The maximum training state of one program on a CPU. It has to fit into the caches: with twice as much,
# training a network took twice as long.
CPU_CACHE_BYTES = 6 * 2**20

# The memory of one program if the device does not report its memory.
DEFAULT_MEMORY_BYTES = 2**30

# Names of the coordinates and variables of every grid; an axis must have another name.
RESERVED = ("seed", "epoch", *COLUMNS, "diverged_at", "validation_accuracy", "test_accuracy")

Sizes = tuple[int, ...]


class Cell(NamedTuple):
    """One combination of settings: the values that its networks share, and the shapes of their parameters."""

    draw: Callable[[Array], Any]
    shapes: Any
    objective: Objective
    optimizer: Optimizer

    def can_pad(self) -> bool:
        """Whether its networks can be padded: only the built-in dense networks can."""
        return is_dense(self.shapes) and isinstance(self.objective.forward, Dense)

    def program(self) -> tuple:
        """A key that is equal for cells which one program can train: everything but numbers and widths."""
        trees = (jax.tree.structure(part) for part in (self.shapes, self.objective, self.optimizer))
        leaves = jax.tree.leaves(self.shapes)
        fixed = sizes_of(self.shapes)[:: len(self.shapes)] if self.can_pad() else [x.shape for x in leaves]
        numbers = map(jnp.shape, jax.tree.leaves(self.objective))
        return *trees, *fixed, *numbers, *(x.dtype for x in leaves)

    def state_bytes(self) -> int:
        """The memory of one network's training state: parameters and optimizer state."""
        return num_bytes((self.shapes, jax.eval_shape(self.optimizer.init, self.shapes)))

    def step_bytes(self, batch_size: int) -> int:
        """An estimate of the memory of one step: z, a and their gradients for each example and unit."""
        leaves = jax.tree.leaves(self.shapes)
        return batch_size * sum(4 * x.dtype.itemsize * x.shape[0] for x in leaves if x.ndim)


class Chunk(NamedTuple):
    """The networks of one program as pairs (cell, seed).

    `padded` are the layer sizes to which they are padded, or None for no padding.
    """

    networks: Sequence[tuple[int, int]]
    padded: Sizes | None


def parse_axis(name: str, value: Any) -> dict[Any, Any] | None:
    """An axis as a mapping from labels to values; None if `value` is a single value.

    >>> parse_axis("hidden", (30, (30, 20)))
    {30: 30, '30x20': (30, 20)}
    """
    if isinstance(value, Mapping):
        axis = {_label(name, label): element for label, element in value.items()}
    elif isinstance(value, list | tuple | range) or (
        isinstance(value, np.ndarray | jax.Array) and value.ndim == 1
    ):
        values = list(map(_python_number, np.asarray(value))) if hasattr(value, "dtype") else value
        labels = [_label(name, element) for element in values]
        axis = dict(zip(labels, values, strict=True))
        if len(axis) < len(labels):
            repeated = next(label for label in labels if labels.count(label) > 1)
            raise ValueError(
                f"{name} must have distinct values and labels, got {repeated!r} twice: remove one, or pass a "
                "mapping from labels to values"
            )
    else:
        return None
    if not axis:
        raise ValueError(f"{name} must have at least one value, got none")
    return axis


def _python_number(value: np.generic) -> Any:
    """An array's element as a Python number: float32 0.3, stored as 0.30000001, becomes 0.3."""
    return float(str(value)) if value.dtype.kind == "f" else value.item()


def _label(name: str, value: Any) -> Any:
    """The label of a value: a number or a string as it is, layers as "30x20", a function as its name."""
    if isinstance(value, tuple | list):
        return value[0] if len(value) == 1 else "x".join(map(str, value))
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    if isinstance(value, str | int | float | np.generic):
        return value
    raise ValueError(
        f"{name} must be a mapping from labels to values if the values have no names, got {value!r}"
    )


def make_cells(
    data: Dataset,
    model: dict[str, Any],
    factory: Any,
    training: dict[str, Any],
    hyperparameters: dict[str, Any],
    num_steps: int,
) -> tuple[dict[str, dict], list[Cell]]:
    """The axes of a grid and its checked cells, in the order in which the last axis varies fastest."""
    settings = model | training | hyperparameters
    axes = {name: axis for name, value in settings.items() if (axis := parse_axis(name, value)) is not None}
    for name in axes:
        if name in RESERVED:
            raise ValueError(
                f"a swept hyper-parameter must not be called {name}, because the grid uses this name: rename "
                "it with a function around the optimizer"
            )
    cells = []
    for labels in itertools.product(*axes.values()):
        chosen = settings | {name: axes[name][label] for name, label in zip(axes, labels, strict=True)}
        optimizer = make_optimizer(
            factory,
            {name: chosen[name] for name in hyperparameters},
            num_steps=num_steps,
            **{name: chosen[name] for name in training},
        )
        cells.append(_make_cell(data, optimizer, **{name: chosen[name] for name in model}))
    return axes, cells


def _make_cell(data: Dataset, optimizer: Optimizer, *, objective, hidden, init, initial_weights) -> Cell:
    if not isinstance(objective, Objective):
        raise ValueError(f"objective must be an Objective, got {objective!r}")
    if init is not None and (hidden is not None or initial_weights is not None):
        raise ValueError("hidden and initial_weights must be None if init is passed, got both")
    for name, function in (("init", init), ("initial_weights", initial_weights)):
        if not (function is None or callable(function)):
            raise ValueError(f"{name} must be a function, such as nnjax.lecun, got {function!r}")
    draw = init or _dense_init(
        data, objective, 30 if hidden is None else hidden, initial_weights or standard_normal
    )
    try:
        shapes = jax.eval_shape(draw, jax.random.key(0))
    except TypeError as error:
        raise ValueError(
            f"init must be a function from a key to parameters, got {init!r}: {error}"
        ) from error
    check_dataset(objective, shapes, data)
    return Cell(draw, shapes, objective, optimizer)


def _dense_init(data: Dataset, objective: Objective, hidden, initial_weights) -> Callable[[Array], Any]:
    """Draws a dense network whose first and last layers fit the data."""
    n_out = num_outputs(objective.code, data)
    layers = hidden if isinstance(hidden, tuple | list) else (hidden,)
    sizes = check_sizes((math.prod(data.input_shape), *layers, n_out))
    return partial(init, sizes=sizes, initial_weights=initial_weights)


def make_chunks(
    cells: Sequence[Cell],
    seeds: int,
    data: Dataset,
    batch_size: int,
    shared_batches: bool,
    max_networks_per_program: int | None,
    devices: int = 1,
) -> Iterator[Chunk]:
    """Splits all networks into chunks, each as large as caches and memory allow."""
    batches_bytes = 0 if shared_batches else num_bytes(data.train)
    for members, padded in _groups(cells, data):
        networks = [(cell, seed) for cell in members for seed in range(seeds)]
        state = batches_bytes + max(cells[i].state_bytes() for i in members)
        total = state + max(cells[i].step_bytes(batch_size) for i in members)
        maximum = devices * max(1, _memory_bytes() // total)
        if jax.default_backend() == "cpu":  # virtual CPU devices share one cache
            maximum = min(maximum, max(devices, CPU_CACHE_BYTES // state))
        for part in split_evenly(networks, max_networks_per_program or maximum):
            yield Chunk(part, padded)


def _memory_bytes() -> int:
    """The memory that one program may use: half of the device's, or a default if it is not reported."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return limit // 2 if limit else DEFAULT_MEMORY_BYTES


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
            if len(group) == 1 or any(_mixes_units(cell, padded_sizes(group), data) for cell in narrowest):
                yield from ((by_sizes[sizes], None) for sizes in group)
            else:
                yield [i for sizes in group for i in by_sizes[sizes]], padded_sizes(group)


def _mixes_units(cell: Cell, padded: Sizes, data: Dataset) -> bool:
    inputs, targets = (jnp.asarray(part[:10]) for part in data.train)
    params = cell.draw(jax.random.key(0))
    return padding_changes_training(params, padded, cell.objective, cell.optimizer, inputs, targets)


def group_widths(sizes: Iterable[Sizes]) -> list[list[Sizes]]:
    """Groups sizes of equal depth so that padding adds few parameters; the largest sizes come first.

    >>> group_widths([(64, 10, 10), (64, 30, 10), (64, 9, 10)])
    [[(64, 30, 10)], [(64, 10, 10), (64, 9, 10)]]
    """
    groups: list[list[Sizes]] = []
    for network in sorted(sizes, key=num_params, reverse=True):
        larger = [*groups[-1], network] if groups else [network]
        padded, needed = len(larger) * num_params(padded_sizes(larger)), sum(map(num_params, larger))
        if padded <= MAX_PADDING_RATIO * needed:
            groups[-1:] = [larger]
        else:
            groups.append([network])
    return groups


def num_params(sizes: Sizes) -> int:
    """The number of weights and biases of a dense network.

    >>> num_params((784, 30, 10))
    23860
    """
    return sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))


def padded_sizes(group: Sequence[Sizes]) -> Sizes:
    """The sizes to which all networks of a group are padded.

    >>> padded_sizes([(4, 2, 3, 1), (4, 5, 2, 1)])
    (4, 5, 3, 1)
    """
    return tuple(map(max, zip(*group, strict=True)))


def num_bytes(tree: Any) -> int:
    """The memory of a pytree of arrays, or of their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def split_evenly(networks: Sequence, maximum: int) -> Iterator[Sequence]:
    """Splits `networks` into chunks of nearly equal length, at most `maximum` each.

    >>> [list(chunk) for chunk in split_evenly(range(7), 3)]
    [[0, 1, 2], [3, 4, 5], [6]]
    """
    length = math.ceil(len(networks) / math.ceil(len(networks) / maximum))
    for i in range(0, len(networks), length):
        yield networks[i : i + length]
