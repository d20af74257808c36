"""Training one network."""

from nnjax.training._fit import fit
from nnjax.training.epoch import train_epoch
from nnjax.training.history import History
from nnjax.training.run import Divergence, Run
from nnjax.training.step import StepResult, TrainState, init_state, train_step

__all__ = [
    "Divergence",
    "History",
    "Run",
    "StepResult",
    "TrainState",
    "fit",
    "init_state",
    "train_epoch",
    "train_step",
]
