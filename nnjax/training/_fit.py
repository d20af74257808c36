"""`fit`: trains one network."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from nnjax.data import Dataset
from nnjax.nn._shape_checks import check_dataset
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
    evaluate_epoch,
    history_for,
    optimizer_fingerprint,
    run_epochs,
    run_fingerprint,
)
from nnjax.training.history import History
from nnjax.training.step import TrainState, find_divergence, init_state, train_epoch


class Divergence(NamedTuple):
    """Where a run stopped being finite: epoch and step, from 0, and the path of the first such leaf.

    The path is that of a parameter, such as `params[0].w`, or `cost`.
    """

    epoch: int
    step: int
    path: str


@dataclass(frozen=True, repr=False)
class Run:
    """What `fit` returns, and what its callback gets after each epoch.

    Attributes:
      state: the state from which training could continue.
      history: costs, counts and times of the finished epochs.
      divergence: where the run diverged, if `locate_nan` is set and it did; else None.
    """

    state: TrainState
    history: History
    divergence: Divergence | None = None

    def __repr__(self) -> str:
        return f"Run(epochs={len(self.history)}, test_accuracy={self.history.test_accuracy[-1]:.4f})"

    @property
    def params(self) -> Any:
        """The parameters after the last epoch; with `ema_decay`, their average."""
        return self.state.eval_params


def fit(
    key: Array,
    params: Any,
    data: Dataset,
    *,
    objective: Objective = Objective(),
    optimizer: Factory | optax.GradientTransformation = optax.sgd,
    schedule: str | Schedule = constant,
    ema_decay: float | None = None,
    epochs: int = 30,
    batch_size: int = 10,
    callback: Callable[[Run], bool | None] | None = None,
    stop_on_nan: bool = False,
    locate_nan: bool = False,
    checkpoint: str | PathLike | CheckpointPolicy | None = None,
    mesh: Mesh | None = None,
    **hyperparameters: Any,
) -> Run:
    """Trains by stochastic gradient descent on mini-batches, and evaluates after each epoch.

    Args:
      key: a `jax.random.key`. The same key gives the same bits on the same machine and versions;
        `nnjax.training.step` documents how an epoch's random numbers are derived from it.
      params: any pytree that `objective.forward` takes; it is copied.
      data: trains on `data.train`, evaluates on `data.validation` and `data.test`.
      objective: forward, cost, code and penalty; by default those of the book.
      optimizer: an optax factory, such as `optax.sgd` or `optax.adam`, whose hyper-parameters are passed
        by name; or a ready `optax.GradientTransformation`.
      schedule: of the learning rate: "constant", "linear", "cosine", "warmup_linear", "warmup_cosine", or
        a function from the fraction of training done, 0 to 1, to a factor.
      ema_decay: evaluates an exponential moving average of the parameters with this decay.
      epochs: how often every training example is used.
      batch_size: examples in a mini-batch; the last one of an epoch may be smaller.
      callback: called with the `Run` so far after each epoch; training ends if it returns True.
      stop_on_nan: whether to stop after the first epoch that is not finite.
      locate_nan: whether to find the step and the parameter that diverged first, for
        `run.divergence`; copies the state in every epoch.
      checkpoint: a directory, or a `CheckpointPolicy`: saves the training there, and resumes from there
        when called again with the same arguments. The results are bit-identical to those of an
        uninterrupted run. `epochs` may be larger if the schedule is constant. After resuming, the
        callback is called once for the restored epochs.
      mesh: devices, such as `jax.make_mesh((8,), ("data",))`, that share each mini-batch; every
        device holds all parameters. Equal to one device up to rounding.
      **hyperparameters: arguments of `optimizer`, such as `learning_rate` (the book's η). New numbers do
        not recompile.

    Returns:
      A `Run` with `params`, `history` and `state`.

    Raises:
      ValueError: before anything is trained, for a wrong argument, or a checkpoint of other settings.

    >>> import nnjax
    >>> data = nnjax.load("digits")
    >>> params = nnjax.init(jax.random.key(0), (64, 30, 10))
    >>> run = fit(jax.random.key(1), params, data, epochs=30, learning_rate=3.0)
    >>> bool(run.history.test_accuracy[-1] > 0.9)
    True
    """
    epochs, batch_size, num_steps = check_arguments(key, data, epochs, batch_size)
    method = make_optimizer(optimizer, hyperparameters, schedule, num_steps, ema_decay)
    policy = as_policy(checkpoint)
    check_dataset(objective, params, data)

    mesh = with_auto_axes(mesh)
    place = placer(mesh)
    # Transferred before the clock of the first epoch starts.
    training, validation, test = jax.block_until_ready(place((data.train, data.validation, data.test)))
    arguments = *training, objective, method, batch_size, mesh
    trainer = _Trainer(arguments, callback, stop_on_nan, locate_nan)

    fingerprint = {}
    if policy or jax.process_count() > 1:
        fingerprint = _fingerprint(key, params, data, objective, method, batch_size)
    check_consistent(
        fingerprint | {"epochs": epochs, "checkpoint": policy is not None, "locate_nan": locate_nan}
    )
    with open_checkpoints(policy, fingerprint) as checkpointer:
        state, history = run_epochs(
            place(init_state(key, params, method)),
            history_for(data, epochs),
            trainer.advance,
            lambda params, cost: evaluate_epoch(params, cost, objective, validation, test, mesh),
            lambda state: train_epoch.lower(state, *arguments).compile(),
            trainer.after_epoch,
            checkpointer,
        )
    return Run(state, history, trainer.divergence)


def _fingerprint(
    key: Array, params: Any, data: Dataset, objective: Objective, method: Optimizer, batch_size: int
) -> dict[str, str]:
    """The settings of a `fit` that its checkpoints record."""
    fingerprint = run_fingerprint(key, data, batch_size) | optimizer_fingerprint(method)
    for part in fields(objective):
        fingerprint[f"objective.{part.name}"] = stable_repr(getattr(objective, part.name))
    # Lowered without a mesh, because the number of devices may change when a run resumes.
    training = train_epoch.lower(init_state(key, params, method), *data.train, objective, method, batch_size)
    evaluation = evaluate_epoch.lower(params, jnp.float32(0), objective, data.validation, data.test)
    return fingerprint | {
        "initial parameters": digest(params),
        "numbers of the objective": digest(objective),
        PROGRAM: digest(training.as_text(), evaluation.as_text()),
    }


@dataclass
class _Trainer:
    """What `fit` does in an epoch and after it."""

    arguments: tuple[Any, ...]
    callback: Callable[[Run], bool | None] | None
    stop_on_nan: bool
    locate_nan: bool
    divergence: Divergence | None = None
    _before: TrainState | None = None

    def advance(self, state: TrainState) -> tuple[TrainState, Array]:
        if self.locate_nan:
            self._before = _copy(state)
        return train_epoch(state, *self.arguments)

    def after_epoch(self, state: TrainState, history: History) -> bool:
        """Whether training ends."""
        diverged = history.diverged_at >= 0
        if history.diverged_at == len(history) - 1 and self._before is not None:
            found = find_divergence(self._before, *self.arguments)
            self.divergence = found and Divergence(int(history.diverged_at), *found)
        stop = self.callback and self.callback(Run(_copy(state), history, self.divergence))
        return bool(stop or (self.stop_on_nan and diverged))


def _copy(state: TrainState) -> TrainState:
    return jax.tree.map(jnp.copy, state)
