"""`TrainConfig`, which describes a network and its training, and the named configurations."""

from nnjax.config._fields import REGISTRIES, SWEEP_ARGUMENTS
from nnjax.config._named import configs
from nnjax.config._train_config import TrainConfig

__all__ = ["REGISTRIES", "SWEEP_ARGUMENTS", "TrainConfig", "configs"]
