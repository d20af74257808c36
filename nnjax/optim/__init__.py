"""Variants of gradient descent as optax factories, schedules and weight averaging."""

from nnjax.optim.ema import EMAState, eval_params, with_ema
from nnjax.optim.gauss_newton import gauss_newton
from nnjax.optim.optimizers import (
    OPTIMIZERS,
    Factory,
    Optimizer,
    OptimizerDefaults,
    make_optimizer,
    momentum,
    nesterov,
)
from nnjax.optim.schedules import SCHEDULES, Schedule, with_schedule

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "EMAState",
    "Factory",
    "Optimizer",
    "OptimizerDefaults",
    "Schedule",
    "eval_params",
    "gauss_newton",
    "make_optimizer",
    "momentum",
    "nesterov",
    "with_ema",
    "with_schedule",
]
