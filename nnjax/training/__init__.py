"""Training one network."""

from nnjax.training._fit import Divergence, Run, fit
from nnjax.training.history import History
from nnjax.training.step import TrainState, init_state, train_epoch, train_step

__all__ = ["Divergence", "History", "Run", "TrainState", "fit", "init_state", "train_epoch", "train_step"]
