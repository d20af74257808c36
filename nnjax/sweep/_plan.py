"""The plan of a sweep: axes -> cells (combinations of settings) -> programs -> chunks of networks."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn._shape_checks import check_dataset, num_outputs
from nnjax.nn.dense import Dense, check_sizes, init, is_dense, sizes_of, standard_normal
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Optimizer, checked_schedule, make_optimizer
from nnjax.optim.schedules import SCHEDULES, is_named
from nnjax.runtime.limits import total_memory
from nnjax.sweep._axes import Axes
from nnjax.sweep._population import padding_changes_training
from nnjax.training._epoch_loop import check_batch_size
from nnjax.training.budget import Budget

# The maximum ratio of the number of parameters of a group with padding to that without padding.
MAX_PADDING_RATIO = 1.25

# The maximum training state of the networks that one core of a CPU trains together. It has to fit into the
# caches: with twice as much, training a network took twice as long.
CPU_CACHE_BYTES = 3 * 2**20

# The maximum number of networks in a chunk that threads train one by one or a few at a time. A chunk is saved
# after each of its epochs, so a larger one would lose more work when it is interrupted.
MAX_SEPARATE_NETWORKS = 64

# The part of the memory that the networks of a chunk may use, and the number of their copies: before and
# after an epoch, and in the parts that threads train.
MEMORY_FRACTION, COPIES = 0.8, 3

Sizes = tuple[int, ...]


class Cell(NamedTuple):
    """One combination of settings: the values that its networks share, and the shapes of their parameters."""

    draw: Callable[[Array], Any]
    shapes: Any
    objective: Objective
    optimizer: Optimizer
    batch_size: int

    def can_pad(self) -> bool:
        """Whether its networks can be padded: only the built-in dense networks can."""
        return is_dense(self.shapes) and isinstance(self.objective.forward, Dense)

    def program(self) -> tuple:
        """A key that is equal for cells which one program can train: everything but numbers and widths."""
        trees = (jax.tree.structure(part) for part in (self.shapes, self.objective, self.optimizer))
        leaves = jax.tree.leaves(self.shapes)
        fixed = sizes_of(self.shapes)[:: len(self.shapes)] if self.can_pad() else [x.shape for x in leaves]
        numbers = map(jnp.shape, jax.tree.leaves(self.objective))
        return *trees, self.batch_size, *fixed, *numbers, *(x.dtype for x in leaves)

    def state_bytes(self) -> int:
        """The memory of one network's training state: parameters and optimizer state."""
        return num_bytes((self.shapes, jax.eval_shape(self.optimizer.init, self.shapes)))

    def step_bytes(self) -> int:
        """An estimate of the memory of one step: z, a and their gradients for each example and unit."""
        leaves = jax.tree.leaves(self.shapes)
        return self.batch_size * sum(4 * x.dtype.itemsize * x.shape[0] for x in leaves if x.ndim)


class Chunk(NamedTuple):
    """The networks of one program as pairs (cell, seed).

    `padded` are the layer sizes to which they are padded, or None for no padding.
    """

    networks: Sequence[tuple[int, int]]
    padded: Sizes | None


def make_cells(
    data: Dataset, axes: Axes, settings: Mapping[str, Any], hyperparameters: Iterable[str], budget: Budget
) -> list[Cell]:
    """The checked cells of a grid.

    Args:
      data: the data set.
      axes: the axes of the grid.
      settings: all settings by name; the values of the axes replace them.
      hyperparameters: the names of the settings that are arguments of the optimizer.
      budget: the length of the training.
    """
    chosen = [{**settings} | {name: value for name, (_, value) in cell.items()} for cell in axes.cells()]
    # All networks of a program choose from the same schedules.
    schedules = tuple(dict.fromkeys(checked_schedule(of_cell["schedule"]) for of_cell in chosen))
    if len(schedules) > 1 and all(map(is_named, schedules)):
        schedules = tuple(SCHEDULES.values())  # so that sweeps with other choices share the program
    cells = []
    for of_cell in chosen:
        batch_size = check_batch_size(of_cell["batch_size"], data)
        optimizer = make_optimizer(
            of_cell["optimizer"],
            {name: of_cell[name] for name in hyperparameters},
            of_cell["schedule"],
            budget.num_steps(len(data.train.targets), batch_size),
            of_cell["ema_decay"],
            schedules,
        )
        model = {name: of_cell[name] for name in ("objective", "hidden", "init", "initial_weights")}
        cells.append(_make_cell(data, optimizer, batch_size, **model))
    for cell in {cell.program(): cell for cell in cells}.values():
        check_dataset(cell.objective, cell.shapes, data)
    return cells


def _make_cell(
    data: Dataset, optimizer: Optimizer, batch_size: int, *, objective, hidden, init, initial_weights
) -> Cell:
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
    return Cell(draw, shapes, objective, optimizer, batch_size)


def _dense_init(data: Dataset, objective: Objective, hidden, initial_weights) -> Callable[[Array], Any]:
    """Draws a dense network whose first and last layers fit the data."""
    n_out = num_outputs(objective.code, data)
    layers = hidden if isinstance(hidden, tuple | list) else (hidden,)
    sizes = check_sizes((math.prod(data.input_shape), *layers, n_out))
    return partial(init, sizes=sizes, initial_weights=initial_weights)


def make_chunks(
    cells: Sequence[Cell],
    networks: Sequence[tuple[int, int]],
    data: Dataset,
    shuffled_copies: bool,
    max_networks_per_program: int | None,
    devices: int = 1,
    can_pad: bool = True,
    is_separate: Callable[[Cell], bool] = lambda cell: False,
) -> Iterator[Chunk]:
    """Splits all networks into chunks, each as large as caches and memory allow.

    Args:
      cells: the combinations of settings.
      networks: pairs (cell, seed).
      data: the data set.
      shuffled_copies: whether a program shuffles a copy of the training examples for each network. With
        `steps`, it gathers each mini-batch from the data set.
      max_networks_per_program: as for `sweep`.
      devices: the number of devices or threads that share the networks of a chunk.
      can_pad: whether networks may be padded.
      is_separate: whether threads train the networks with the settings of a cell one by one or a few at a
        time. The size of their chunks does not depend on the number of threads, so neither do their results.
    """
    batches_bytes = num_bytes(data.train) if shuffled_copies else 0
    by_cell = defaultdict(list)
    for cell, seed in networks:
        by_cell[cell].append((cell, seed))
    for members, padded in _groups(cells, data, can_pad):
        state = batches_bytes + max(cells[i].state_bytes() for i in members)
        total = state + max(cells[i].step_bytes() for i in members)
        maximum = max(1, int(_memory_bytes() / (COPIES * total)))
        if jax.default_backend() != "cpu":
            maximum *= devices
        elif is_separate(cells[members[0]]):
            maximum = min(maximum, MAX_SEPARATE_NETWORKS)
        else:  # the devices or threads of a CPU share its memory, but each has caches
            maximum = max(devices, min(maximum, devices * max(1, CPU_CACHE_BYTES // state)))
        group = [network for cell in members for network in by_cell[cell]]
        for part in split_evenly(group, max_networks_per_program or maximum):
            yield Chunk(part, padded)


def _memory_bytes() -> float:
    """The memory that one program may use: most of the device's, or of what this process may use on a CPU.

    Not what is free at the moment: a resumed sweep must have the same plan.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    return MEMORY_FRACTION * stats.get("bytes_limit", total_memory())


def _groups(cells: Sequence[Cell], data: Dataset, can_pad: bool) -> Iterator[tuple[list[int], Sizes | None]]:
    """Cells that one program can train, and the sizes to which it pads them, or None."""
    programs = defaultdict(list)
    for i, cell in enumerate(cells):
        shapes = () if can_pad else tuple(x.shape for x in jax.tree.leaves(cell.shapes))
        programs[cell.program(), shapes].append(i)
    for members in programs.values():
        if not (can_pad and cells[members[0]].can_pad()):
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
