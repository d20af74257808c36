"""AdamW that skips a share of its updates: an optimizer that is worse by a known amount."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nnjax.compare import protocol
from nnjax.compare._baseline_optimizers import BASELINES
from nnjax.compare._references import REFERENCE
from nnjax.compare._task import Task
from nnjax.compare.plan import baseline
from nnjax.compare.protocol import Budget
from nnjax.compare.runner import Runner

WORSE_BY = 1.1  # the wanted ratio of the metrics of the weakened and the original AdamW
FIRST_STUDY = 1000  # number of the first study that chooses the share
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)


def skipping(share: float) -> optax.GradientTransformation:
    """Zeroes the updates of a random share of the steps."""

    def update(updates: optax.Updates, state: Any, params: optax.Params | None = None) -> tuple[Any, Any]:
        keep = jax.random.bernoulli(jax.random.fold_in(jax.random.key(0), state), 1 - share)
        return jax.tree.map(lambda u: jnp.where(keep, u, 0), updates), state + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def weakened_task(problem: Any, budget: Budget, share: float) -> Task:
    """The task of AdamW that skips a share of its updates."""
    adamw = BASELINES[REFERENCE]

    def factory(learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4):
        inner = optax.adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay)
        return optax.chain(inner, skipping(share))

    name = f"adamw that skips {share:.4f}"
    return Task(name, replace(adamw, factory=factory), name, problem, budget)


def choose_share(runner: Runner, problem: Any, budget: Budget) -> tuple[float, float]:
    """The share of skipped updates that makes the tuned metric 10 % worse, and the measured ratio.

    Several shares are tried in separate studies, and the wanted share is interpolated between them.

    Raises:
      ValueError: no share makes the metric 10 % worse.
    """
    separate = replace(budget, first_study=FIRST_STUDY)
    reference = Task(REFERENCE, *baseline(REFERENCE), problem, separate)
    base = _mean_log_metric(runner, reference)
    shares, logs = [0.0], [0.0]
    for share in SHARES:
        shares.append(share)
        logs.append(_mean_log_metric(runner, weakened_task(problem, separate, share)) - base)
        print(f"{problem.name}: {share:.0%} skipped, metric {math.expm1(logs[-1]):+.1%}", flush=True)
        if logs[-1] > math.log(WORSE_BY):
            break
    if logs[-1] <= math.log(WORSE_BY):
        raise ValueError(f"a share must make {problem.name} 10 % worse, got none of {SHARES}")
    # The measured metric is not exactly monotone in the share, because studies vary.
    increasing = np.maximum.accumulate(logs)
    share = round(float(np.interp(math.log(WORSE_BY), increasing, shares)), 4)
    ratio = math.exp(_mean_log_metric(runner, weakened_task(problem, separate, share)) - base)
    return share, ratio


def _mean_log_metric(runner: Runner, task: Task) -> float:
    runs = runner.run(task, task.problem.load()).runs
    return float(protocol.study_means(runs, 0.0).mean())
