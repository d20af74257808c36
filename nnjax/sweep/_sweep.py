"""`sweep`: trains a grid of settings and seeds in as few compiled programs as the networks' shapes allow.

Random numbers: the sweep's key is split in two. The first key, folded with the seed, draws the initial
parameters, so they are the same for every setting. The second key is the key of `fit`. It is the same for
all networks; with `shared_batches=False` it is folded with the seed. `Grid.rng_keys` returns both.
"""

import contextlib
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn._shape_checks import check_metrics
from nnjax.nn.metrics import Metric, Metrics
from nnjax.nn.objective import Objective
from nnjax.optim.schedules import constant
from nnjax.runtime.checks import check_positive_int
from nnjax.runtime.executors import Executor, Workers, make_workers
from nnjax.runtime.limits import num_threads
from nnjax.runtime.multihost import check_consistent, on_primary
from nnjax.runtime.sharding import placer, with_auto_axes
from nnjax.storage import CheckpointPolicy, as_policy, lock_run_dir
from nnjax.sweep._axes import Axes, make_axes
from nnjax.sweep._chunks import Progress, Reporter, TrainedChunk, train_chunks
from nnjax.sweep._halving import Halving, check_halving, train_stages
from nnjax.sweep._plan import Cell, Chunk, make_cells, make_chunks
from nnjax.sweep._trainer import Trainer
from nnjax.sweep._units import train_on
from nnjax.sweep.grid import Grid, Keys, make_grid
from nnjax.training._epoch_loop import check_arguments, run_fingerprint
from nnjax.training._observe import check_watched_size, check_watches
from nnjax.training._programs import calls_compiled_programs
from nnjax.training.budget import Budget, make_budget
from nnjax.watch import Watch


def sweep(
    key: Array,
    data: Dataset,
    *,
    hidden: Any = None,
    seeds: int = 1,
    init: Any = None,
    initial_weights: Any = None,
    objective: Any = Objective(),
    optimizer: Any = optax.sgd,
    schedule: Any = constant,
    ema_decay: Any = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: Any = 10,
    drop_remainder: bool = False,
    zip: Mapping[str, Any] | None = None,
    shared_batches: bool = True,
    max_networks_per_program: int | None = None,
    checkpoint: str | PathLike | CheckpointPolicy | None = None,
    halving: Halving | None = None,
    mesh: Mesh | None = None,
    threads: int | None = None,
    executor: Executor | None = None,
    unit_timeout_s: float = 600.0,
    callback: Callable[[Progress], None] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    evaluate_every: int | None = None,
    watch: Mapping[str, Callable | Watch] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Grid:
    """Trains every combination of settings with every seed, and labels the results.

    `hidden`, `init`, `initial_weights`, `objective`, `optimizer`, `schedule`, `ema_decay`, `batch_size` and
    each hyper-parameter of the optimizer can be one value, a sequence of values, or a mapping from labels to
    values. A sequence or a mapping becomes an axis of the grid. Each optimizer and each batch size needs a
    program of its own.

    Args:
      key: a `jax.random.key`.
      data: as for `fit`.
      hidden: neurons of the hidden layer: (30, 100) means two widths. Write networks with several hidden
        layers as tuples: [(30,), (30, 20)]. Default: 30, unless `init` is passed.
      seeds: networks per setting; seed s draws the same initial parameters for every setting.
      init: instead of `hidden`, a function that draws the parameters of any model from a key.
      initial_weights: the initial weights of dense networks: `standard_normal` (the default), `lecun`, `he`
        or a custom function.
      objective, optimizer, schedule, ema_decay, epochs, steps, batch_size, drop_remainder: as for `fit`.
      zip: settings that vary together, as in random search: sequences of equal length by name. They replace
        the arguments of these names. The values at one position of all sequences are one point. The grid has
        an axis `point`, with these settings as coordinates. If `seed` is one of them, it replaces `seeds`;
        otherwise every point is trained with every seed. Every combination of the other axes is trained at
        every point.
      shared_batches: whether all networks train on the same mini-batches. This removes noise from
        comparisons and is faster. If False, each seed draws different mini-batches.
      max_networks_per_program: the maximum number of networks that are trained together; by default as many
        as the caches and memory of the device allow.
      checkpoint: as for `fit`.
      halving: stops the networks with the lowest validation accuracy, as in `nnjax.Halving(every_epochs=2)`.
        Their later epochs are missing. `grid.data["stopped_at"]` is the last epoch (from 0) of each network
        that was stopped, and -1 for the others.
      mesh: devices, such as `jax.make_mesh((8,), ("data",))`, that share the networks.
      threads: on a CPU without `mesh`, the number of threads that train networks at the same time; by default
        the number of cores that this process may use. For dense networks that share their mini-batches,
        results with another number are equal up to rounding; for all others, they are bit-identical.
      executor: an object with a method `submit`, such as a `concurrent.futures` executor or a Dask `Client`.
        It trains the networks in other processes or on other machines. The networks of one program are a unit
        of work. `mesh` and `halving` cannot be used with it. With `checkpoint`, each result is stored when it
        arrives.
      unit_timeout_s: with `executor`, the maximum time of a unit of work in seconds. A unit counts as lost if
        it takes longer, or if its worker dies. It is then submitted again, up to three attempts in total.
      callback: called with the `Progress` after each epoch, or after each evaluation if `steps` is passed;
        with `executor`, after each finished unit of work.
      metrics, evaluate_every, watch: as for `fit`. The means of metrics are in `grid.data`, and the watched
        values are in `grid.watched`. With `watch`, networks are neither padded nor trained in blocks; with
        `steps`, they are not trained in blocks.
      hyperparameters: arguments of `optimizer` as a mapping, for names that `sweep` has itself.
      **keywords: arguments of `optimizer`. Numbers do not need a new program; every other value
        (such as a boolean or a function) is compiled separately.

    Returns:
      A `Grid`, for example for `grid.test_accuracy.sel(learning_rate=3.0).mean("seed")`.

    Raises:
      ValueError: a wrong argument, or a checkpoint that was written with other settings; raised before
        training starts.
      UnitsLost: with `executor`, a unit of work was lost three times; raised after all others have finished.

    >>> import nnjax
    >>> grid = sweep(jax.random.key(0), nnjax.load("digits"), hidden=(10, 30), seeds=2, epochs=20,
    ...              learning_rate=(0.01, 3.0))
    >>> grid
    Grid({'hidden': 2, 'learning_rate': 2, 'seed': 2, 'epoch': 20})
    >>> bool((grid.test_accuracy.isel(epoch=-1).sel(learning_rate=3.0) > 0.7).all())
    True
    """
    check_arguments(key, data)
    budget = make_budget(epochs, steps, evaluate_every, drop_remainder)
    if max_networks_per_program is not None:
        check_positive_int("max_networks_per_program", max_networks_per_program)
    check_halving(halving, data, budget)
    workers = make_workers(executor, unit_timeout_s)
    _check_executor(workers, mesh, halving)
    threads = _num_threads(threads, mesh)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback must be a function of the Progress, got {callback!r}")
    policy = as_policy(checkpoint)
    arguments = dict(hyperparameters or {}) | keywords
    settings = {
        "objective": objective, "hidden": hidden, "init": init, "initial_weights": initial_weights,
        "optimizer": optimizer, "schedule": schedule, "ema_decay": ema_decay, "batch_size": batch_size,
    } | arguments  # fmt: skip
    axes = make_axes(settings, zip, seeds)
    names = [*arguments, *(name for name in zip or () if name not in {*settings, "seed"})]
    cells = make_cells(data, axes, settings, names, budget)
    mesh = with_auto_axes(mesh)
    # Transferred first, so that the time of the first epoch does not include it.
    splits = jax.block_until_ready(placer(mesh)((data.train, data.validation, data.test)))
    checked_metrics, watches = _check_observers(metrics, watch, cells, data)
    keys, watches = Keys(key, shared_batches), placer(mesh)(watches)
    trainer = Trainer(cells, keys, splits, budget, mesh, threads, checked_metrics, watches)
    chunks = _make_chunks(trainer, axes.networks(), data, max_networks_per_program)

    with contextlib.ExitStack() as stack:
        if policy or jax.process_count() > 1:
            settings |= axes.shown() | _num_steps(cells) | {
                "seeds": seeds, "shared_batches": shared_batches, "metrics": sorted(metrics or ()),
                "watch": sorted(watches), "devices": trainer.num_devices, "threads": threads,
                "programs": [len(chunk.networks) for chunk in chunks], "halving": halving,
                # On an executor, a stored result is that of a complete training.
                "epochs or steps with executor": budget.total if workers else None,
            }  # fmt: skip
            fingerprint = budget.fingerprint() | run_fingerprint(key, data, settings)
            check_consistent(fingerprint | {"total": budget.total, "checkpoint": policy is not None})
            if policy:
                lock = lock_run_dir(Path(policy.directory), fingerprint, policy.display_settings)
                on_primary(lambda: stack.enter_context(lock))
        share = halving.share(budget.total, len(axes.networks())) if halving else 1.0
        reporter = Reporter(callback, chunks, cells, axes.labels(), budget, share)
        if workers:
            trained = train_on(workers, trainer, chunks, data, policy, reporter)
        elif halving:
            trained = train_stages(trainer, chunks, halving, policy, reporter)
        else:
            trained = list(train_chunks(trainer, chunks, policy, reporter))
    return _grid(trained, axes, trainer.keys, budget, halving is not None)


def _check_observers(
    metrics: Mapping[str, Metric] | None,
    watch: Mapping[str, Callable | Watch] | None,
    cells: list[Cell],
    data: Dataset,
) -> tuple[Metrics, dict[str, Watch]]:
    """The metrics and the watches, checked with each of the programs."""
    checked_metrics, watches = (), {}
    for cell in {cell.program(): cell for cell in cells}.values():
        checked_metrics = check_metrics(metrics, cell.objective, cell.shapes, data)
        watches = check_watches(watch, cell.shapes)
    return checked_metrics, watches


def _make_chunks(
    trainer: Trainer, networks: list[tuple[int, int]], data: Dataset, max_networks: int | None
) -> list[Chunk]:
    """The networks that are trained together; raises ValueError if the watched values exceed the memory."""
    watched = [trainer.watched_shapes(cell) for cell in trainer.cells]
    check_watched_size([watched[i] for i, _ in networks], len(trainer.budget.row_ends))
    copies = trainer.budget.unit == "epoch" and not trainer.keys.shared_batches and not trainer.threads
    limits = max_networks, max(trainer.num_devices, trainer.threads)
    pads = not trainer.watches
    return list(make_chunks(trainer.cells, networks, data, copies, *limits, pads, trainer.is_separate))


def _grid(parts: list[TrainedChunk], axes: Axes, keys: Keys, budget: Budget, has_stops: bool) -> Grid:
    """The results of all chunks."""
    params = {
        network: of_network
        for chunk, trained in parts
        for network, of_network in zip(chunk.networks, trained.params, strict=True)
    }
    chunks, histories = [part.chunk for part in parts], [part.trained.history for part in parts]
    ordered = [params[network] for network in axes.networks()]
    return make_grid(axes, chunks, histories, ordered, keys, budget, has_stops)


def _check_executor(workers: Workers | None, mesh: Mesh | None, halving: Halving | None) -> None:
    """Raises ValueError for arguments with which an executor cannot be combined."""
    for name, value in (("mesh", mesh), ("halving", halving)):
        if workers and value is not None:
            raise ValueError(f"{name} must be None if executor is passed, got {value!r}")


def _num_threads(threads: int | None, mesh: Mesh | None) -> int:
    """The number of threads that train networks; 0 with a mesh or on an accelerator."""
    if threads is not None:
        check_positive_int("threads", threads)
        if mesh is not None:
            raise ValueError(f"threads must be None if mesh is passed, got {threads}")
    if jax.default_backend() != "cpu" or not calls_compiled_programs(mesh):
        return 0
    return threads or num_threads()


def _num_steps(cells: list[Cell]) -> dict[str, Any]:
    """The total numbers of steps on which schedules depend; nothing if none does."""
    num_steps = sorted({int(cell.optimizer.num_steps or 0) for cell in cells} - {0})
    return {"num_steps": num_steps[0] if len(num_steps) == 1 else num_steps} if num_steps else {}
