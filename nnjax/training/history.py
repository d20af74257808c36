"""The history of a training: costs, counts and times, epoch by epoch."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import numpy as np

from nnjax.data import Split


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class History:
    """Arrays with a leading epoch axis.

    In a sweep, counts and costs have a second axis with one entry per network, and `diverged_at` is an array
    of networks.

    Attributes:
      train_cost: the mean of the costs that the steps of each epoch computed, penalty included; float64.
      validation_correct: exact counts of correct predictions on the validation split after each epoch.
      test_correct: the same for the test split. Use it to report results, never to choose settings.
      seconds: wall time of each epoch's training, without compilation and evaluation.
      diverged_at: the first epoch (from 0) after which cost or parameters are not finite, or -1.
      num_validation, num_test: the numbers of validation and test examples.
    """

    train_cost: np.ndarray
    validation_correct: np.ndarray
    test_correct: np.ndarray
    seconds: np.ndarray
    diverged_at: Any
    num_validation: int = field(metadata={"static": True})
    num_test: int = field(metadata={"static": True})

    def __len__(self) -> int:
        return len(self.train_cost)

    @property
    def validation_accuracy(self) -> np.ndarray:
        """The fraction of correct predictions on the validation split; NaN if it is empty."""
        return accuracy(self.validation_correct, self.num_validation)

    @property
    def test_accuracy(self) -> np.ndarray:
        """The fraction of correct predictions on the test split; NaN if it is empty."""
        return accuracy(self.test_correct, self.num_test)

    def first(self, epochs: int) -> "History":
        """The history of the first epochs."""
        return replace(self, **{name: getattr(self, name)[:epochs] for name in COLUMNS})

    def select(self, networks: slice) -> "History":
        """The history of some networks of a sweep."""
        by_network = {name: getattr(self, name)[:, networks] for name in COLUMNS if name != "seconds"}
        return replace(self, **by_network, diverged_at=self.diverged_at[networks])


COLUMNS = tuple(column.name for column in fields(History))[:4]


def accuracy(correct: Any, total: int) -> Any:
    """`correct / total` for an array of counts; NaN for an empty split."""
    return correct / (total or np.nan)


def empty_history(epochs: int, networks: tuple[int, ...], validation: Split, test: Split) -> History:
    """A history of zeros for `epochs` epochs. `networks` is (n,) for n networks and () for one."""
    shape = (epochs, *networks)
    counts = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    never = np.full(networks, -1)[()]
    sizes = len(validation.targets), len(test.targets)
    return History(np.zeros(shape), *counts, np.zeros(epochs), never, *sizes)
