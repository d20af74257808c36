"""The length of a training and the interval of its evaluations, in epochs or in steps."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nnjax.runtime.checks import check_positive_int

EVALUATIONS = 40  # the largest number, if there are `steps` without `evaluate_every`


@dataclass(frozen=True)
class Budget:
    """The length of a training and the interval of its evaluations.

    Attributes:
      unit: "epoch" or "step".
      total: the number of epochs or steps.
      evaluate_every: the number of epochs or steps between two evaluations. There is always an evaluation at
        the end.
      drop_remainder: whether a smaller last mini-batch of an epoch is dropped.
    """

    unit: str
    total: int
    evaluate_every: int
    drop_remainder: bool = False

    @property
    def row_ends(self) -> list[int]:
        """For each row of the history, the number of finished epochs or steps.

        There is a row for each epoch if the unit is "epoch", and for each evaluation if it is "step".

        >>> Budget("step", 100, 40).row_ends
        [40, 80, 100]
        """
        every = 1 if self.unit == "epoch" else self.evaluate_every
        return [*range(every, self.total, every), self.total]

    @property
    def program_steps(self) -> list[int | None]:
        """For each row, the number of steps of its program; None for an epoch."""
        ends = [0, *self.row_ends]
        return [None if self.unit == "epoch" else end - start for start, end in pairwise(ends)]

    def is_evaluated(self, done: int) -> bool:
        """Whether there is an evaluation after `done` epochs or steps."""
        return done % self.evaluate_every == 0 or done == self.total

    def num_steps(self, examples: int, batch_size: int) -> int:
        """The number of training steps.

        >>> Budget("epoch", 2, 1).num_steps(25, 10)
        6
        """
        return self.total if self.unit == "step" else self.total * self._steps_per_epoch(examples, batch_size)

    def steps_of_rows(self, examples: int, batch_size: int) -> list[int]:
        """The number of training steps in each row of the history.

        >>> Budget("step", 100, 40).steps_of_rows(25, 10)
        [40, 40, 20]
        """
        return [steps or self._steps_per_epoch(examples, batch_size) for steps in self.program_steps]

    def _steps_per_epoch(self, examples: int, batch_size: int) -> int:
        return steps_per_epoch(examples, batch_size, self.drop_remainder)

    def fingerprint(self) -> dict[str, str]:
        """The settings that must be equal to resume.

        The number of steps must be equal only if the last row is shorter than the others.
        """
        settings = {
            "unit": self.unit,
            "evaluate_every": str(self.evaluate_every),
            "drop_remainder": str(self.drop_remainder),
        }
        if self.unit == "step":
            is_divisible = self.total % self.evaluate_every == 0
            settings["steps"] = f"a multiple of {self.evaluate_every}" if is_divisible else str(self.total)
        return settings


def steps_per_epoch(examples: int, batch_size: int, drop_remainder: bool = False) -> int:
    """The number of mini-batches of an epoch; the last one may be smaller, or is dropped.

    >>> steps_per_epoch(5, 2), steps_per_epoch(5, 2, drop_remainder=True)
    (3, 2)
    """
    return examples // batch_size if drop_remainder else -(-examples // batch_size)


def make_budget(epochs: Any, steps: Any, evaluate_every: Any, drop_remainder: Any = False) -> Budget:
    """Checks the length of a training and the interval of its evaluations; the default is 30 epochs.

    Without `evaluate_every`, every epoch is evaluated, or there are at most `EVALUATIONS` rows of steps.

    Raises:
      ValueError: a number that is not a positive integer, both `epochs` and `steps`, or a `drop_remainder`
        that is not a boolean.

    >>> make_budget(None, 100, None)
    Budget(unit='step', total=100, evaluate_every=3, drop_remainder=False)
    """
    if epochs is not None and steps is not None:
        raise ValueError(f"epochs must be None if steps is passed, got epochs={epochs} and steps={steps}")
    if steps is None:
        total, default = check_positive_int("epochs", 30 if epochs is None else epochs), 1
    else:
        total = check_positive_int("steps", steps)
        default = -(-total // EVALUATIONS)
    every = default if evaluate_every is None else check_positive_int("evaluate_every", evaluate_every)
    if not isinstance(drop_remainder, bool):
        raise ValueError(f"drop_remainder must be True or False, got {drop_remainder!r}")
    return Budget("epoch" if steps is None else "step", total, every, drop_remainder)
