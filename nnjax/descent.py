"""What `fit` and `sweep` have in common: the host's loop over epochs, and the history of a training."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nnjax.data import Dataset, Split
from nnjax.evaluate import right
from nnjax.numbers import whole_number
from nnjax.objective import Objective, Whole, whole
from nnjax.parallel import is_key, lie_as, plain
from nnjax.processes import anywhere
from nnjax.runs.checkpoints import Checkpoints
from nnjax.runs.claims import described, digest
from nnjax.train import TrainState

# Of jax's settings, those that change the numbers of a program.
PRECISION = ("jax_enable_x64", "jax_default_matmul_precision")

COLUMNS = ("cost", "validation_correct", "test_correct", "seconds")


@jax.tree_util.register_dataclass
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

    def first(self, epochs: int) -> "History":
        """The history up to an epoch."""
        return replace(self, **{name: getattr(self, name)[:epochs] for name in COLUMNS})


def descend(
    state: TrainState,
    advance: Callable[[TrainState], tuple[TrainState, Any]],
    measure: Callable[[Any, Any], tuple[Any, Any, Any]],
    epochs: int,
    prepare: Callable[[TrainState], Any],
    after: Callable[[TrainState, History], bool | None],
    *,
    networks: tuple[int, ...] = (),
    checkpoints: Checkpoints | None = None,
) -> tuple[TrainState, History]:
    """The host's loop over epochs: the last state, and the history up to it.

    Serves one network and a population alike: what `advance` and `measure` return for each of
    many networks, the history holds in columns with a network axis after the epoch axis.

    Args:
      state: consumed, as each later one is by the epoch after it.
      advance: the state after one epoch more, and its mean cost.
      measure: of parameters and cost, the right answers of validation and test, and whether all
        is finite.
      prepare: called before the first epoch, where there is one to do: for what is not on its clock.
      after: called after each epoch, and with what `checkpoints` held; training ends if it is true.
      networks: the shape of the network axis.
      checkpoints: where the training is kept and, if anything is there, gone on with.
    """
    history = _room(epochs, networks)
    so_far = history.first(0)
    if checkpoints and (found := checkpoints.newest(lambda done: (state, history.first(done)), epochs)):
        kept, so_far = found
        state, so_far = lie_as(kept, state), replace(so_far, diverged_at=so_far.diverged_at[()])
        for name in COLUMNS:
            getattr(history, name)[: len(so_far)] = getattr(so_far, name)
        if anywhere(bool(after(state, so_far))):
            return state, so_far
    if len(so_far) < epochs:
        prepare(state)
    for e in range(len(so_far), epochs):
        began = time.perf_counter()
        state, cost = jax.block_until_ready(advance(state))
        history.seconds[e] = time.perf_counter() - began
        *counts, finite = map(plain, measure(state.evaluated, cost))
        history.cost[e], history.validation_correct[e], history.test_correct[e] = plain(cost), *counts
        diverged_at = np.where((so_far.diverged_at < 0) & ~finite, e, so_far.diverged_at)[()]
        so_far = replace(history.first(e + 1), diverged_at=diverged_at)
        # One network that has diverged goes on, if at all, from its last good state.
        keep = checkpoints.keep if checkpoints and (networks or diverged_at < 0) else _keep_nothing
        keep(e + 1, (state, so_far), last=e + 1 == epochs)
        if anywhere(bool(after(state, so_far))):
            keep(e + 1, (state, so_far), last=True)
            break
    return state, so_far


def _keep_nothing(epoch: int, tree: Any, last: bool) -> None:
    pass


def _room(epochs: int, networks: tuple[int, ...]) -> History:
    """A history for so many epochs, of which none is done."""
    each = (epochs, *networks)
    counts = np.zeros(each, np.int32), np.zeros(each, np.int32)
    return History(np.zeros(each), *counts, np.zeros(epochs), np.full(networks, -1)[()])


@partial(jax.jit, static_argnames="spread")
def score(
    params: Any,
    cost: Array,
    objective: Objective,
    validation: Split,
    test: Split,
    spread: Whole = whole,
) -> tuple[Array, Array, Array]:
    """The right answers of validation and test, and whether parameters and cost are all finite."""

    def count(split):
        if not len(split.labels):
            return jnp.int32(0)
        rightly = spread(lambda images, labels: right(params, images, labels, objective), *split)
        return jnp.sum(rightly, dtype=jnp.int32)

    leaves = [x for x in jax.tree.leaves((cost, params)) if jnp.issubdtype(x.dtype, jnp.inexact)]
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))
    return count(validation), count(test), finite


def settings_of(key: Array, data: Dataset, batch_size: int, **given: Any) -> dict[str, str]:
    """What a checkpoint tells of the settings of a `fit` or a `sweep`."""
    told = {"key": described(plain(key).tolist()), "batch_size": str(batch_size)}
    told |= {name: str(getattr(jax.config, name)) for name in PRECISION}
    for name in ("train", "validation", "test"):
        told[f"{name} data"] = digest(getattr(data, name))
    return told | {name: described(value) for name, value in given.items()}


def check_arguments(key: Any, data: Any, epochs: Any, batch_size: Any) -> tuple[int, int]:
    """Epochs and batch size as ints; a ValueError where any of what `fit` and `sweep` share is wrong."""
    if not is_key(key) or key.ndim:
        raise ValueError(f"key must be a jax.random.key, such as jax.random.key(0), not {key!r}")
    if not isinstance(data, Dataset):
        raise ValueError(f"data must be a Dataset (of nnjax.load or Dataset.from_arrays), not {type(data)}")
    return whole_number("epochs", epochs), whole_number("batch_size", batch_size, len(data.train.labels))
