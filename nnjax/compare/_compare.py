"""`compare`: is an optimizer better than a baseline?"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nnjax.compare._problem import Problem

if TYPE_CHECKING:
    from nnjax.compare.protocol import Budget
    from nnjax.compare.report import Report


class CompareProgress(NamedTuple):
    """The progress of a comparison.

    Attributes:
      done, total: finished units of work, and all of them.
      seconds_left: an estimate; NaN before the first unit.
      optimizer, problem: those of the last unit.
      best: for each optimizer that has begun this problem, the best selection metric so far.
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
    against: Sequence[str] = ("adamw",),
    problems: str | Problem | Sequence[str | Problem] = "quick",
    budget: "str | Budget" = "quick",
    learning_rate: tuple[float, float] = (1e-4, 1.0),
    extend: bool = False,
    store: str | PathLike | None = None,
    callback: Callable[[CompareProgress], None] | None = None,
) -> "Report":
    """Compares optimizers with tuned baselines on small problems, with equal effort for all.

    Every optimizer gets the same number of tuning studies on every problem, and every run the same number of
    gradients. The results of baselines are shipped with the package. They are computed again if the
    definition of a problem or of the protocol has changed.

    Args:
      optimizers: by name, optax factories, `Tunable`s, or names of baselines.
      against: names of baselines.
      problems: a suite ("quick" or "standard"), or names of problems and `Problem`s.
      budget: "quick", "standard", or a `Budget`.
      learning_rate: the range in which the learning rate of a bare factory is tuned.
      extend: whether to tune again where the range of the learning rate bounds the result, with a range that
        is a decade wider on this side; at most twice on each side.
      store: a folder for finished units, from which a comparison that stopped continues.
      callback: called with the `CompareProgress` after each unit.

    Returns:
      A `Report`: `report.verdicts` is a table, and `report.save("report/")` writes the page.

    Raises:
      ValueError: a wrong argument; raised before training starts.

    docs/comparing.md has examples.
    """
    # Imported here, because pandas and scipy.stats take a second.
    from nnjax.compare._run_plan import run_plan
    from nnjax.compare._store import Store
    from nnjax.compare.plan import make_plan
    from nnjax.compare.report import make_report

    plan = make_plan(optimizers, against, problems, budget, learning_rate)
    results = run_plan(plan, Store(Path(store)) if store else None, extend, callback)
    return make_report(plan, results)
