"""The compiled programs that train and evaluate the networks of a chunk, as a whole or in parts."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from nnjax.data import Split
from nnjax.nn.conv import compiler_options
from nnjax.nn.metrics import Metrics
from nnjax.runtime import sharding
from nnjax.storage import digest
from nnjax.sweep import _population
from nnjax.sweep._threads import Parts
from nnjax.training import epoch
from nnjax.training._epoch_loop import evaluate_epoch, runs_compiled_programs
from nnjax.training._observe import Watches
from nnjax.training.step import TrainState


@dataclass(frozen=True)
class Programs:
    """Trains and evaluates the networks of a chunk.

    Attributes:
      splits: training, validation and test examples.
      objectives, optimizers: pytrees whose leaves have a leading axis of networks.
      batch_size, drop_remainder: as for `fit`.
      mesh: devices that share the networks, or None.
      metrics, watches: what is measured.
      training_parts, evaluation_parts: how the networks are split.
    """

    splits: tuple[Split, Split, Split]
    objectives: Any
    optimizers: Any
    batch_size: int
    drop_remainder: bool
    mesh: Mesh | None
    metrics: Metrics
    watches: Watches
    training_parts: Parts
    evaluation_parts: Parts
    _compiled: dict[Any, Any] = field(default_factory=dict)

    def compile(self, states: TrainState, num_steps: int | None) -> None:
        """Compiles the training for an epoch, or for a number of steps."""
        options = compiler_options(states.params) if self._runs_compiled else {}
        self._compiled[num_steps] = self._lower_training(states, num_steps).compile(options)

    def advance(self, states: TrainState, num_steps: int | None) -> tuple[TrainState, Any, dict[str, Any]]:
        """The states after an epoch or `num_steps` steps, the mean costs, and the values of the watches."""
        train, settings = self._training(num_steps)
        program = self._compiled[num_steps] if self._runs_compiled else partial(train, **settings)

        def train_part(states, objectives, optimizers):
            return program(states, *self.splits[0], objectives, optimizers, watches=self.watches)

        axes = _population.axes_of(states)
        arguments = states, self.objectives, self.optimizers
        return self.training_parts.map(train_part, (axes, 0, 0), (axes, 0, 0), *arguments)

    def evaluate(self, params: Any) -> dict[str, Any]:
        """The results of all networks on validation and test, by the names of the columns of `History`."""
        program = partial(self._evaluation, metrics=self.metrics, mesh=self.mesh)
        if self._runs_compiled:
            if "evaluation" not in self._compiled:
                lowered = self._lower_evaluation(params)
                self._compiled["evaluation"] = lowered.compile(compiler_options(params))
            program = self._compiled["evaluation"]

        def evaluate_part(params, objectives):
            return program(params, objectives, *self.splits[1:])

        return self.evaluation_parts.map(evaluate_part, (0, 0), 0, params, self.objectives)

    def digest(self, states: TrainState) -> str:
        """A digest of the programs for an epoch and for an evaluation."""
        training, evaluation = self._lower_training(states, None), self._lower_evaluation(states.params)
        return digest(training.as_text(), evaluation.as_text())

    @property
    def _runs_compiled(self) -> bool:
        return runs_compiled_programs(self.mesh)

    @property
    def _evaluation(self) -> Any:
        """The function that evaluates a part."""
        return evaluate_epoch if self.evaluation_parts.alone else evaluate_population

    def _training(self, num_steps: int | None) -> tuple[Any, dict[str, Any]]:
        """The function that trains a part, and its static arguments."""
        train = epoch.train_epoch if self.training_parts.alone else _population.train_epoch
        return train, {
            "batch_size": self.batch_size,
            "mesh": self.mesh,
            "num_steps": num_steps,
            "drop_remainder": self.drop_remainder,
        }

    def _lower_training(self, states: TrainState, num_steps: int | None) -> Any:
        train, settings = self._training(num_steps)
        arguments = states, self.objectives, self.optimizers
        axes = _population.axes_of(states), 0, 0
        states, objectives, optimizers = self.training_parts.first(arguments, axes)
        return train.lower(states, *self.splits[0], objectives, optimizers, watches=self.watches, **settings)

    def _lower_evaluation(self, params: Any) -> Any:
        part = self.evaluation_parts.first((params, self.objectives), 0)
        return self._evaluation.lower(*part, *self.splits[1:], metrics=self.metrics, mesh=self.mesh)


@partial(jax.jit, static_argnames=("metrics", "mesh"))
def evaluate_population(params, objectives, validation, test, metrics, mesh):
    """`evaluate_epoch` of each network.

    Args:
      params: the parameters of a population, with a leading network axis.
      objectives: pytrees whose leaves have a leading network axis.
      validation, test: the splits to evaluate, the same for all networks.
      metrics: as in `evaluate_epoch`.
      mesh: devices that share the networks, or None for one device.
    """
    evaluate = partial(evaluate_epoch, metrics=metrics)
    return sharding.vmap(evaluate, (0, 0, None, None), 0, mesh)(params, objectives, validation, test)
