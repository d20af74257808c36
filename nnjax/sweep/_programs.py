"""The programs that train and evaluate the networks of a chunk, as a whole or in parts."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from nnjax.runtime import sharding
from nnjax.sweep import _population
from nnjax.sweep._threads import Parts
from nnjax.training._epoch_loop import evaluate_epoch
from nnjax.training._programs import Programs
from nnjax.training.epoch import train_epoch
from nnjax.training.step import TrainState


def programs_for(training: Parts, evaluation: Parts, *settings: Any) -> Programs:
    """The programs for parts that are single networks, or for parts of several.

    Args:
      training, evaluation: how the networks are split.
      *settings: the arguments of `Programs` after the two functions.
    """
    train = train_epoch if training.alone else _population.train_epoch
    evaluate = evaluate_epoch if evaluation.alone else evaluate_population
    return Programs(train, evaluate, *settings)


@dataclass(frozen=True)
class PartPrograms:
    """Trains and evaluates the networks of a chunk, split into parts.

    Attributes:
      programs: the programs for one part.
      objectives, optimizers: pytrees whose leaves have a leading axis of networks.
      training_parts, evaluation_parts: how the networks are split.
    """

    programs: Programs
    objectives: Any
    optimizers: Any
    training_parts: Parts
    evaluation_parts: Parts

    def compile(self, states: TrainState, num_steps: int | None) -> None:
        """Compiles the training for an epoch, or for a number of steps."""
        self.programs.compile_training(*self._first(states), num_steps=num_steps)

    def advance(self, states: TrainState, num_steps: int | None) -> tuple[TrainState, Any, dict[str, Any]]:
        """The states after an epoch or `num_steps` steps, the mean costs, and the values of the watches."""
        advance = partial(self.programs.advance, num_steps=num_steps)
        axes = _population.axes_of(states)
        arguments = states, self.objectives, self.optimizers
        return self.training_parts.map(advance, (axes, 0, 0), (axes, 0, 0), *arguments)

    def evaluate(self, params: Any) -> dict[str, Any]:
        """The results of all networks on validation and test, by the names of the columns of `History`."""
        arguments = params, self.objectives
        self.programs.compile_evaluation(*self.evaluation_parts.first(arguments, 0))
        return self.evaluation_parts.map(self.programs.evaluate, (0, 0), 0, *arguments)

    def digest(self, states: TrainState) -> str:
        """A digest of the programs for an epoch and for an evaluation."""
        evaluated = self.evaluation_parts.first((states.params, self.objectives), 0)
        return self.programs.digest(self._first(states), evaluated)

    def _first(self, states: TrainState) -> Any:
        """The arguments of the training of the first part."""
        axes = _population.axes_of(states), 0, 0
        return self.training_parts.first((states, self.objectives, self.optimizers), axes)


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
