"""`fit`: one network, trained from the first epoch to the last."""

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
from nnjax.descent import History, check_arguments, descend, score, settings_of
from nnjax.objective import Objective, Whole, check_fits, whole
from nnjax.optimizers import Factory, Optimizer, make_optimizer
from nnjax.parallel import Spread, placing, with_auto_axes
from nnjax.processes import agree
from nnjax.runs.checkpoints import Checkpoint, as_checkpoint, kept
from nnjax.runs.claims import PROGRAM, described, digest
from nnjax.train import TrainState, epoch, first_bad, start


class Divergence(NamedTuple):
    """Where a run ceased to be finite: epoch and step, from 0, and the path of the first such leaf.

    The path is that of a parameter, as in `params[0].w`, or `cost`.
    """

    epoch: int
    step: int
    path: str


@dataclass(frozen=True, repr=False)
class Run:
    """What `fit` returns, and what its callback sees after each epoch: all that was reached."""

    state: TrainState
    history: History
    divergence: Divergence | None = None

    def __repr__(self) -> str:
        return f"Run(epochs={len(self.history)}, test_correct={self.history.test_correct[-1]})"

    @property
    def params(self) -> Any:
        """The parameters after the last epoch of `history`; with `Averaged`, their running mean."""
        return self.state.evaluated


def fit(
    key: Array,
    params: Any,
    data: Dataset,
    *,
    objective: Objective = Objective(),
    optimizer: Factory | optax.GradientTransformation = optax.sgd,
    epochs: int = 30,
    batch_size: int = 10,
    callback: Callable[[Run], bool | None] | None = None,
    stop_on_nan: bool = False,
    locate_nan: bool = False,
    checkpoint: str | PathLike | Checkpoint | None = None,
    mesh: Mesh | None = None,
    **hyperparameters: Any,
) -> Run:
    """Train on `data.train` by mini-batches, evaluating after each epoch; the book's `SGD`.

    Args:
      key: a `jax.random.key`. Same key, machine and versions: same bits. `train` says how the
        orders of the epochs come of it.
      params: any pytree that `objective.forward` takes; it is copied and stays yours.
      data: the images to train on, and those to evaluate on.
      objective: forward, cost, code and penalty; by default the book's.
      optimizer: an optax factory, such as `optax.sgd` or `optax.adam`, whose hyper-parameters
        are given by name; or a ready `optax.GradientTransformation`.
      epochs: how many times every training example is used.
      batch_size: examples in a mini-batch; the last of an epoch may have fewer.
      callback: called with the `Run` so far after each epoch; training ends if it returns True.
      stop_on_nan: whether to end after the first epoch that diverges, rather than go on.
      locate_nan: whether to find the step and the parameter with which it diverged, as
        `run.divergence`; costs a copy of the state for each epoch.
      checkpoint: a folder, or a `Checkpoint` that also says how often: the training is kept
        there, and goes on from there when it is started again with the same arguments, to the
        same bits as if it had never stopped. `epochs` may then be more. The callback sees what
        was reached before once more.
      mesh: devices, as of `jax.make_mesh`, among which each mini-batch is split; the parameters are
        on each. Equal to one device but for rounding.
      **hyperparameters: those of `optimizer`, `learning_rate` first (the book's η). Another
        number never compiles anew.

    Returns:
      A `Run`: `params`, `history`, and the `state` from which training could go on.

    Raises:
      ValueError: before anything is trained, where an argument is wrong: it says which and why;
        where the checkpoints are of other settings, or another training's.

    >>> import nnjax
    >>> data = nnjax.load("digits")
    >>> params = nnjax.init(jax.random.key(0), (64, 30, 10))
    >>> run = fit(jax.random.key(1), params, data, epochs=30, learning_rate=3.0)
    >>> int(run.history.test_correct[-1]) > 0.9 * len(data.test.labels)
    True
    """
    epochs, batch_size = check_arguments(key, data, epochs, batch_size)
    method, keep = make_optimizer(optimizer, hyperparameters), as_checkpoint(checkpoint)
    for split in (data.train, data.validation, data.test):
        if len(split.labels):
            check_fits(objective, params, *split, data.num_classes)

    mesh = with_auto_axes(mesh)
    place, spread = placing(mesh), Spread(mesh) if mesh else whole
    # On the device before the first epoch's clock starts.
    training, validation, test = jax.block_until_ready(place((data.train, data.validation, data.test)))
    arguments = *training, objective, method, batch_size
    trainer = _Trainer(arguments, spread, callback, stop_on_nan, locate_nan)

    told = {}
    if keep or jax.process_count() > 1:
        told = _settings(key, params, data, objective, method, batch_size)
    agree(told | {"epochs": epochs, "checkpoint": keep is not None, "locate_nan": locate_nan})
    with kept(keep, told) as checkpoints:
        state, history = descend(
            place(start(key, params, method)),
            trainer.advance,
            lambda params, cost: score(params, cost, objective, validation, test, spread),
            epochs,
            lambda state: epoch.lower(state, *arguments, spread).compile(),
            trainer.after,
            checkpoints=checkpoints,
        )
    return Run(state, history, trainer.divergence)


def _settings(
    key: Array, params: Any, data: Dataset, objective: Objective, method: Optimizer, batch_size: int
) -> dict[str, str]:
    """What a checkpoint tells of a `fit`: two with the same settings come to the same bits."""
    told = settings_of(key, data, batch_size, optimizer=method.factory)
    told |= {name: described(value) for name, value in (*method.options, *method.numbers.items())}
    told |= {f"objective.{part.name}": described(getattr(objective, part.name)) for part in fields(objective)}
    # As for one device: the number of devices may change between a start and the next.
    training = epoch.lower(start(key, params, method), *data.train, objective, method, batch_size)
    scoring = score.lower(params, jnp.float32(0), objective, data.validation, data.test)
    return told | {
        "initial parameters": digest(params),
        "numbers of the objective": digest(objective),
        PROGRAM: digest(training.as_text(), scoring.as_text()),
    }


@dataclass
class _Trainer:
    """What `fit` does for an epoch and after it."""

    arguments: tuple[Any, ...]
    spread: Whole
    callback: Callable[[Run], bool | None] | None
    stop_on_nan: bool
    locate_nan: bool
    divergence: Divergence | None = None
    _before: TrainState | None = None

    def advance(self, state: TrainState) -> tuple[TrainState, Array]:
        if self.locate_nan:
            self._before = _copy(state)
        return epoch(state, *self.arguments, self.spread)

    def after(self, state: TrainState, history: History) -> bool:
        """Whether training is to end."""
        diverged = history.diverged_at >= 0
        if history.diverged_at == len(history) - 1 and self._before is not None:
            found = first_bad(self._before, *self.arguments, spread=self.spread)
            self.divergence = found and Divergence(int(history.diverged_at), *found)
        done = self.callback and self.callback(Run(_copy(state), history, self.divergence))
        return bool(done or (self.stop_on_nan and diverged))


def _copy(state: TrainState) -> TrainState:
    return jax.tree.map(jnp.copy, state)
