"""`fit`: the host's loop over epochs, and the history of a run."""

import operator
import time
from collections.abc import Callable, Iterator
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

    Of a population, counts, cost and diverged_at have a network axis, the last.
    """

    cost: np.ndarray
    validation_correct: np.ndarray
    test_correct: np.ndarray
    seconds: np.ndarray
    diverged_at: Any

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
    epochs, batch_size = check_arguments(key, data, epochs, batch_size)
    method = make_optimizer(optimizer, hyperparameters)
    for split in (data.train, data.validation, data.test):
        if len(split.labels):
            check_fits(objective, params, *split, data.num_classes)

    training, validation, test = jax.device_put((data.train, data.validation, data.test))
    state = start(key, params, method)
    arguments = (training.images, training.labels, objective, method, batch_size)
    epoch.lower(state, *arguments).compile()  # ahead of the first epoch's clock

    run = None
    for state, history in descend(
        state,
        lambda state: epoch(state, *arguments),
        lambda params, cost: score(params, cost, objective, validation, test),
        epochs,
    ):
        run = Run(state, history)
        if callback and callback(Run(jax.tree.map(jnp.copy, state), history)):
            break
        if stop_on_nan and history.diverged_at >= 0:
            break
    assert run is not None  # there was one epoch at least
    return run


def descend(
    state: TrainState,
    advance: Callable[[TrainState], tuple[TrainState, Any]],
    measure: Callable[[Any, Any], tuple[Any, Any, Any]],
    epochs: int,
) -> Iterator[tuple[TrainState, History]]:
    """The host's loop over epochs: the state after each, and the history up to it.

    Serves one network and a population alike: what `advance` and `measure` return for each of
    many networks, the history holds in columns with a network axis after the epoch axis.

    Args:
      state: consumed, as each state that is yielded is by the next epoch.
      advance: the state after one epoch more, and its mean cost.
      measure: of parameters and cost, the right answers of validation and test, and whether all
        is finite.
    """
    columns, diverged_at = (), np.array(-1)
    for e in range(epochs):
        began = time.perf_counter()
        state, cost = jax.block_until_ready(advance(state))
        seconds = time.perf_counter() - began
        *counts, finite = map(np.asarray, measure(state.params, cost))
        values = np.asarray(cost, np.float64), *counts, np.asarray(seconds)
        columns = columns or tuple(np.zeros((epochs, *v.shape), v.dtype) for v in values)
        for column, value in zip(columns, values, strict=True):
            column[e] = value
        diverged_at = np.where((diverged_at < 0) & ~finite, e, diverged_at)
        cost, validation_correct, test_correct, taken = (column[: e + 1] for column in columns)
        yield state, History(cost, validation_correct, test_correct, taken, diverged_at[()])


@jax.jit
def score(
    params: Any, cost: Array, objective: Objective, validation: Split, test: Split
) -> tuple[Array, Array, Array]:
    """The right answers of validation and test, and whether parameters and cost are all finite."""

    def count(split):
        return jnp.int32(count_correct(params, *split, objective) if len(split.labels) else 0)

    leaves = [x for x in jax.tree.leaves((cost, params)) if jnp.issubdtype(x.dtype, jnp.inexact)]
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))
    return count(validation), count(test), finite


def check_arguments(key: Any, data: Any, epochs: Any, batch_size: Any) -> tuple[int, int]:
    """Epochs and batch size as ints; a ValueError where any of what `fit` and `sweep` share is wrong."""
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim:
        raise ValueError(f"key must be a jax.random.key, such as jax.random.key(0), not {key!r}")
    if not isinstance(data, Dataset):
        raise ValueError(f"data must be a Dataset (of nnjax.load or Dataset.from_arrays), not {type(data)}")
    return whole_number("epochs", epochs), whole_number("batch_size", batch_size, len(data.train.labels))


def whole_number(name: str, value: Any, most: int | None = None) -> int:
    """`value` as an int of 1 or more; a ValueError, naming it, where it is none."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if number < 1 or (most is not None and number > most):
        bounds = "1 or more" if most is None else f"from 1 to {most}, the number of training examples"
        raise ValueError(f"{name} must be {bounds}, not {number}")
    return number
