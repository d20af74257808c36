"""`fit`: the host's loop over epochs, and the history of a run."""

import operator
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from nnjax.data import Dataset, Split
from nnjax.evaluate import count_correct
from nnjax.objective import Objective, check_fits
from nnjax.optimizers import Factory, make_optimizer
from nnjax.train import TrainState, epoch, start


@dataclass(frozen=True)
class History:
    """What happened, epoch by epoch: arrays with a leading epoch axis.

    Attributes:
      cost: mean over the epoch's examples as training saw them, penalty included; float64.
      validation_correct: validation images answered rightly after each epoch, a whole count.
      test_correct: the same of the test images: to be reported, never chosen on.
      seconds: wall time of each epoch's training alone, compiling and evaluating apart.
      diverged_at: the first epoch after which cost or parameters are not finite, or -1.
    """

    cost: np.ndarray
    validation_correct: np.ndarray
    test_correct: np.ndarray
    seconds: np.ndarray
    diverged_at: int

    def __len__(self) -> int:
        return len(self.cost)


@dataclass(frozen=True, repr=False)
class Run:
    """What `fit` returns, and what its callback sees after each epoch: all that was reached."""

    state: TrainState
    history: History

    def __repr__(self) -> str:
        return f"Run(epochs={len(self.history)}, test_correct={self.history.test_correct[-1]})"

    @property
    def params(self) -> Any:
        """The parameters after the last epoch of `history`."""
        return self.state.params


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
      **hyperparameters: those of `optimizer`, `learning_rate` first (the book's η). Another
        number never compiles anew.

    Returns:
      A `Run`: `params`, `history`, and the `state` from which training could go on.

    Raises:
      ValueError: before anything compiles, where an argument is wrong: it says which and why.

    >>> import nnjax
    >>> data = nnjax.load("digits")
    >>> params = nnjax.init(jax.random.key(0), (64, 30, 10))
    >>> run = fit(jax.random.key(1), params, data, epochs=30, learning_rate=3.0)
    >>> int(run.history.test_correct[-1]) > 0.9 * len(data.test.labels)
    True
    """
    if not isinstance(key, jax.Array):
        raise ValueError(f"key must be a jax.random.key, such as jax.random.key(0), not {key!r}")
    if not isinstance(data, Dataset):
        raise ValueError(f"data must be a Dataset (of nnjax.load or Dataset.from_arrays), not {type(data)}")
    method = make_optimizer(optimizer, hyperparameters)
    epochs = _whole_number("epochs", epochs)
    batch_size = _whole_number("batch_size", batch_size, most=len(data.train.labels))
    for split in (data.train, data.validation, data.test):
        if len(split.labels):
            check_fits(objective, params, *split, data.num_classes)

    training, validation, test = jax.device_put((data.train, data.validation, data.test))
    state = start(key, params, method)
    arguments = (training.images, training.labels, objective, method, batch_size)
    epoch.lower(state, *arguments).compile()  # ahead of the first epoch's clock

    columns = np.zeros(epochs), np.zeros(epochs, int), np.zeros(epochs, int), np.zeros(epochs)
    diverged_at = -1
    for e in range(epochs):
        began = time.perf_counter()
        state, cost = jax.block_until_ready(epoch(state, *arguments))
        seconds = time.perf_counter() - began
        counts = (_count(state.params, split, objective) for split in (validation, test))
        for column, value in zip(columns, (cost, *counts, seconds), strict=True):
            column[e] = value
        if diverged_at < 0 and not _all_finite((cost, state.params)):
            diverged_at = e
        history = History(*(column[: e + 1] for column in columns), diverged_at=diverged_at)
        if callback and callback(Run(jax.tree.map(jnp.copy, state), history)):
            break
        if stop_on_nan and diverged_at >= 0:
            break
    return Run(state, history)


def _count(params: Any, split: Split, objective: Objective) -> int:
    return int(count_correct(params, *split, objective)) if len(split.labels) else 0


@jax.jit
def _all_finite(tree: Any) -> Array:
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))


def _whole_number(name: str, value: Any, most: int | None = None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None
    if number < 1 or (most is not None and number > most):
        bounds = "1 or more" if most is None else f"from 1 to {most}, the number of training examples"
        raise ValueError(f"{name} must be {bounds}, not {number}")
    return number
