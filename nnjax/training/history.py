"""The history of a training: costs, counts, metrics and times, epoch by epoch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from nnjax.data import Split
from nnjax.runtime.host_shape import HostShape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class History:
    """Arrays with one row for each epoch; in a training with `steps`, with one row for each evaluation.

    In a sweep, all but `seconds`, `step` and `watched_step` have a second axis of networks, and `diverged_at`
    is an array with one element per network. In rows without evaluation, the counts are -1, and the other
    results of the validation and test examples are NaN. The results of an empty split are None.

    Attributes:
      train_cost: the mean of the costs that the steps of each row computed, penalty included; float64.
      validation_cost: the mean cost of the validation examples after each epoch, without dropout,
        augmentation, label smoothing and penalty; float64.
      test_cost: the same for the test split. Use it to report results, never to choose settings.
      validation_correct, test_correct: exact counts of correct predictions; None if the objective has no
        output code.
      metrics: for each of the user's metrics, the means "validation_NAME" and "test_NAME"; float64.
      seconds: wall time of the training of each row, without compilation and evaluation.
      step: the number of finished training steps at the end of each row.
      watched: for each watch, its values (row, value, ...). If a row has fewer values than others, the last
        ones are NaN.
      watched_step: for each watch, the training step (from 0) of each value, (row, value); -1 for none.
      diverged_at: the first row (from 0) after which cost or parameters are not finite, or -1.
      num_validation, num_test: the numbers of validation and test examples.
      unit: "epoch", or "step" for a training with `steps`.
    """

    train_cost: np.ndarray
    validation_cost: np.ndarray | None
    test_cost: np.ndarray | None
    validation_correct: np.ndarray | None
    test_correct: np.ndarray | None
    metrics: dict[str, np.ndarray]
    seconds: np.ndarray
    step: np.ndarray
    watched: dict[str, np.ndarray]
    watched_step: dict[str, np.ndarray]
    diverged_at: Any
    num_validation: int = field(metadata={"static": True})
    num_test: int = field(metadata={"static": True})
    unit: str = field(metadata={"static": True})

    def __repr__(self) -> str:
        return f"History({len(self)} rows, {self.unit}s)"

    def __len__(self) -> int:
        return len(self.train_cost)

    @property
    def validation_accuracy(self) -> Any:
        """The fraction of correct predictions on the validation split; None without counts."""
        return accuracy(self.validation_correct, self.num_validation)

    @property
    def test_accuracy(self) -> Any:
        """The fraction of correct predictions on the test split; None without counts."""
        return accuracy(self.test_correct, self.num_test)

    def columns(self) -> dict[str, Any]:
        """The arrays with an epoch axis, by name; None for those that the training does not have."""
        return {name: getattr(self, name) for name in COLUMNS}

    def first(self, epochs: int) -> "History":
        """The history of the first epochs."""
        return replace(self, **jax.tree.map(lambda a: a[:epochs], self.columns()))

    def select(self, networks: Any) -> "History":
        """The history of some networks of a sweep: a slice, or an array of indices."""
        by_network = jax.tree.map(lambda a: a[:, networks], self._by_network())
        return replace(self, **by_network, diverged_at=self.diverged_at[networks])

    def _by_network(self) -> dict[str, Any]:
        """The columns that have an axis of networks in a sweep."""
        shared = ("seconds", "step", "watched_step")
        return {name: column for name, column in self.columns().items() if name not in shared}

    def set(self, epoch: Any, values: Mapping[str, Any]) -> None:
        """Stores the values of columns, by name, at an epoch (an index or a slice)."""
        columns = {name: getattr(self, name) for name in values}
        jax.tree.map(lambda column, value: column.__setitem__(epoch, value), columns, dict(values))

    def set_watched(self, epoch: int, values: Mapping[str, np.ndarray]) -> None:
        """Stores the watched values of a row; the last row may have fewer steps."""
        networks = (slice(None),) * np.ndim(self.diverged_at)
        for name, value in values.items():
            part = (*networks, slice(np.count_nonzero(self.watched_step[name][epoch] >= 0)))
            self.watched[name][epoch][part] = value[part]


def join_histories(histories: Sequence[History]) -> History:
    """Joins histories of equal length along the network axis, and adds their seconds."""
    first = histories[0]
    by_network = jax.tree.map(
        lambda *columns: np.concatenate(columns, axis=1), *(history._by_network() for history in histories)
    )
    seconds = np.sum([history.seconds for history in histories], axis=0)
    diverged_at = np.concatenate([history.diverged_at for history in histories])
    return replace(first, **by_network, seconds=seconds, diverged_at=diverged_at)


COLUMNS = (
    "train_cost", "validation_cost", "test_cost", "validation_correct", "test_correct", "metrics", "seconds",
    "step", "watched", "watched_step",
)  # fmt: skip


def accuracy(correct: Any, total: int) -> Any:
    """`correct / total` for an array of counts; NaN where the count is -1; None for None."""
    if correct is None:
        return None
    fraction = correct / total
    return (
        fraction.where(correct >= 0) if hasattr(correct, "dims") else np.where(correct < 0, np.nan, fraction)
    )


def empty_history(
    unit: str,
    steps: Int[np.ndarray, " rows"],
    networks: tuple[int, ...],
    validation: Split,
    test: Split,
    has_counts: bool = True,
    metrics: Iterable[str] = (),
    watched: Mapping[str, HostShape] | None = None,
    watched_step: Mapping[str, Int[np.ndarray, "rows values"]] | None = None,
) -> History:
    """A history of which all results are missing.

    Args:
      unit: "epoch" or "step".
      steps: the number of finished steps at the end of each row.
      networks: (n,) for n networks and () for one.
      validation, test: the splits that are evaluated.
      has_counts: whether predictions are counted.
      metrics: the names of metrics.
      watched: for each watch, the shape (value, ...) and the dtype of its values in a row of one network.
      watched_step: for each watch, the training steps of its values.
    """
    shape = (len(steps), *networks)
    splits = {"validation": len(validation.targets), "test": len(test.targets)}
    costs = {f"{name}_cost": np.full(shape, np.nan) if size else None for name, size in splits.items()}
    counts = {
        f"{name}_correct": np.full(shape, -1, np.int32) if size and has_counts else None
        for name, size in splits.items()
    }
    means = {
        f"{name}_{metric}": np.full(shape, np.nan)
        for name, size in splits.items()
        if size
        for metric in metrics
    }
    observed = {
        name: np.full((*shape, *value.shape), np.nan, value.dtype) for name, value in (watched or {}).items()
    }
    return History(
        train_cost=np.full(shape, np.nan), **costs, **counts, metrics=means, seconds=np.zeros(len(steps)),
        step=steps, watched=observed, watched_step=dict(watched_step or {}),
        diverged_at=np.full(networks, -1)[()], num_validation=len(validation.targets),
        num_test=len(test.targets), unit=unit,
    )  # fmt: skip
