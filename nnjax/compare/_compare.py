"""The function `compare`, which finds out whether an optimizer is better than a baseline."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nnjax.compare._problem import Problem
from nnjax.runtime.executors import Executor, make_workers

if TYPE_CHECKING:
    from nnjax.compare.protocol import Budget
    from nnjax.compare.report import Report


class CompareProgress(NamedTuple):
    """The progress of a comparison.

    Attributes:
      done, total: the number of finished units of work, and the number of all units.
      seconds_left: the estimated time until all units are finished.
      optimizer, problem: the optimizer and the problem of the last finished unit.
      best: the smallest selection metric of any run on this problem so far, by optimizer.
    """

    done: int
    total: int
    seconds_left: float
    optimizer: str
    problem: str
    best: dict[str, float]


def compare(
    optimizers: Mapping[str, Any],
    *,
    against: str | Sequence[str] = "adamw",
    problems: str | Problem | Sequence[str | Problem] = "quick",
    budget: "str | Budget" = "quick",
    learning_rate: tuple[float, float] = (1e-4, 1.0),
    extend: bool = False,
    store: str | PathLike | None = None,
    executor: Executor | None = None,
    unit_timeout_s: float = 600.0,
    callback: Callable[[CompareProgress], None] | None = None,
) -> "Report":
    """Compares optimizers with tuned baselines on small problems, with an equal budget for all optimizers.

    Every optimizer gets the same number of tuning studies on every problem, and every run computes the same
    number of gradients. The results of the baselines are shipped with the package. If the definition of a
    problem or of the protocol has changed, the baselines are trained again.

    Args:
      optimizers: a mapping from names to optax factories, instances of `Tunable`, or names of baselines.
      against: the name of the baseline to compare with, or several names. A name in `optimizers` is a
        baseline of your own, with which the other optimizers are compared.
      problems: a suite ("quick" or "standard"), the name of a problem, a `Problem`, or a sequence of these.
      budget: "quick", "standard", or a `Budget`.
      learning_rate: the range in which the learning rate of an optax factory without a search space is tuned.
      extend: whether to tune an optimizer again if the selected learning rates are at one end of their range.
        The range then becomes a decade wider at this end, at most twice at each end.
      store: a folder for finished units of work, from which an interrupted comparison continues. By default,
        nothing is stored. The results of an optimizer without a source file, as in an interactive session,
        are never stored.
      executor: trains the units of work in other processes or on other machines, as for `nnjax.sweep`. A unit
        of work is up to 16 runs, and uses one CPU core.
      unit_timeout_s: with `executor`, the seconds after which a unit counts as lost, as for `nnjax.sweep`.
      callback: a function that is called with the `CompareProgress` after each unit.

    Returns:
      A `Report`: `report.verdicts` is a table, and `report.save("report/")` writes the page.

    Raises:
      ValueError: a wrong argument (the error is raised before training starts), or every optimizer failed on
        every problem.
      UnitsLost: with `executor`, a unit of work was lost three times; raised after all others have finished.

    docs/comparing.md has examples.
    """
    # Imported here, because importing pandas and scipy.stats takes a second.
    from nnjax.compare._run_plan import run_plan
    from nnjax.compare._store import Store
    from nnjax.compare.plan import make_plan
    from nnjax.compare.report import make_report

    workers = make_workers(executor, unit_timeout_s)
    plan = make_plan(optimizers, against, problems, budget, learning_rate)
    results = run_plan(plan, Store(Path(store)) if store else None, extend, callback, workers)
    return make_report(plan, results)
