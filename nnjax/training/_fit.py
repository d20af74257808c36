"""`fit`: trains one network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn._shape_checks import check_dataset, check_metrics
from nnjax.nn.metrics import Metric
from nnjax.nn.objective import Objective
from nnjax.optim.optimizers import Factory, Optimizer, make_optimizer
from nnjax.optim.schedules import Schedule, constant
from nnjax.runtime.checks import stable_repr
from nnjax.runtime.fingerprint import PROGRAM
from nnjax.runtime.multihost import check_consistent
from nnjax.runtime.sharding import placer, with_auto_axes
from nnjax.storage import CheckpointPolicy, as_policy, digest, open_checkpoints
from nnjax.training._epoch_loop import (
    check_arguments,
    check_batch_size,
    evaluate_epoch,
    optimizer_fingerprint,
    run_epochs,
    run_fingerprint,
)
from nnjax.training._observe import check_watched_size, check_watches, due_steps, watched_shapes
from nnjax.training._programs import Programs
from nnjax.training.budget import make_budget
from nnjax.training.divergence import find_divergence
from nnjax.training.epoch import train_epoch
from nnjax.training.history import History, empty_history
from nnjax.training.run import Divergence, Run
from nnjax.training.step import TrainState, copy_tree, init_state, no_order
from nnjax.watch import Watch


def fit(
    key: Array,
    params: Any,
    data: Dataset,
    *,
    objective: Objective = Objective(),
    optimizer: Factory | optax.GradientTransformation = optax.sgd,
    schedule: str | Schedule = constant,
    ema_decay: float | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 10,
    drop_remainder: bool = False,
    callback: Callable[[Run], bool | None] | None = None,
    stop_on_nan: bool = False,
    locate_nan: bool = False,
    checkpoint: str | PathLike | CheckpointPolicy | None = None,
    mesh: Mesh | None = None,
    metrics: Mapping[str, Metric] | None = None,
    evaluate_every: int | None = None,
    watch: Mapping[str, Callable | Watch] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Run:
    """Trains by stochastic gradient descent on mini-batches, and evaluates after each epoch.

    Args:
      key: a `jax.random.key`. The same key gives the same bits on the same machine and versions;
        `nnjax.training.epoch` documents how an epoch's random numbers are derived from it.
      params: the initial parameters: any pytree that `objective.forward` accepts. They are copied, so yours
        are not changed.
      data: a `Dataset`: `data.train` is for training, `data.validation` and `data.test` for evaluation.
      objective: forward, cost, code and penalty; by default those of the book.
      optimizer: an optax factory, such as `optax.sgd` or `optax.adam`, whose hyper-parameters are passed
        by name; or a ready `optax.GradientTransformation`.
      schedule: the learning-rate schedule: "constant", "linear", "cosine", "warmup_linear",
        "warmup_cosine", or an optax schedule: a function from the step (from 0) to a factor of the learning
        rate.
      ema_decay: if set, evaluation uses an exponential moving average of the parameters with this decay.
      epochs: the number of passes over the training examples; 30 by default.
      steps: the number of training steps, instead of `epochs`. The history then has a row for each
        evaluation, instead of a row for each epoch.
      batch_size: examples in a mini-batch; the last one of an epoch may be smaller.
      drop_remainder: whether a smaller last mini-batch of an epoch is dropped. Every epoch then drops other
        examples.
      callback: a function of the `Run`, called after each row of the history; training stops if it returns
        True.
      stop_on_nan: whether to stop after the first row of the history that is not finite.
      locate_nan: whether to find the first step and parameter that are not finite, and store them in
        `run.divergence`. This copies the state before every row of the history.
      checkpoint: a directory, or a `CheckpointPolicy`: the run is saved there. A second call with the same
        arguments resumes from the last checkpoint. The results are bit-identical to those of an
        uninterrupted run. `epochs` may be larger, except with a named schedule that is not constant. The same
        holds for `steps`, if an equal `evaluate_every` divides both numbers. After resuming, the callback is
        called once for the restored rows.
      mesh: devices, such as `jax.make_mesh((8,), ("data",))`, that share each mini-batch; every
        device holds all parameters. The result equals that of one device up to rounding.
      metrics: functions (output, target) -> scalar of one example by name. Their means over validation and
        test examples are in `history.metrics`. `output` is that of `objective.forward`, `target` that of the
        data set.
      evaluate_every: the number of epochs between two evaluations, or of steps if `steps` is passed. By
        default, there is an evaluation after every epoch, or at most 40 evaluations in a run with `steps`.
        There is always an evaluation at the end.
      watch: what to observe in each step, by name: a function (params, grads, updates) -> array, or a
        `Watch`, such as those of `nnjax.watch`. `params` are the parameters before the step, `grads` the
        gradient of the mini-batch's cost, and `updates` what the optimizer adds to the parameters. The values
        are in `history.watched`.
      **keywords: arguments of `optimizer`, such as `learning_rate` (the book's η). New numbers do not
        recompile.
      hyperparameters: the same as a mapping, for names that `fit` has itself, such as `key` of
        `optax.noisy_sgd`.

    Returns:
      A `Run` with `params`, `history` and `state`.

    Raises:
      ValueError: a wrong argument, or a checkpoint that was written with other settings; raised before
        training starts.

    >>> import nnjax
    >>> data = nnjax.load("digits")
    >>> params = nnjax.init(jax.random.key(0), (64, 30, 10))
    >>> run = fit(jax.random.key(1), params, data, epochs=30, learning_rate=3.0)
    >>> bool(run.history.test_accuracy[-1] > 0.9)
    True
    """
    check_arguments(key, data)
    batch_size = check_batch_size(batch_size, data)
    budget = make_budget(epochs, steps, evaluate_every, drop_remainder)
    n = len(data.train.targets)
    arguments = dict(hyperparameters or {}) | keywords
    configured = make_optimizer(optimizer, arguments, schedule, budget.num_steps(n, batch_size), ema_decay)
    policy = as_policy(checkpoint)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback must be a function of the Run, got {callback!r}")
    check_dataset(objective, params, data)
    checked_metrics = check_metrics(metrics, objective, params, data)
    watches = check_watches(watch, params)
    rows = budget.steps_of_rows(n, batch_size)
    watched = watched_shapes(watches, params, rows[0])
    check_watched_size([watched], len(rows))

    mesh = with_auto_axes(mesh)
    place = placer(mesh)
    # Transferred first, so that the time of the first epoch does not include it.
    splits = jax.block_until_ready(place((data.train, data.validation, data.test)))
    watches = place(watches)
    programs = Programs(
        train_epoch, evaluate_epoch, splits, batch_size, drop_remainder, mesh, checked_metrics, watches
    )
    trainer = _Trainer(programs, objective, configured, callback, stop_on_nan, locate_nan)

    fingerprint = {}
    if policy or jax.process_count() > 1:
        fingerprint = budget.fingerprint() | _fingerprint(key, params, data, objective, configured, programs)
    check_consistent(
        fingerprint | {"length": budget.total, "checkpoint": policy is not None, "locate_nan": locate_nan}
    )
    empty = empty_history(
        budget.unit, np.cumsum(rows), (), data.validation, data.test, objective.code is not None,
        metrics or (), watched, due_steps(watches, rows),
    )  # fmt: skip
    order = no_order(n) if budget.unit == "step" else None
    with open_checkpoints(policy, fingerprint, budget.unit) as checkpointer:
        state, history = run_epochs(
            place(init_state(key, params, configured, watches)._replace(order=order)),
            empty,
            budget,
            trainer.advance,
            trainer.evaluate,
            trainer.compile,
            trainer.after_epoch,
            checkpointer,
        )  # fmt: skip
    return Run(state, history, trainer.divergence, trainer.restored or 0)


def _fingerprint(
    key: Array, params: Any, data: Dataset, objective: Objective, optimizer: Optimizer, programs: Programs
) -> dict[str, str]:
    """The settings of a `fit` that its checkpoints record."""
    settings = {"batch_size": programs.batch_size}
    fingerprint = run_fingerprint(key, data, settings) | optimizer_fingerprint(optimizer)
    for part in fields(objective):
        fingerprint[f"objective.{part.name}"] = stable_repr(getattr(objective, part.name))
    # Without a mesh, because a run may resume on another number of devices.
    programs = replace(programs, splits=(data.train, data.validation, data.test), mesh=None)
    trained = init_state(key, params, optimizer, programs.watches), objective, optimizer
    return fingerprint | {
        "metrics": ", ".join(name for name, _ in programs.metrics),
        "watch": ", ".join(sorted(programs.watches)),
        "numbers of the watches": digest(programs.watches),
        "initial parameters": digest(params),
        "numbers of the objective": digest(objective),
        PROGRAM: programs.digest(trained, (params, objective)),
    }


@dataclass
class _Trainer:
    """The callbacks of `run_epochs` for one network."""

    programs: Programs
    objective: Objective
    optimizer: Optimizer
    callback: Callable[[Run], bool | None] | None
    stop_on_nan: bool
    locate_nan: bool
    divergence: Divergence | None = None
    restored: int | None = None  # rows of a checkpoint; None before the first row
    _previous: TrainState | None = None  # the state before the last row
    _num_steps: int | None = None  # of the last row; None for an epoch

    def advance(self, state: TrainState, num_steps: int | None) -> tuple[TrainState, Array, dict[str, Array]]:
        self.restored = self.restored or 0
        if self.locate_nan:
            self._previous, self._num_steps = copy_tree(state), num_steps
        return self.programs.advance(state, self.objective, self.optimizer, num_steps)

    def compile(self, state: TrainState, num_steps: int | None) -> None:
        self.programs.compile_training(state, self.objective, self.optimizer, num_steps)

    def evaluate(self, params: Any) -> dict[str, Any]:
        self.programs.compile_evaluation(params, self.objective)
        return self.programs.evaluate(params, self.objective)

    def after_epoch(self, state: TrainState, history: History) -> bool:
        """Calls the callback; returns whether training stops."""
        if self.restored is None:  # no epoch was trained before
            self.restored = len(history)
        diverged = history.diverged_at >= 0
        if history.diverged_at == len(history) - 1 and self._previous is not None:
            inputs, targets = map(jnp.asarray, self.programs.splits[0])
            location = find_divergence(
                self._previous, inputs, targets, self.objective, self.optimizer,
                **self.programs.settings(self._num_steps),
            )  # fmt: skip
            self.divergence = location and Divergence(int(history.diverged_at), *location)
        stop = self.callback and self.callback(Run(copy_tree(state), history, self.divergence, self.restored))
        return bool(stop or (self.stop_on_nan and diverged))
