"""A task of a comparison: one optimizer on one problem, with a budget."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

from nnjax.compare import protocol
from nnjax.compare._problem import Problem
from nnjax.compare._user_code import describe_error, problem_identity
from nnjax.compare.protocol import Budget, RunSpec
from nnjax.compare.search_spaces import LogUniform, Setting, Tunable, setting, tuned_space

T = TypeVar("T")


class OptimizerFailed(Exception):
    """An optimizer cannot be trained on a problem."""


class Task(NamedTuple):
    """One optimizer on one problem.

    Attributes:
      optimizer: the name of the optimizer in results.
      tunable: the optimizer with its search space.
      code: the identity of the optimizer's code; None if the code has no file. Results are then not stored.
      problem: the problem.
      budget: how much tuning it gets.
      widened: decades that are added to the range of the learning rate, below and above.
    """

    optimizer: str
    tunable: Tunable
    code: str | None
    problem: Problem
    budget: Budget
    widened: tuple[int, int] = (0, 0)

    @property
    def key(self) -> tuple[str, str]:
        """The names of the optimizer and the problem."""
        return self.optimizer, self.problem.name

    @property
    def space(self) -> dict[str, LogUniform]:
        """The distributions of the hyper-parameters that are tuned."""
        return tuned_space(self.tunable, **self._conditions)

    def setting(self, run: RunSpec) -> Setting:
        """The setting of a run."""
        return setting(self.tunable, run.point, schedules=self.budget.schedules, **self._conditions)

    @property
    def _conditions(self) -> dict[str, Any]:
        return {
            "learning_rate_scale": self.problem.learning_rate_scale,
            "has_weight_decay": self.problem.has_weight_decay,
            "is_standard": self.budget.is_standard,
            "widened": self.widened,
        }

    def length(self, batch_multiplier: int) -> tuple[int, int]:
        """The number of steps that the budget allows, and the number of steps between two evaluations."""
        affordable = int(self.problem.steps / (batch_multiplier * self.tunable.cost))
        if not affordable:
            raise ValueError(
                f"a step must cost at most the {self.problem.steps} gradients of a run, got "
                f"{batch_multiplier * self.tunable.cost:g}"
            )
        rows = self.problem.steps // self.problem.evaluate_every
        every = -(-affordable // rows)
        return affordable // every * every, every

    def identity(self) -> dict[str, Any]:
        """What determines the results on one machine, as JSON values."""
        budget = asdict(self.budget)
        del budget["name"]
        tunable = asdict(self.tunable) | {"factory": self.code}
        return {
            "protocol": protocol.VERSION,
            "problem": problem_identity(self.problem),
            "optimizer": json.loads(json.dumps(tunable, default=float)),
            "budget": budget,
            "widened": self.widened,
        }


def attempt(compute: Callable[[], T]) -> T:
    """`compute()`, which runs the code of an optimizer.

    Raises:
      OptimizerFailed: `compute` raised an exception, which the message describes.
    """
    try:
        return compute()
    except Exception as error:  # the code of an optimizer can raise anything
        raise OptimizerFailed(describe_error(error)) from error
