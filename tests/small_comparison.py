"""A small problem, a tiny budget and optimizers for tests of `compare`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from nnjax.compare import Problem, Tunable, compare, log_uniform
from nnjax.compare.protocol import Budget

TINY = Budget("tiny", 2, 2, 1, 2, ("warmup_linear",), is_standard=False)
X = np.random.RandomState(0).normal(0, 0.5, (64, 5)).astype(np.float32)
CURVATURE = np.array([0.1, 0.3, 1.0, 3.0, 10.0], np.float32)
DATA = nnjax.Dataset.from_arrays((X, X), (X, X), name="small")


def start(key):
    return jax.random.normal(key, (5,)) + 2


def cost(theta, x):
    return jnp.sum(jnp.asarray(CURVATURE) * (theta - x) ** 2) / 2


SMALL = Problem(
    "small", lambda: DATA, start, nnjax.Objective(lambda theta, x, key: theta, cost, code=None),
    batch_size=16, steps=40, separates_by="conditioning", report_on="validation",
)  # fmt: skip


def sgd(learning_rate=0.1):
    return optax.sgd(learning_rate)


def tuned(factory, **space):
    return Tunable(factory, {"learning_rate": log_uniform(1e-3, 1)} | space, scales_with_gradient=False)


def report_of(factory, budget=TINY, problem=SMALL, **settings):
    return compare({"mine": factory}, problems=problem, budget=budget, **settings)
