"""`sweep`: trains a grid of settings and seeds in as few compiled programs as the networks' shapes allow.

Random numbers: the sweep's key is split in two. The first key, folded with the seed, draws the initial
parameters, so they are the same for every setting. The second key is the key of `fit`. It is the same for
all networks; with `shared_batches=False` it is folded with the seed. `Grid.rng_keys` returns both.
"""

import contextlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn._shape_checks import check_metrics
from nnjax.nn.metrics import Metric
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Factory
from nnjax.optim.schedules import constant
from nnjax.runtime.checks import check_positive_int
from nnjax.runtime.multihost import check_consistent, on_primary
from nnjax.runtime.sharding import placer, with_auto_axes
from nnjax.storage import CheckpointPolicy, as_policy, lock_run_dir
from nnjax.sweep._plan import Chunk, make_cells, make_chunks, num_bytes
from nnjax.sweep._trainer import Trainer
from nnjax.sweep.grid import Grid, Keys, label_results
from nnjax.training._epoch_loop import check_arguments, run_fingerprint
from nnjax.training.history import History


class Progress(NamedTuple):
    """The progress of a sweep.

    Attributes:
      networks, num_networks: finished networks, and all networks.
      epoch, num_epochs: finished epochs of the networks in training, and all epochs.
      fraction: the fraction of all work that is done.
      settings: for each network in training, its labels in the grid, such as {"hidden": 30, "seed": 0}.
      history: the `History` of these networks so far, with a network axis.
    """

    networks: int
    num_networks: int
    epoch: int
    num_epochs: int
    fraction: float
    settings: list[dict[str, Any]]
    history: History


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
    schedule: Any = constant,
    ema_decay: Any = None,
    epochs: int = 30,
    batch_size: int = 10,
    shared_batches: bool = True,
    max_networks_per_program: int | None = None,
    checkpoint: str | PathLike | CheckpointPolicy | None = None,
    mesh: Mesh | None = None,
    callback: Callable[[Progress], None] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    evaluate_every: int = 1,
    hyperparameters: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Grid:
    """Trains every combination of settings with every seed, and labels the results.

    `hidden`, `init`, `initial_weights`, `objective`, `schedule`, `ema_decay` and each hyper-parameter of
    `optimizer` can be one value, a sequence of values, or a mapping from labels to values. A sequence or a
    mapping becomes an axis of the grid.

    Args:
      key: a `jax.random.key`.
      data: as for `fit`.
      hidden: neurons of the hidden layer: (30, 100) means two widths. Write networks with several hidden
        layers as tuples: [(30,), (30, 20)]. Default: 30, unless `init` is passed.
      seeds: networks per setting; seed s draws the same initial parameters for every setting.
      init: instead of `hidden`, a function that draws the parameters of any model from a key.
      initial_weights: the initial weights of dense networks: `standard_normal` (the default), `lecun`, `he`
        or a custom function.
      objective, optimizer, schedule, ema_decay, epochs, batch_size: as for `fit`.
      shared_batches: whether all networks train on the same mini-batches. This removes noise from
        comparisons and is faster. If False, each seed draws different mini-batches.
      max_networks_per_program: the maximum number of networks in one compiled program; by default as many
        as the caches and memory of the device allow.
      checkpoint: as for `fit`.
      mesh: devices, such as `jax.make_mesh((8,), ("data",))`, that share the networks.
      callback: called with the `Progress` after each epoch.
      metrics, evaluate_every: as for `fit`; the means of metrics are in `grid.data`.
      hyperparameters: arguments of `optimizer` as a mapping, for names that `sweep` has itself.
      **keywords: arguments of `optimizer`. Numbers do not need a new program; every other value
        (such as a boolean or a function) is compiled separately.

    Returns:
      A `Grid`, for example for `grid.test_accuracy.sel(learning_rate=3.0).mean("seed")`.

    Raises:
      ValueError: a wrong argument, or a checkpoint that was written with other settings; raised before
        training starts.

    >>> import nnjax
    >>> grid = sweep(jax.random.key(0), nnjax.load("digits"), hidden=(10, 30), seeds=2, epochs=20,
    ...              learning_rate=(0.01, 3.0))
    >>> grid
    Grid({'hidden': 2, 'learning_rate': 2, 'seed': 2, 'epoch': 20})
    >>> bool((grid.test_accuracy.isel(epoch=-1).sel(learning_rate=3.0) > 0.7).all())
    True
    """
    epochs, batch_size, num_steps = check_arguments(key, data, epochs, batch_size)
    seeds = check_positive_int("seeds", seeds)
    if max_networks_per_program is not None:
        check_positive_int("max_networks_per_program", max_networks_per_program)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback must be a function of the Progress, got {callback!r}")
    policy = as_policy(checkpoint)
    arguments = dict(hyperparameters or {}) | keywords
    model = {"objective": objective, "hidden": hidden, "init": init, "initial_weights": initial_weights}
    training = {"schedule": schedule, "ema_decay": ema_decay}
    axes, cells = make_cells(data, model, optimizer, training, arguments, num_steps)
    mesh = with_auto_axes(mesh)
    # Transferred first, so that the time of the first epoch does not include it.
    splits = jax.block_until_ready(placer(mesh)((data.train, data.validation, data.test)))
    keys, evaluate_every = Keys(key, shared_batches), check_positive_int("evaluate_every", evaluate_every)
    checked_metrics = check_metrics(metrics, cells[0].objective, cells[0].shapes, data)
    trainer = Trainer(cells, keys, splits, epochs, batch_size, mesh, checked_metrics, evaluate_every)
    chunks = list(
        make_chunks(
            cells, seeds, data, batch_size, shared_batches, max_networks_per_program, trainer.num_devices
        )
    )

    with contextlib.ExitStack() as stack:
        if policy or jax.process_count() > 1:
            settings = model | training | arguments
            settings |= {name: _shown(axis) for name, axis in axes.items()}
            if any(cell.optimizer.num_steps is not None for cell in cells):
                settings["num_steps"] = num_steps
            fingerprint = run_fingerprint(
                key, data, batch_size, **settings, optimizer=optimizer, seeds=seeds,
                shared_batches=shared_batches, metrics=sorted(metrics or ()), evaluate_every=evaluate_every,
                devices=trainer.num_devices,
                programs=[len(chunk.networks) for chunk in chunks],
            )  # fmt: skip
            check_consistent(fingerprint | {"epochs": epochs, "checkpoint": policy is not None})
            if policy:
                lock = lock_run_dir(Path(policy.directory), fingerprint, policy.display_settings)
                on_primary(lambda: stack.enter_context(lock))
        labels = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        work = [len(c.networks) * num_bytes(cells[c.networks[0][0]].shapes) for c in chunks]
        report = _Reporter(callback, chunks, labels, work, epochs)
        histories, params = _train_all(trainer, chunks, policy, report)
    networks = [params[cell, seed] for cell in range(len(cells)) for seed in range(seeds)]
    return Grid(*label_results(axes, seeds, chunks, histories), networks, trainer.keys)


def _shown(axis: dict[Any, Any]) -> Any:
    """An axis for messages: the values, with their labels if these are not the values."""
    return list(axis) if list(axis) == list(axis.values()) else axis


def _train_all(
    trainer: Trainer,
    chunks: list[Chunk],
    policy: CheckpointPolicy | None,
    report: Callable[[int, History], None],
) -> tuple[list[History], dict[tuple[int, int], Any]]:
    """The history of each chunk, and the final parameters of each (cell, seed)."""
    histories, params = [], {}
    for i, chunk in enumerate(chunks):
        chunk_policy = policy and replace(policy, directory=Path(policy.directory) / f"program-{i}")
        history, final = trainer.train(chunk, partial(report, i), chunk_policy)
        histories.append(history)
        params |= zip(chunk.networks, final, strict=True)
    return histories, params


@dataclass(frozen=True)
class _Reporter:
    """Calls `callback` with the progress after each epoch."""

    callback: Callable[[Progress], None] | None
    chunks: list[Chunk]
    labels: list[dict[str, Any]]  # of each cell
    work: list[int]  # of each chunk, in any unit
    epochs: int

    def __call__(self, i: int, history: History) -> None:
        """Reports an epoch of chunk i."""
        if not self.callback:
            return
        networks = [len(chunk.networks) for chunk in self.chunks]
        done = sum(self.work[:i]) + self.work[i] * len(history) / self.epochs
        settings = [self.labels[cell] | {"seed": seed} for cell, seed in self.chunks[i].networks]
        self.callback(
            Progress(
                sum(networks[:i]), sum(networks), len(history), self.epochs, done / sum(self.work),
                settings, history,
            )
        )  # fmt: skip
