"""The plan of a comparison: which optimizers are tuned on which problems."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nnjax.compare._baseline_optimizers import BASELINES, SAME_AS
from nnjax.compare._gradient_scale import ignores_learning_rate
from nnjax.compare._problem import Problem
from nnjax.compare._problem_checks import checked_data
from nnjax.compare._shipped import is_outdated, shipped_result
from nnjax.compare._task import Task
from nnjax.compare._user_code import code_identity
from nnjax.compare.problems import PROBLEMS, SUITES
from nnjax.compare.protocol import BUDGETS, Budget
from nnjax.compare.search_spaces import Tunable, as_tunable, check_tunable, scales_with_gradient, setting
from nnjax.data import Dataset, DatasetUnavailable
from nnjax.runtime.checks import lookup

BASELINES_VERSION = 1  # of the factories and spaces of the baselines


class Plan(NamedTuple):
    """What a comparison has to do.

    Attributes:
      candidates, baselines: names of optimizers.
      tasks: every optimizer that is trained, on every problem that is available.
      data: the data set of each problem, by name.
      budget: the budget of each task.
      notes: sentences about optimizers that coincide, ignore their learning rate or are not tuned, problems
        that are skipped, and outdated results.
    """

    candidates: tuple[str, ...]
    baselines: tuple[str, ...]
    tasks: list[Task]
    data: dict[str, Dataset]
    budget: Budget
    notes: list[str]


def make_plan(
    optimizers: Mapping[str, Any],
    against: str | Sequence[str],
    problems: str | Problem | Sequence[str | Problem],
    budget: str | Budget,
    learning_rate: tuple[float, float],
) -> Plan:
    """Checks the arguments of `compare` and loads the data sets.

    Raises:
      ValueError: a name is unknown, an optimizer cannot be tuned, or there is no problem.
    """
    if not isinstance(against, str | Sequence):
        raise ValueError(f"against must be the name of a baseline, or several names, got {against!r}")
    against = (against,) if isinstance(against, str) else tuple(against)
    _check_names(optimizers, against)
    chosen_budget = lookup("budget", budget, BUDGETS) if isinstance(budget, str) else budget
    tunables = {name: _tunable(name, value, learning_rate) for name, value in optimizers.items()}
    tunables |= {name: baseline(name) for name in against if name not in optimizers}
    baselines = [name for name in tunables if isinstance(optimizers.get(name, name), str)]
    notes = _notes(tunables, optimizers, baselines)
    data = {}
    chosen = choose_problems(problems)
    for problem in chosen:
        try:
            is_shipped = PROBLEMS.get(problem.name) is problem
            data[problem.name] = problem.load() if is_shipped else checked_data(problem)
        except DatasetUnavailable as error:
            reason = str(error).partition("\n")[0]
            notes.append(f"{problem.name} is skipped: {reason}")
    if not data:
        raise ValueError(f"problems must have at least one with available data, got none: {' '.join(notes)}")
    tasks = [
        Task(name, tunable, code, problem, chosen_budget)
        for problem in chosen if problem.name in data
        for name, (tunable, code) in tunables.items()
    ]  # fmt: skip
    notes += _tuning_notes(tasks, against)
    outdated = [task for task in tasks if task.optimizer in baselines and is_outdated(task)]
    if outdated:
        names = ", ".join(f"{task.optimizer} on {task.problem.name}" for task in outdated)
        notes.append(
            "These baselines were trained again, because their shipped results have another budget or "
            f"another definition: {names}."
        )
    candidates = tuple(name for name in optimizers if name not in against)
    return Plan(candidates, against, tasks, data, chosen_budget, notes)


def _check_names(optimizers: Mapping[str, Any], against: tuple[str, ...]) -> None:
    """Raises ValueError if names are missing, or if a name is twice in `against`."""
    if not isinstance(optimizers, Mapping):
        raise ValueError(f"optimizers must be a mapping such as {{'mine': my_factory}}, got {optimizers!r}")
    if not optimizers:
        raise ValueError("optimizers must have at least one optimizer, got none")
    if not against:
        raise ValueError("against must name at least one baseline, got none")
    if not {*optimizers} - {*against}:
        raise ValueError(f"optimizers must have one that is not in against, got only {', '.join(optimizers)}")
    for name in against:
        if against.count(name) > 1:
            raise ValueError(f"against must have different names, got {name!r} twice")


def _notes(
    tunables: Mapping[str, tuple[Tunable, str | None]], optimizers: Mapping[str, Any], baselines: list[str]
) -> list[str]:
    """Sentences about optimizers that coincide, or ignore their learning rate."""
    coinciding = [
        f"{name} and {SAME_AS[name]} coincide: without weight decay they are equal, and on problems with "
        "weight decay, the weight decay of all optimizers is decoupled."
        for name in baselines if name in SAME_AS
    ]  # fmt: skip
    ignoring = [
        f"{name} ignores its learning rate: its first updates do not depend on it."
        for name, (tunable, _) in tunables.items() if name in optimizers and _ignores_rate(tunable)
    ]  # fmt: skip
    return coinciding + ignoring


def _tuning_notes(tasks: Sequence[Task], against: tuple[str, ...]) -> list[str]:
    """Sentences about optimizers of which nothing is tuned, and candidates with a smaller search space."""
    tunables = {task.optimizer: task.tunable for task in tasks}
    numbers: dict[str, int] = {}
    for task in tasks:
        numbers[task.optimizer] = max(numbers.get(task.optimizer, 0), len(task.space))
    untuned = [
        f"No hyper-parameter of {name} is tuned: its search space is empty with this budget. By default, "
        "only an argument `learning_rate` is tuned."
        for name, number in numbers.items() if not number and len(tunables[name].batch_multipliers) == 1
    ]  # fmt: skip
    unequal = [
        f"{baseline} tunes {numbers[baseline]} hyper-parameters, and {candidate} tunes {numbers[candidate]}. "
        "With few trials, fewer hyper-parameters are an advantage, if the default values are good."
        for candidate in numbers if candidate not in against
        for baseline in against if 0 < numbers[candidate] < numbers[baseline]
    ]  # fmt: skip
    return untuned + unequal


def _ignores_rate(tunable: Tunable) -> bool:
    default = setting(
        tunable, None, learning_rate_scale=1, has_weight_decay=False, schedules=("constant",),
        is_standard=False,
    )  # fmt: skip
    return ignores_learning_rate(tunable.factory, default.hyperparameters)


def baseline(name: str, argument: str = "against") -> tuple[Tunable, str]:
    """A baseline, and the identity of its code. Optimizers that are equal have the same identity.

    Args:
      name: the name of the baseline.
      argument: the argument that has the name, for messages.
    """
    choices = {**BASELINES, **{alias: BASELINES[same] for alias, same in SAME_AS.items()}}
    tunable = lookup(argument, name, choices)
    return tunable, f"baseline {SAME_AS.get(name, name)} {BASELINES_VERSION}"


def _tunable(name: str, optimizer: Any, learning_rate: tuple[float, float]) -> tuple[Tunable, str | None]:
    """An optimizer to compare, as a `Tunable`, and the identity of its code."""
    if isinstance(optimizer, str):
        return baseline(optimizer, "optimizers")
    tunable = as_tunable(optimizer, learning_rate)
    check_tunable(name, tunable)
    tunable = replace(tunable, scales_with_gradient=scales_with_gradient(tunable))
    return tunable, code_identity(tunable.factory)


def to_train(plan: Plan) -> list[Task]:
    """The tasks without a shipped result."""
    return [task for task in plan.tasks if shipped_result(task) is None]


def choose_problems(problems: str | Problem | Sequence[str | Problem]) -> list[Problem]:
    """The problems that a suite, the name of a problem, a `Problem`, or a sequence of these selects.

    >>> [problem.name for problem in choose_problems("bigram")]
    ['bigram']
    """
    if not isinstance(problems, str | Problem | Sequence):
        raise ValueError(f"problems must be a problem, a suite, or a sequence of these, got {problems!r}")
    chosen: dict[str, Problem] = {}
    for item in [problems] if isinstance(problems, str | Problem) else problems:
        for problem in _problems_of(item):
            if chosen.setdefault(problem.name, problem) is not problem:
                raise ValueError(f"problems must have different names, got {problem.name!r} twice")
    if not chosen:
        raise ValueError("problems must have at least one problem or suite, got none")
    return list(chosen.values())


def _problems_of(item: str | Problem) -> list[Problem]:
    """The problems of a suite, the one with a name, or the problem itself."""
    if isinstance(item, Problem):
        return [item]
    if not isinstance(item, str):
        raise ValueError(f"problems must be Problems, or names of problems or suites, got {item!r}")
    choices: dict[str, Any] = {**PROBLEMS, **dict.fromkeys(SUITES)}
    return [lookup("problems", name, choices) for name in SUITES.get(item, [item])]
