"""Training many networks in one compiled program."""

from nnjax.sweep._sweep import Progress, sweep
from nnjax.sweep.grid import Grid

__all__ = ["Grid", "Progress", "sweep"]
