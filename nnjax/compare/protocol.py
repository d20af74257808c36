"""The protocol of a comparison: which runs to train, and what their results mean. All functions are pure.

The unit of replication is a tuning study: draw settings, train one run with each, select the best setting,
and train it again with fresh seeds. The variance of tuning can be larger than that of seeds (Bouthillier and
others, *Accounting for variance in machine learning benchmarks*, 2021). In a study, all optimizers have the
same quantiles of settings, schedules, seeds and mini-batches, so the results of a study are paired.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from scipy.stats import qmc

from nnjax.compare.verdicts import ALPHA, NOT_REACHED, Verdict, judge, smallest_p
from nnjax.runtime.checks import check_positive_int

VERSION = 3  # of the protocol; results of other versions are not compared

COLUMNS = 8  # of a Sobol point: quantiles of the hyper-parameters
UNIT_RUNS = 16  # runs of one compiled program
EPSILON = 1e-3  # metrics below this share of the initial metric count as equal

TRIAL, FRESH, DEFAULT = "trial", "fresh", "default"
KINDS = (TRIAL, FRESH, DEFAULT)

MAX_STUDY = 1_000_000  # its seeds are 32-bit integers

# Seeds of the runs of study s are 100 s + offset + index.
_SEEDS_PER_STUDY = 100
_OFFSETS = {TRIAL: 0, FRESH: 50, DEFAULT: 90}


@dataclass(frozen=True)
class Budget:
    """How much tuning every optimizer gets on every problem.

    Attributes:
      name: the name on the command line.
      studies: the number of independent tuning studies.
      trials: the number of trials of a study; a power of two, because the settings are Sobol points.
      fresh: the number of fresh seeds for the setting that a study selects.
      defaults: the number of runs of the default setting.
      schedules: the schedules, one of which each trial draws.
      is_standard: whether the hyper-parameters of `standard_space` are tuned too.
      first_study: the number of the first study; studies with other numbers are independent.
    """

    name: str
    studies: int
    trials: int
    fresh: int
    defaults: int
    schedules: tuple[str, ...]
    is_standard: bool
    first_study: int = 0

    def __post_init__(self):
        for field in ("studies", "trials", "fresh", "defaults"):
            check_positive_int(field, getattr(self, field))
        if self.studies < 2:
            raise ValueError(f"studies must be at least 2, to estimate their variance, got {self.studies}")
        if self.trials & (self.trials - 1) or self.trials > _OFFSETS[FRESH]:
            raise ValueError(f"trials must be a power of two of at most 32, got {self.trials}")
        if self.fresh > _OFFSETS[DEFAULT] - _OFFSETS[FRESH]:
            raise ValueError(f"fresh must be at most {_OFFSETS[DEFAULT] - _OFFSETS[FRESH]}, got {self.fresh}")
        if not 0 <= self.first_study <= MAX_STUDY:
            raise ValueError(f"first_study must be from 0 to {MAX_STUDY:,}, got {self.first_study}")

    @property
    def runs(self) -> int:
        """The runs of one optimizer on one problem."""
        return self.studies * (self.trials + self.fresh) + self.defaults

    @property
    def study_numbers(self) -> range:
        """The numbers of the studies."""
        return range(self.first_study, self.first_study + self.studies)


BUDGETS = {
    "quick": Budget("quick", 8, 4, 1, 8, ("warmup_linear",), is_standard=False),
    "standard": Budget(
        "standard", 12, 8, 2, 8, ("constant", "warmup_cosine", "warmup_linear"), is_standard=True
    ),
}


class RunSpec(NamedTuple):
    """One run to train.

    Attributes:
      kind: "trial", "fresh" or "default".
      study: the number of the study. Each default run has a number of its own.
      index: the number of the trial or of the fresh seed in the study.
      point: the quantiles of the hyper-parameters; None for the default setting.
    """

    kind: str
    study: int
    index: int
    point: tuple[float, ...] | None

    @property
    def seed(self) -> int:
        """The seed of the initial parameters and of the mini-batches."""
        return _SEEDS_PER_STUDY * self.study + _OFFSETS[self.kind] + self.index


# A unit of work: up to 16 runs that one program trains.
Unit = tuple[RunSpec, ...]


def sobol_points(study: int, trials: int) -> list[tuple[float, ...]]:
    """The quantiles of the trials of a study: scrambled Sobol points (Owen, 1998).

    In each column, every interval [i/K, (i + 1)/K) contains one of the K trials.

    >>> sorted(int(4 * point[0]) for point in sobol_points(0, 4))
    [0, 1, 2, 3]
    """
    sobol = qmc.Sobol(COLUMNS, rng=np.random.default_rng(study))
    return [tuple(point) for point in sobol.random_base2(trials.bit_length() - 1).tolist()]


def trial_runs(budget: Budget) -> list[RunSpec]:
    """The trials of all studies."""
    return [
        RunSpec(TRIAL, study, i, point)
        for study in budget.study_numbers
        for i, point in enumerate(sobol_points(study, budget.trials))
    ]


def final_runs(budget: Budget, winners: Mapping[int, tuple[float, ...]]) -> list[RunSpec]:
    """The fresh runs of the setting that each study selected, and the runs of the default setting.

    Args:
      budget: the budget.
      winners: for each study, the quantiles of the selected trial.
    """
    fresh = [RunSpec(FRESH, s, i, winners[s]) for s in budget.study_numbers for i in range(budget.fresh)]
    first = budget.first_study
    return fresh + [RunSpec(DEFAULT, first + i, 0, None) for i in range(budget.defaults)]


def units(runs: Iterable[RunSpec], program: Callable[[RunSpec], Hashable] = lambda run: None) -> list[Unit]:
    """Divides runs into units of at most 16. The units do not depend on which runs are finished.

    Args:
      runs: the runs in order.
      program: a function of a run. Runs with different values of it cannot be trained by one program.

    >>> [len(unit) for unit in units(trial_runs(BUDGETS["quick"]))]
    [16, 16]
    """
    groups: dict[Hashable, list[RunSpec]] = {}
    for run in runs:
        groups.setdefault(program(run), []).append(run)
    return [
        tuple(group[i : i + UNIT_RUNS]) for group in groups.values() for i in range(0, len(group), UNIT_RUNS)
    ]


def guard(metric: np.ndarray, initial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replaces the metric of diverged runs by their metric before training.

    A run has diverged if its metric is not finite, or worse than before training.

    Returns:
      The metrics, and whether each run has diverged.

    >>> guard(np.array([0.5, np.nan, 3.0]), np.array([1.0, 1.0, 1.0]))[0].tolist()
    [0.5, 1.0, 1.0]
    """
    with np.errstate(invalid="ignore"):
        diverged = ~(np.isfinite(metric) & (metric <= initial))
    return np.where(diverged, initial, metric), diverged


def select(
    selection: Sequence[float], learning_rates: Sequence[float], diverged: Sequence[bool] | None = None
) -> int:
    """The index of the best trial, which a study selects; of equal trials, the one with the lowest rate.

    >>> select([2.0, 1.0, 1.0], [0.1, 0.3, 0.2])
    2
    """
    rates, diverged = learning_rates, diverged or [False] * len(selection)
    # The metric of a diverged trial is that of its initial parameters, which depends on the seed only.
    return min(
        range(len(selection)), key=lambda i: (diverged[i], 0 if diverged[i] else selection[i], rates[i])
    )


def bounded_sides(quantiles: Sequence[float]) -> tuple[bool, bool]:
    """Whether the range of the learning rate bounds the result below, and whether it does so above.

    An end of the range bounds the result if at least a third of the selected learning rates (3 of 8, or 4 of
    12) are in the outer tenth of the range at this end.

    Args:
      quantiles: the quantile of the learning rate that each study selects.

    >>> bounded_sides([0.05, 0.02, 0.03, 0.5, 0.5, 0.5, 0.5, 0.5])
    (True, False)
    """
    limit = math.ceil(len(quantiles) / 3)
    return sum(q < 0.1 for q in quantiles) >= limit, sum(q > 0.9 for q in quantiles) >= limit


def rows_of(runs: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a table that have these values in these columns."""
    for column, value in values.items():
        runs = cast(pd.DataFrame, runs[runs[column] == value])
    return runs


def log_metric(metric: Any, epsilon: Any) -> Any:
    """y = ln max(metric, ε). Comparisons use y, so all metrics below ε count as equal."""
    return np.log(np.maximum(metric, epsilon))


def study_means(runs: pd.DataFrame, epsilon: float) -> pd.Series:
    """For each study, the mean of ln max(metric, ε) over its fresh seeds.

    Args:
      runs: the runs of one optimizer on one problem.
      epsilon: metrics below it count as equal.
    """
    fresh = rows_of(runs, kind=FRESH)
    return log_metric(fresh["metric"], epsilon).groupby(fresh["study"]).mean()


class Reading(NamedTuple):
    """How the metric of a problem is interpreted.

    Attributes:
      epsilon: metrics below it count as equal.
      never: for censored metrics, the value of a run that does not reach its target; else None.
    """

    epsilon: float
    never: float | None = None


def verdicts(
    runs: pd.DataFrame, readings: Mapping[str, Reading], candidate: str, baseline: str
) -> dict[str, Verdict]:
    """The verdicts about a candidate and one baseline, on the problems that both have finished.

    Args:
      runs: the table of runs.
      readings: for each problem, how its metric is interpreted.
      candidate, baseline: two optimizers in the table.
    """
    differences, censored, unreached = {}, {}, []
    for problem, reading in readings.items():
        pair = [rows_of(runs, problem=problem, optimizer=name, kind=FRESH) for name in (candidate, baseline)]
        if any(part.empty for part in pair):
            continue
        difference = (study_means(pair[0], reading.epsilon) - study_means(pair[1], reading.epsilon)).dropna()
        censored[problem] = reading.never is not None
        if reading.never is not None and all((part.metric >= reading.never).all() for part in pair):
            unreached.append(problem)
        differences[problem] = difference.to_numpy()
    judged = judge(differences, censored) if differences else {}
    return judged | {
        name: replace(judged[name], verdict=NOT_REACHED, studies_needed=None) for name in unreached
    }


def can_decide(studies: int, problems: int) -> bool:
    """Whether the smallest possible p-value of the sign-flip test is below α after Holm's correction.

    >>> can_decide(8, 5), can_decide(8, 13)
    (True, False)
    """
    return problems * smallest_p(studies) < ALPHA
