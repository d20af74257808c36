"""Audits of the comparison, which are comparisons whose correct results are known.

`python -m nnjax.compare.baselines.audits --store DIR` writes their results to `audits.json`, and every report
shows them. Finished units of work are stored, so the command can be interrupted and started again. Run it
after `python -m nnjax.compare.baselines`.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from nnjax.compare import protocol
from nnjax.compare._references import REFERENCE
from nnjax.compare._shipped import shipped_reference, shipped_result
from nnjax.compare._store import Store
from nnjax.compare._task import Task
from nnjax.compare.baselines._deepobs import PUBLISHED, test_losses
from nnjax.compare.baselines._weakened import choose_share, weakened_task
from nnjax.compare.plan import baseline, choose_problems
from nnjax.compare.protocol import BUDGETS, Budget, Reading
from nnjax.compare.runner import Runner
from nnjax.compare.scores import binomial_interval
from nnjax.compare.verdicts import BETTER, WORSE, Verdict
from nnjax.runtime.environment import environment
from nnjax.runtime.files import write_atomically

FOLDER = Path(__file__).parent
REPETITIONS = 60  # of the audit with two equal optimizers
FIRST_STUDY = 100  # of that audit; baselines have the studies from 0 on
POWER_PROBLEMS = ("vae",)  # where the studies of AdamW differ least: 10 % is two of their standard deviations

Audit = dict[str, Any]


def task_of(optimizer: str, problem: Any, budget: Budget) -> Task:
    """The task of a baseline."""
    return Task(optimizer, *baseline(optimizer), problem, budget)


def readings(budget: Budget, problems: list[Any]) -> dict[str, Reading]:
    """For each problem, how its metric is interpreted, with the shipped ε."""
    read = {}
    for problem in problems:
        numbers = shipped_reference(task_of(REFERENCE, problem, budget))
        if numbers is None:
            raise ValueError(f"a result of {REFERENCE} on {problem.name} must be shipped, got none")
        read[problem.name] = Reading(
            numbers["epsilon"], problem.steps + 1 if problem.target_accuracy else None
        )
    return read


def equal_optimizers(runner: Runner) -> Audit:
    """The reference against itself, with different studies. Every verdict of better or worse is false."""
    budget, problems = BUDGETS["quick"], choose_problems("quick")
    read, false = readings(budget, problems), 0
    for i in range(REPETITIONS):
        sides = []
        for side in (0, 1):
            first = FIRST_STUDY + budget.studies * (2 * i + side)
            for problem in problems:
                task = task_of(REFERENCE, problem, replace(budget, first_study=first))
                runs = runner.run(task, problem.load()).runs
                sides.append(runs.assign(optimizer=str(side), study=runs.study - first))
        verdicts = protocol.verdicts(pd.concat(sides), read, "0", "1")
        wrong = {name: v.verdict for name, v in verdicts.items() if v.verdict in (BETTER, WORSE)}
        false += bool(wrong)
        print(f"repetition {i + 1} of {REPETITIONS}: {wrong or 'no false verdict'}", flush=True)
    low, high = binomial_interval(false, REPETITIONS)
    return {
        "name": "Equal optimizers (A/A): AdamW against itself with the seeds of other studies, quick budget",
        "result": "passed" if low <= protocol.ALPHA else "failed",
        "detail": f"{false} of {REPETITIONS} reports say better or worse on at least one problem: "
        f"{false / REPETITIONS:.0%}, exact 95 % interval {low:.0%} to {high:.0%}. At most 5 % are expected. "
        "The audit fails if the whole interval is above 5 %.",
        "false": false, "repetitions": REPETITIONS, "low": low, "high": high,
    }  # fmt: skip


def inclusion() -> Audit:
    """SGD must not be better than momentum, because SGD is momentum 0 (Choi and others, 2019).

    The audit has the standard budget, because the quick budget does not tune the momentum.
    """
    budget, problems = BUDGETS["standard"], choose_problems("standard")
    pairs = [(task_of("sgd", p, budget), task_of("momentum", p, budget)) for p in problems]
    shipped = [[shipped_result(task) for task in pair] for pair in pairs]
    usable = [i for i, pair in enumerate(shipped) if all(pair)]
    runs = pd.concat([result.runs for i in usable for result in shipped[i] if result])
    verdicts = protocol.verdicts(runs, readings(budget, [problems[i] for i in usable]), "sgd", "momentum")
    better = [name for name, verdict in verdicts.items() if verdict.verdict == BETTER]
    return {
        "name": "Inclusion: SGD against momentum, of which SGD is a special case, standard budget",
        "result": "momentum is under-tuned" if better else "passed",
        "detail": f"SGD is better on {len(better)} of {len(verdicts)} problems{_names(better)}."
        + " Momentum has one more hyper-parameter, and too few trials to tune it there." * bool(better),
        "better": better, "problems": len(verdicts),
    }  # fmt: skip


def initial_pass(budget: Budget) -> Audit:
    """No target may hold before training: it would measure nothing."""
    problems = [p for p in choose_problems(budget.name) if p.target_accuracy is None]
    passing, targets = [], 0
    for problem in problems:
        task = task_of(REFERENCE, problem, budget)
        numbers, result = shipped_reference(task), shipped_result(task)
        if numbers and result:
            initial = result.runs.initial.min()
            targets += len(numbers["targets"])
            passing += [problem.name for target in numbers["targets"].values() if target >= initial]
    return {
        "name": f"Initial pass: targets that hold before training, {budget.name} budget",
        "result": "failed" if passing else "passed",
        "detail": f"{len(passing)} of {targets} targets hold before training{_names(passing)}.",
    }


def deepobs() -> Audit:
    """Compares test losses on `quadratic_deep` with those that DeepOBS published, each from one run."""
    details, passed = [], True
    losses = {name: test_losses(name) for name in PUBLISHED}
    for name, values in losses.items():
        published, mean, sd = PUBLISHED[name].loss, values.mean(), values.std(ddof=1)
        passed &= abs(published - mean) < 2 * sd
        details.append(f"{name} {mean:.3f} ± {sd:.3f}, published {published:.3f}")
    return {
        "name": "Published results: test losses of quadratic_deep in DeepOBS, after 100 epochs",
        "result": "passed" if passed else "failed",
        "detail": "; ".join(details)
        + " (mean and standard deviation of 10 seeds here; a published loss is that of one run, and must "
        "be within two standard deviations).",
        "losses": {name: values.tolist() for name, values in losses.items()},
    }


def power(runner: Runner) -> Audit:
    """AdamW that skips updates, so that its tuned metric is 10 % worse, must get the verdict worse."""
    budget = BUDGETS["standard"]
    found: dict[str, dict[str, Any]] = {}
    for problem in choose_problems(POWER_PROBLEMS):
        share, ratio = choose_share(runner, problem, budget)
        results = [
            runner.run(task, problem.load()).runs
            for task in (weakened_task(problem, budget, share), task_of(REFERENCE, problem, budget))
        ]
        verdict = protocol.verdicts(
            pd.concat(results), readings(budget, [problem]), results[0].optimizer.iloc[0], REFERENCE
        )[problem.name]
        found[problem.name] = {"share": share, "ratio": ratio, **_summary(verdict)}
        print(problem.name, found[problem.name], flush=True)
    return {
        "name": "Power: AdamW that skips a share of its updates, so that its metric is 10 % worse, on the "
        "problem where the studies of AdamW differ least",
        "result": "passed" if all(v["verdict"] == WORSE for v in found.values()) else "failed",
        "detail": "; ".join(
            f"{name}: {v['share']:.1%} of the updates skipped ({v['ratio'] - 1:+.1%} on separate seeds), "
            f"found {v['verdict']} ({math.expm1(v['effect']):+.1%}, p = {v['p']:.2g})"
            for name, v in found.items()
        ) + ". Standard budget.",
        "problems": found,
    }  # fmt: skip


def _names(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _summary(verdict: Verdict) -> dict[str, Any]:
    return {"verdict": verdict.verdict, "effect": verdict.effect, "p": verdict.p}


def main() -> None:
    """Runs the chosen audits, and replaces their results in `audits.json`."""
    audits: dict[str, Callable[[Runner], Audit]] = {
        "equal": equal_optimizers,
        "power": power,
        "inclusion": lambda _: inclusion(),
        "initial-pass-quick": lambda _: initial_pass(BUDGETS["quick"]),
        "initial-pass-standard": lambda _: initial_pass(BUDGETS["standard"]),
        "deepobs": lambda _: deepobs(),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audits", nargs="*", help=f"{', '.join(audits)}; default: all")
    parser.add_argument("--store", type=Path, required=True, help="folder of finished units of work")
    arguments = parser.parse_args()
    path = FOLDER / "audits.json"
    old = json.loads(path.read_text("utf-8"))["audits"] if path.is_file() else []
    results = {audit["key"]: audit for audit in old}
    for key in arguments.audits or audits:
        audit = audits[key](Runner(Store(arguments.store)))
        results[key] = {"key": key, **audit, "environment": environment()}
        print(f"{audit['name']}: {audit['result']}. {audit['detail']}", flush=True)
        content = {"audits": [results[key] for key in audits if key in results]}
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
