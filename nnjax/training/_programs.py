"""The programs that train and evaluate one network, or several together, compiled in advance."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from nnjax.data import Split
from nnjax.nn._compiler import compiler_options
from nnjax.nn.metrics import Metrics
from nnjax.storage import digest
from nnjax.training._observe import Watches
from nnjax.training.step import TrainState


@dataclass(frozen=True)
class Programs:
    """Jitted functions for training and evaluation, with their static arguments and the data.

    Both must be compiled before they are called.

    Attributes:
      train: a jitted function with the arguments and results of `train_epoch`.
      evaluation: a jitted function with the arguments and results of `evaluate_epoch`.
      splits: training, validation and test examples.
      batch_size, drop_remainder: as for `fit`.
      mesh: the devices, or None.
      metrics, watches: what is measured.
    """

    train: Any
    evaluation: Any
    splits: tuple[Split, Split, Split]
    batch_size: int
    drop_remainder: bool
    mesh: Mesh | None
    metrics: Metrics
    watches: Watches
    _compiled: dict[Any, Any] = field(default_factory=dict)  # by number of steps, and "evaluation"

    def compile_training(
        self, state: TrainState, objective: Any, optimizer: Any, num_steps: int | None
    ) -> None:
        """Compiles the training for an epoch, or for a number of steps."""
        lowered = self._lower_training(state, objective, optimizer, num_steps)
        self._compiled[num_steps] = lowered.compile(self._options(state.params))

    def compile_evaluation(self, params: Any, objective: Any) -> None:
        """Compiles the evaluation, unless it was compiled before."""
        if "evaluation" not in self._compiled:
            lowered = self._lower_evaluation(params, objective)
            self._compiled["evaluation"] = lowered.compile(self._options(params))

    def advance(
        self, state: TrainState, objective: Any, optimizer: Any, num_steps: int | None
    ) -> tuple[TrainState, Any, dict[str, Any]]:
        """The state after an epoch or `num_steps` steps, the mean cost, and the values of the watches."""
        jitted = partial(self.train, **self.settings(num_steps))
        program = self._compiled[num_steps] if calls_compiled_programs(self.mesh) else jitted
        return program(state, *self.splits[0], objective, optimizer, watches=self.watches)

    def evaluate(self, params: Any, objective: Any) -> dict[str, Any]:
        """The results on validation and test, by the names of the columns of `History`."""
        jitted = partial(self.evaluation, metrics=self.metrics, mesh=self.mesh)
        program = self._compiled["evaluation"] if calls_compiled_programs(self.mesh) else jitted
        return program(params, objective, *self.splits[1:])

    def digest(self, trained: tuple[TrainState, Any, Any], evaluated: tuple[Any, Any]) -> str:
        """A digest of the programs for an epoch and for an evaluation.

        Args:
          trained: state, objective and optimizer.
          evaluated: parameters and objective.
        """
        training, evaluation = self._lower_training(*trained, None), self._lower_evaluation(*evaluated)
        return digest(training.as_text(), evaluation.as_text())

    def _options(self, params: Any) -> dict[str, str | bool]:
        return compiler_options(params) if calls_compiled_programs(self.mesh) else {}

    def settings(self, num_steps: int | None) -> dict[str, Any]:
        """The static arguments of `train` for an epoch, or for a number of steps."""
        return {
            "batch_size": self.batch_size,
            "mesh": self.mesh,
            "num_steps": num_steps,
            "drop_remainder": self.drop_remainder,
        }

    def _lower_training(self, state: Any, objective: Any, optimizer: Any, num_steps: int | None) -> Any:
        arguments = state, *self.splits[0], objective, optimizer
        return self.train.lower(*arguments, watches=self.watches, **self.settings(num_steps))

    def _lower_evaluation(self, params: Any, objective: Any) -> Any:
        return self.evaluation.lower(
            params, objective, *self.splits[1:], metrics=self.metrics, mesh=self.mesh
        )


def calls_compiled_programs(mesh: Mesh | None) -> bool:
    """Whether the programs that were compiled in advance are called, and not the jitted functions.

    Not with a mesh: a compiled program accepts only the sharding of the first state, but later states can
    have another. And not if jax looks for NaNs or infinities, which only calls of jitted functions report.
    """
    return mesh is None and not any(
        getattr(jax.config, name) for name in ("jax_debug_nans", "jax_debug_infs")
    )
