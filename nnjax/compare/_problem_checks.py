"""The check of a problem of a user before anything is trained on it."""

from collections.abc import Callable
from typing import Any

from nnjax.compare._problem import Problem
from nnjax.compare._rows import initial_metrics
from nnjax.compare._user_code import describe_error
from nnjax.data import Dataset, DatasetUnavailable


def checked_data(problem: Problem) -> Dataset:
    """The data set of a problem whose initial parameters can be evaluated, and have a metric above 0.

    Metrics are compared by their logarithms, so a negative one has no verdict.

    Raises:
      ValueError: a function of the problem raises an exception, or a metric is not positive and finite.
      DatasetUnavailable: the data set is missing.
    """
    data = _call(f"load of {problem.name}", problem.load)
    problem.identity()  # checks the data set
    metrics = _call(f"evaluation of {problem.name}", lambda: initial_metrics(problem, data, [0]))
    for split, (metric,) in metrics.items():
        if not 0 < metric < float("inf"):
            hint = "floor must return the smallest possible cost"
            if problem.target_accuracy is not None:
                hint = "the initial parameters must not reach target_accuracy"
            raise ValueError(
                f"{problem.name} must have a positive and finite metric before training, got {metric:g} on "
                f"{split}: {hint}"
            )
    return data


def _call(name: str, function: Callable[[], Any]) -> Any:
    """`function()`; ValueError with a name if the user's code raises an exception."""
    try:
        return function()
    except DatasetUnavailable:
        raise
    except Exception as error:  # the code of a problem can raise anything
        raise ValueError(f"{name} raised {describe_error(error)}") from error
