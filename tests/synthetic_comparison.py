"""Synthetic results of a comparison: five problems and three optimizers, with realistic numbers."""

import json
import math

import numpy as np
import pandas as pd

from nnjax.compare.verdicts import Verdict, judge

STUDIES, TRIALS, DEFAULTS = 8, 4, 8
BUDGET = np.arange(1, 41) / 40

# By problem: what it separates by, the reported metric, m0, the metric of each tuned optimizer, the spread of
# ln(metric) over studies, steps, batch size.
PROBLEMS = {
    "quadratic": (
        "conditioning, noise", "training loss minus its minimum",
        2.5e3, (21.0, 24.0, 35.0), 0.05, 700, 128,
    ),
    "bigram": (
        "heavy-tailed classes", "KL divergence from the source",
        1.31, (0.0121, 0.0155, 0.31), 0.06, 900, 512,
    ),
    "teacher": (
        "heavy-tailed gradient noise", "MSE against the teacher",
        1.07, (0.0132, 0.0129, 0.019), 0.12, 1500, 64,
    ),
    "digits_autoencoder": (
        "pathological curvature", "cross-entropy minus the entropy of the data",
        22.9, (4.41, 4.40, 7.9), 0.01, 600, 100,
    ),
    "digits_rnn": (
        "exploding gradients", "training cross-entropy",
        2.31, (0.061, 0.085, 0.14), 0.2, 500, 32,
    ),
}  # fmt: skip
OPTIMIZERS = {"mine": (1e-4, 1.0), "adamw": (1e-5, 0.1), "sgd": (1e-3, 10.0)}
BEST_QUANTILE = {"mine": 0.5, "adamw": 0.62, "sgd": 0.7}


def facts(problem, *, censored=False, reference=True):
    """What a comparison knows of a problem."""
    separates_by, reported, m0, metrics, _, steps, batch_size = PROBLEMS[problem]
    adamw = metrics[1]
    targets = {"1/4": 0.25, "1/2": 0.5, "1": 1.0}
    return {
        "separates_by": separates_by,
        "reported": reported,
        "m0": m0,
        "epsilon": 1e-3 * m0,
        "reference": adamw if reference else None,
        "targets": {
            name: None if censored else 1.02 * m0 * (adamw / m0) ** (share**0.4)
            for name, share in targets.items()
        },
        "censored": censored,
        "steps": steps,
        "batch_size": batch_size,
    }


def synthetic_runs(
    problems=tuple(PROBLEMS), optimizers=tuple(OPTIMIZERS), *, diverged=False, curves=True, seed=0
):
    """The table of runs; `diverged` makes every run diverge, without `curves` no run has a curve."""
    random = np.random.default_rng(seed)
    quantiles = (np.arange(TRIALS) + random.random((STUDIES, TRIALS))) / TRIALS  # the same on every problem
    rows = []
    for problem in problems:
        shared = PROBLEMS[problem][4] * random.standard_normal(STUDIES)
        for optimizer in optimizers:

            def run(kind, study, index, quantile, pair=(problem, optimizer), shared=shared):
                row = _run(random, *pair, quantile, shared[study % STUDIES], diverged)
                curve = _curve(random, row) if kind == "fresh" and curves else None
                row |= {"curve": curve, "budget_used": None if curve is None else BUDGET.tolist()}
                row |= {"kind": kind, "study": study, "index": index, "seed": 1000 * study + index}
                rows.append(row | ({"quantile": np.nan} if kind == "default" else {}))
                return row

            for study in range(STUDIES):
                trials = [run("trial", study, k, quantiles[study, k]) for k in range(TRIALS)]
                best = min(trials, key=lambda trial: trial["selection"])
                run("fresh", study, 0, best["quantile"])
            for index in range(DEFAULTS):
                run("default", index, index, BEST_QUANTILE[optimizer] - 0.25)
    return pd.DataFrame(rows)


def _run(random, problem, optimizer, quantile, shared, diverged):
    """The settings and the metrics of a run: a valley around the best learning rate, and noise."""
    _, _, m0, metrics, noise, _, _ = PROBLEMS[problem]
    low, high = OPTIMIZERS[optimizer]
    tuned = metrics[list(OPTIMIZERS).index(optimizer)]
    valley = 20 * abs(quantile - BEST_QUANTILE[optimizer]) ** 3
    fails = diverged or (quantile > 0.93 and optimizer != "mine")
    metric = (
        m0 if fails else min(tuned * math.exp(valley + noise * random.standard_normal() / 3 + shared), m0)
    )
    rate = low * (high / low) ** quantile
    return {
        "optimizer": optimizer,
        "problem": problem,
        "quantile": quantile,
        "batch_multiplier": 1,
        "settings": json.dumps({"learning_rate": rate, "schedule": "linear"}),
        "selection": metric * math.exp(noise * random.standard_normal() / 5),
        "metric": metric,
        "initial": m0 * math.exp(0.02 * random.standard_normal()),
        "diverged": fails,
        "error": 100 * metric / m0 if problem == "digits_rnn" else np.nan,
    }


def _curve(random, row):
    m0 = PROBLEMS[row["problem"]][2]
    curve = m0 * (row["metric"] / m0) ** (BUDGET**0.4) * np.exp(0.03 * random.standard_normal(40))
    return np.where(row["diverged"] & (BUDGET > 0.3), np.nan, curve).tolist()


def synthetic_verdicts(runs, problems, baseline="adamw"):
    """The table of verdicts of every other optimizer against the baseline."""
    fresh = runs[runs.kind == "fresh"]
    y = np.log(fresh.metric).groupby([fresh.problem, fresh.optimizer, fresh.study]).mean()
    censored = {name: facts["censored"] for name, facts in problems.items()}
    rows = []
    for optimizer in [name for name in runs.optimizer.unique() if name != baseline]:
        differences = {name: (y[name, optimizer] - y[name, baseline]).to_numpy() for name in problems}
        for name, verdict in judge(differences, censored).items():
            rows.append({"problem": name, "optimizer": optimizer, "baseline": baseline, **vars(verdict)})
    columns = ["problem", "optimizer", "baseline", *Verdict.__dataclass_fields__]
    return pd.DataFrame(rows, columns=columns).astype({"studies_needed": "Int64"})


def synthetic_about(runs):
    """What the page says about the comparison."""
    seconds = pd.DataFrame(
        [
            {
                "optimizer": optimizer,
                "problem": problem,
                "seconds_alone": 0.1 + 0.05 * i + 0.03 * len(problem),
            }
            for i, optimizer in enumerate(runs.optimizer.unique())
            for problem in runs.problem.unique()
        ],
        columns=["optimizer", "problem", "seconds_alone"],
    )
    return {
        "command": "nnjax compare mine.py:mine --against adamw --problems quick --budget quick",
        "budget": "quick",
        "studies": STUDIES,
        "trials": TRIALS,
        "fresh_seeds": 1,
        "versions": {"nnjax": "0.1.0", "jax": "0.10.2", "optax": "0.2.8", "protocol": 1},
        "machine": {"processor": "AMD EPYC 7B13", "cores": 2, "device": "cpu"},
        "seeds": "studies 0 to 7",
        "schedules": ["warmup_linear"],
        "spaces": {"mine": ["learning_rate 0.0001 to 1"]},
        "notes": ["adam and adamw coincide on problems without weight decay: they are trained once."],
        "audits": [
            {"name": "A/A", "result": "passed", "detail": "2 of 100 reports are false (0.2 % to 7.0 %)."},
            {
                "name": "inclusion",
                "result": "passed",
                "detail": "SGD does not beat momentum, which contains it.",
            },
            {"name": "initial pass", "result": "passed", "detail": "No target holds at initialization."},
        ],
        "seconds": seconds,
        "shipped": {"Another processor": ["adamw"]},
    }


def synthetic_comparison(problems=tuple(PROBLEMS), optimizers=tuple(OPTIMIZERS), **changes):
    """Runs, problems, verdicts and about."""
    options = {key: changes.pop(key) for key in ("censored", "reference") if key in changes}
    table = {name: facts(name, **options) for name in problems}
    runs = synthetic_runs(problems, optimizers, **changes)
    return runs, table, synthetic_verdicts(runs, table), synthetic_about(runs)
