"""Training many networks in one compiled program."""

from nnjax.sweep._blocked import block_steps
from nnjax.sweep._chunks import Progress
from nnjax.sweep._halving import Halving
from nnjax.sweep._population import init_states as init_population
from nnjax.sweep._population import train_epoch as train_population
from nnjax.sweep._sweep import sweep
from nnjax.sweep.grid import Grid, load_grid

__all__ = [
    "Grid",
    "Halving",
    "Progress",
    "block_steps",
    "init_population",
    "load_grid",
    "sweep",
    "train_population",
]
