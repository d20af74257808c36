"""The rows of the table of runs: the measured values of a unit."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from nnjax.compare import protocol
from nnjax.compare._problem import Problem
from nnjax.compare.protocol import FRESH, RunSpec
from nnjax.compare.search_spaces import Setting
from nnjax.data import Dataset
from nnjax.sweep.grid import Keys
from nnjax.training._epoch_loop import evaluate_epoch

if TYPE_CHECKING:
    import xarray

KEYS = Keys(jax.random.key(0), shared_batches=False)


def initial_metrics(problem: Problem, data: Dataset, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """For each split, the metric of each seed before training."""
    keys = jnp.stack([KEYS.for_seed(seed)[0] for seed in seeds])
    evaluated = _evaluate_initial(keys, problem.objective, data.validation, data.test, problem.init)
    values = {name: np.asarray(value) for name, value in evaluated.items() if name != "metrics"}
    return {
        split: _metric(problem, data, split, values, [0]) for split in (problem.select_on, problem.report_on)
    }


@partial(jax.jit, static_argnames="init")
def _evaluate_initial(keys, objective, validation, test, init):
    return jax.vmap(lambda key: evaluate_epoch(init(key), objective, validation, test))(keys)


def make_rows(
    problem: Problem,
    data: Dataset,
    unit: Sequence[RunSpec],
    settings: Sequence[Setting],
    histories: "xarray.Dataset",
    initial: Mapping[str, np.ndarray],
    budget_used: np.ndarray,
) -> list[dict[str, Any]]:
    """The row of each run of a unit, as JSON values.

    Args:
      problem, data: the problem and its data set.
      unit: the runs.
      settings: the setting of each run.
      histories: the data of the grid of these runs. The grid may have more networks than there are runs.
      initial: for each split, the metric of each run before training.
      budget_used: the share of the budget that is used at each evaluation.
    """
    values = {str(name): column.values for name, column in histories.items()}
    at = budget_used * problem.steps
    selection, _ = protocol.guard(
        _metric(problem, data, problem.select_on, values, at), initial[problem.select_on]
    )
    metric, diverged = protocol.guard(
        _metric(problem, data, problem.report_on, values, at), initial[problem.report_on]
    )
    curves = problem.curve(data, problem.report_on, values[f"{problem.report_on}_cost"])
    errors = _second_measure(problem, data, values)
    return [
        {
            "problem": problem.name,
            "kind": run.kind,
            "study": run.study,
            "index": run.index,
            "seed": run.seed,
            "quantile": None if run.point is None else run.point[0],
            "batch_multiplier": setting.batch_multiplier,
            "settings": json.dumps(setting.hyperparameters | {"schedule": setting.schedule}, sort_keys=True),
            "selection": float(selection[i]),
            "metric": float(metric[i]),
            "initial": float(initial[problem.report_on][i]),
            "diverged": bool(diverged[i]),
            "error": None if errors is None else float(errors[i]),
            "curve": np.float32(curves[i]).tolist() if run.kind == FRESH else None,
            "budget_used": budget_used.tolist() if run.kind == FRESH else None,
        }
        for i, (run, setting) in enumerate(zip(unit, settings, strict=False))
    ]


def _metric(
    problem: Problem, data: Dataset, split: str, values: Mapping[str, np.ndarray], steps: Any
) -> np.ndarray:
    """The metric of each run from its costs and counts, (runs, rows) or (runs,)."""
    costs, correct = (values.get(f"{split}_{column}") for column in ("cost", "correct"))
    rows = len(values[f"{split}_cost"]), -1
    costs = np.asarray(costs).reshape(rows)
    correct = None if correct is None else np.asarray(correct).reshape(rows)
    return problem.metric(data, split, costs, correct, np.asarray(steps))


def _second_measure(problem: Problem, data: Dataset, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The error on the test split after training; None if the metric already belongs to this split."""
    if problem.report_on == "test" or "test_correct" not in values:
        return None
    return 1 - values["test_correct"][:, -1] / len(data.test.targets)
