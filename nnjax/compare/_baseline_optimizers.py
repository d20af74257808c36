"""The baseline optimizers, with which other optimizers are compared, and their search spaces.

The range of a learning rate has four decades, unless the optimizer estimates its learning rate or solves an
equation for its step. For a momentum or a decay b, which is near 1, 1 − b is log-uniform. Optimizers with
heavy-ball momentum b multiply the learning rate by 1 − b. Then the tuned learning rate is the effective
learning rate, and a larger momentum does not make the steps longer.
"""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import optax
from optax import contrib

from nnjax.compare._decoupled_decay import decayed
from nnjax.compare._distributions import LogUniform, log_uniform, one_minus_log_uniform
from nnjax.compare._frozen import frozen_when_spent
from nnjax.compare._muon import muon
from nnjax.compare._tunable import Tunable
from nnjax.compare.search_spaces import WEIGHT_DECAY
from nnjax.optim import gauss_newton

LINE_SEARCH_STEPS = 15

# The learning rate of D-Adaptation is a factor. If it were exactly 0, the first estimate would be 0 / 0.
MIN_FACTOR = 1e-8

# The first product is the product of the matrix and the initial vector, 0; five iterations follow.
CONJUGATE_GRADIENT_PRODUCTS = 1 + 5


def momentum(learning_rate: float, momentum: float = 0.9) -> optax.GradientTransformation:
    """SGD with momentum and the effective learning rate `learning_rate`."""
    return optax.sgd(learning_rate * (1 - momentum), momentum)


def nesterov(learning_rate: float, momentum: float = 0.9) -> optax.GradientTransformation:
    """SGD with Nesterov momentum and the effective learning rate `learning_rate`."""
    return optax.sgd(learning_rate * (1 - momentum), momentum, nesterov=True)


def rmsprop(
    learning_rate: float, momentum: float = 0.9, decay: float = 0.9, eps: float = 1e-8
) -> optax.GradientTransformation:
    """RMSProp with bias correction, momentum, and the effective learning rate `learning_rate`."""
    return optax.rmsprop(
        learning_rate * (1 - momentum), decay, eps, eps_in_sqrt=False, momentum=momentum, bias_correction=True
    )


def lars(
    learning_rate: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """LARS with the effective learning rate `learning_rate`."""
    return optax.lars(learning_rate * (1 - momentum), weight_decay, trust_coefficient=1e-3, momentum=momentum)


def schedule_free_sgd(
    learning_rate: float, b1: float = 0.9, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Schedule-free SGD. The gradient is computed at b1·x + (1 − b1)·z, where x is the average of all z."""
    inner = optax.chain(optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(learning_rate))
    return contrib.schedule_free(inner, learning_rate, b1)


def schedule_free_adamw(
    learning_rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Schedule-free AdamW. The gradient is computed at b1·x + (1 − b1)·z, where x is the average of all z."""
    inner = optax.chain(
        optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
    return contrib.schedule_free(inner, learning_rate, b1)


def prodigy(
    learning_rate: float = 1.0, estim_lr_coef: float = 1.0, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Prodigy, which estimates its learning rate; a schedule may start at 0."""
    return contrib.prodigy(
        learning_rate, estim_lr_coef=estim_lr_coef, weight_decay=weight_decay, safeguard_warmup=True
    )


def dadapt_adamw(learning_rate: float = 1.0, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """D-Adaptation of AdamW, which estimates its learning rate; a schedule may start at 0."""
    return contrib.dadapt_adamw(jnp.maximum(learning_rate, MIN_FACTOR), weight_decay=weight_decay)


def lbfgs(
    learning_rate: float = 1.0, weight_decay: float = 0.0, budget: float = math.inf
) -> optax.GradientTransformation:
    """L-BFGS with a line search. The parameters stop changing before it has computed `budget` gradients.

    A step of L-BFGS costs one gradient, plus one gradient for each step of the line search.
    """
    # As in the defaults of optax.lbfgs, every line search starts at the step size 1 of Newton's method.
    line_search = optax.scale_by_zoom_linesearch(LINE_SEARCH_STEPS, initial_guess_strategy="one")
    inner = optax.lbfgs(learning_rate, memory_size=10, linesearch=line_search)
    return frozen_when_spent(
        decayed(inner, learning_rate, weight_decay),
        lambda state: 1 + optax.tree.get(state, "num_linesearch_steps"),
        budget,
    )


_B1 = {"b1": one_minus_log_uniform(0.01, 0.5)}
_MOMENTUM = {"momentum": one_minus_log_uniform(0.005, 1)}
_MOMENTUM_ABOVE_HALF = {"momentum": one_minus_log_uniform(0.01, 0.5)}
_B2 = {"b2": one_minus_log_uniform(1e-3, 0.2)}
_EPS = {"eps": log_uniform(1e-10, 1e-3)}
_DECAY = {"weight_decay": WEIGHT_DECAY}


def _rate(low: float, high: float) -> dict[str, LogUniform]:
    return {"learning_rate": log_uniform(low, high)}


_ADAM = _rate(1e-4, 1)

# The quick budget has 4 trials, so it tunes one number: the learning rate, or what takes its place; on
# problems that tune the weight decay, this too.
BASELINES: Mapping[str, Tunable] = {
    "sgd": Tunable(optax.sgd, _rate(1e-3, 10), scales_with_gradient=True),
    "momentum": Tunable(momentum, _rate(1e-3, 10), _MOMENTUM, scales_with_gradient=True),
    "nesterov": Tunable(nesterov, _rate(1e-3, 10), _MOMENTUM, scales_with_gradient=True),
    "adagrad": Tunable(
        optax.adagrad,
        _rate(1e-2, 100),
        {"initial_accumulator_value": log_uniform(1e-8, 0.1)},
        scales_with_gradient=False,
    ),
    "rmsprop": Tunable(
        rmsprop,
        _rate(1e-4, 1),
        _MOMENTUM_ABOVE_HALF | {"decay": one_minus_log_uniform(1e-3, 0.2)} | _EPS,
        scales_with_gradient=False,
    ),
    "adamw": Tunable(optax.adamw, _ADAM | _DECAY, _B1 | _B2 | _EPS, scales_with_gradient=False),
    "nadamw": Tunable(optax.nadamw, _ADAM | _DECAY, _B1 | _B2 | _EPS, scales_with_gradient=False),
    "amsgrad": Tunable(optax.amsgrad, _ADAM, _B1 | _B2 | _EPS, scales_with_gradient=False),
    "adabelief": Tunable(
        optax.adabelief, _ADAM, _B1 | _B2 | {"eps": log_uniform(1e-16, 1e-8)}, scales_with_gradient=False
    ),
    "yogi": Tunable(optax.yogi, _rate(1e-3, 10), _B1 | _B2, scales_with_gradient=False),
    "lion": Tunable(
        optax.lion,
        _rate(1e-5, 0.1) | {"weight_decay": LogUniform(1e-2, 100, zero_share=0.25)},
        _B1 | _B2,
        scales_with_gradient=False,
    ),
    "lamb": Tunable(optax.lamb, _ADAM | _DECAY, _B1 | _B2 | _EPS, scales_with_gradient=False),
    "lars": Tunable(lars, _rate(0.1, 1000) | _DECAY, _MOMENTUM_ABOVE_HALF, scales_with_gradient=False),
    # Every 10 steps, the estimate of the diagonal of the Hessian costs 2 more gradients.
    "sophia": Tunable(
        contrib.sophia,
        _ADAM | _DECAY,
        _B1 | {"gamma": log_uniform(1e-3, 0.1)} | _B2,
        cost=1.2,
        scales_with_gradient=False,
    ),
    "muon": Tunable(
        muon,
        _ADAM | _DECAY,
        {"beta": one_minus_log_uniform(0.01, 0.5), "adam_factor": log_uniform(0.1, 10)},
        scales_with_gradient=False,
    ),
    "schedule_free_sgd": Tunable(
        schedule_free_sgd, _rate(1e-2, 100) | _DECAY, _B1, schedules=("constant",), scales_with_gradient=True
    ),
    "schedule_free_adamw": Tunable(
        schedule_free_adamw,
        _rate(1e-3, 10) | _DECAY,
        _B1 | _B2 | _EPS,
        schedules=("constant",),
        scales_with_gradient=False,
    ),
    # The next two optimizers estimate their learning rates.
    "prodigy": Tunable(prodigy, {"estim_lr_coef": log_uniform(0.1, 10)} | _DECAY, scales_with_gradient=False),
    "dadapt_adamw": Tunable(dadapt_adamw, _rate(0.1, 10) | _DECAY, scales_with_gradient=False),
    "lbfgs": Tunable(
        lbfgs,
        _DECAY,
        schedules=("constant",),
        cost=2,
        batch_multipliers=(1, 4),
        scales_with_gradient=False,
        freezes=True,
    ),
    "gauss_newton": Tunable(
        gauss_newton,
        _rate(0.1, 1),
        {"damping": log_uniform(1e-4, 1)},
        cost=1 + 2 * CONJUGATE_GRADIENT_PRODUCTS,
        batch_multipliers=(1, 4),
        scales_with_gradient=False,
    ),
}

# Optimizers that are equal to another one in every comparison. On problems without weight decay, adamw has
# the weight decay 0, so it is adam. On the other problems, adam gets decoupled weight decay, so it is adamw.
SAME_AS: Mapping[str, str] = {"adam": "adamw"}
