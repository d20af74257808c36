"""A test problem: what is trained, and how its result is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nnjax.data import Dataset
from nnjax.nn import Objective
from nnjax.runtime.checks import check_positive_int
from nnjax.storage import digest
from nnjax.training import Run, fit

SPLITS = "validation", "test"
MAX_EVALUATIONS = 40  # in a run
CENSORED_INTERVAL = 10  # steps between two evaluations, if the metric is a number of steps


@dataclass(frozen=True, eq=False)  # an instance equals only itself, so any fields can be cached
class Problem:
    """A small problem on which optimizers are compared.

    A run takes `steps` training steps. Its metric is the mean cost of a split after the last step minus
    `floor`, the smallest possible cost, so that ratios of metrics are meaningful. With `target_accuracy`, the
    metric is the number of steps to this accuracy.

    Settings are selected by the metric on the split `select_on`, and results are reported on `report_on`. If
    the metric is the training cost, `load` returns a part of the training examples as the validation split,
    and both `select_on` and `report_on` are "validation".

    Attributes:
      name: the name in commands and results.
      load: a function that returns the data set. It is called often, so its result should be cached.
      init: a function that draws the initial parameters from a key.
      objective: what training minimizes, and how it is evaluated.
      batch_size: examples in a mini-batch.
      steps: training steps.
      separates_by: what distinguishes optimizers here, in a few words.
      floor: the smallest possible mean cost, as a function of the data set and the name of a split; None if
        it is 0.
      select_on: the split by which settings are selected, "validation" or "test".
      report_on: the split on which results are reported, "validation" or "test".
      target_accuracy: if set, the metric is the number of steps after which the accuracy reaches this
        fraction; one more than `steps` if it is never reached.
      learning_rate_scale: a factor of the learning rates of optimizers whose updates grow with the gradient.
      has_weight_decay: whether weight decay is tuned.
      drop_remainder: whether a smaller last mini-batch of an epoch is dropped.
      version: the version of the definition. Results of different versions are never compared.

    Raises:
      ValueError: a field with a wrong value.

    >>> import nnjax
    >>> from functools import cache, partial
    >>> Problem(
    ...     "my_digits", cache(partial(nnjax.load, "digits")), partial(nnjax.init, sizes=(64, 30, 10)),
    ...     nnjax.Objective(), batch_size=10, steps=100, separates_by="saturation",
    ... ).evaluate_every
    4
    """

    name: str
    load: Callable[[], Dataset]
    init: Callable[[Array], Any]
    objective: Objective
    batch_size: int
    steps: int
    separates_by: str
    floor: Callable[[Dataset, str], float] | None = None
    select_on: str = "validation"
    report_on: str = "test"
    target_accuracy: float | None = None
    learning_rate_scale: float = 1.0
    has_weight_decay: bool = False
    drop_remainder: bool = False
    version: int = 1

    def __post_init__(self):
        for field in ("name", "separates_by"):
            value = getattr(self, field)
            _check(field, value, isinstance(value, str) and value != "", "a non-empty string")
        for field in ("load", "init"):
            _check(field, getattr(self, field), callable(getattr(self, field)), "a function")
        _check("floor", self.floor, self.floor is None or callable(self.floor), "a function or None")
        _check("objective", self.objective, isinstance(self.objective, Objective), "an Objective")
        for field in ("batch_size", "steps", "version"):
            check_positive_int(field, getattr(self, field))
        for field in ("select_on", "report_on"):
            _check(field, getattr(self, field), getattr(self, field) in SPLITS, '"validation" or "test"')
        for field in ("has_weight_decay", "drop_remainder"):
            value = getattr(self, field)
            _check(field, value, isinstance(value, bool), "True or False")
        scale = self.learning_rate_scale
        _check("learning_rate_scale", scale, _is_real(scale) and 0 < scale < np.inf, "a positive number")
        accuracy = self.target_accuracy
        is_fraction = accuracy is not None and _is_real(accuracy) and 0 < accuracy <= 1
        _check(
            "target_accuracy",
            accuracy,
            accuracy is None or is_fraction,
            "None, or greater than 0 and at most 1",
        )
        if accuracy is not None and self.objective.code is None:
            raise ValueError("objective must have an output code if target_accuracy is set, got code=None")

    @property
    def evaluate_every(self) -> int:
        """The number of steps between two evaluations.

        There are at most 40 evaluations, at equal intervals if possible. With `target_accuracy`, there is an
        evaluation every 10 steps.
        """
        if self.target_accuracy is not None:
            return CENSORED_INTERVAL
        minimum = -(-self.steps // MAX_EVALUATIONS)
        return next((every for every in range(minimum, 2 * minimum) if self.steps % every == 0), minimum)

    @property
    def metric_name(self) -> str:
        """The name of the metric.

        A cost on the validation split is called training cost, because in shipped problems the validation
        split is then a part of the training split.
        """
        if self.target_accuracy is not None:
            return f"steps to {100 * self.target_accuracy:g} % {self.report_on} accuracy"
        cost = "training cost" if self.report_on == "validation" else "test cost"
        return f"{cost} - minimum" if self.floor else cost

    @property
    def num_params(self) -> int:
        """The number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.init, jax.random.key(0))))

    def fit(self, key: Array, **settings: Any) -> Run:
        """Trains the problem once.

        Args:
          key: the random key, which is split into a key for the initial parameters and a key for `nnjax.fit`.
          **settings: arguments of `nnjax.fit`: `optimizer`, its hyper-parameters, `schedule` and others.

        Returns:
          The `Run` of `nnjax.fit`.

        >>> import nnjax
        >>> run = nnjax.problems["bigram"].fit(jax.random.key(0), learning_rate=1.0, steps=80)
        >>> bool(run.history.validation_cost[-1] < run.history.validation_cost[0])
        True
        """
        init_key, fit_key = jax.random.split(key)
        defaults = {
            "objective": self.objective, "steps": self.steps, "evaluate_every": self.evaluate_every,
            "batch_size": self.batch_size, "drop_remainder": self.drop_remainder,
        }  # fmt: skip
        return fit(fit_key, self.init(init_key), self._checked_data(), **defaults | settings)

    def curve(
        self, data: Dataset, split: str, costs: Float[Any, "*runs rows"]
    ) -> Float[np.ndarray, "*runs rows"]:
        """The mean costs of a split minus the smallest possible cost.

        Args:
          data: the data set that `load` returns.
          split: "validation" or "test".
          costs: the mean costs of the split, with any leading axes.
        """
        return np.asarray(costs, np.float64) - (self.floor(data, split) if self.floor else 0.0)

    def metric(
        self, data: Dataset, split: str, costs: Any, correct: Any, steps: Any
    ) -> Float[np.ndarray, "*runs"]:
        """The metric of each run; smaller is better.

        Args:
          data: the data set that `load` returns.
          split: "validation" or "test".
          costs: the mean costs of the split, (..., rows).
          correct: the counts of correct predictions, (..., rows); used only with `target_accuracy`.
          steps: the number of finished steps in each row, (rows,).

        >>> import nnjax
        >>> problem = nnjax.problems["modular_addition"]
        >>> data = problem.load()
        >>> costs, n = np.array([[3.4, 0.1], [3.4, np.nan]]), len(data.validation.targets)
        >>> problem.metric(data, "validation", costs, np.array([[0, n], [0, n]]), np.array([10, 20])).tolist()
        [20.0, 1001.0]
        """
        if self.target_accuracy is None:
            return self.curve(data, split, costs)[..., -1]
        # The argmax of NaN outputs is 0, so the counts of a diverged run are those of the label 0.
        reached = np.asarray(correct) >= self.target_accuracy * len(getattr(data, split).targets)
        reached &= np.isfinite(costs)
        first = np.asarray(steps)[np.argmax(reached, axis=-1)]
        return np.where(reached.any(axis=-1), first, self.steps + 1).astype(np.float64)

    def identity(self) -> dict[str, str]:
        """What determines the results, apart from the optimizer and the seed, as strings.

        The digest covers only integer arrays, such as pixels, labels and tokens. Float arrays can differ in
        the last bit between processors, so `name` and `version` identify them.
        """
        return {
            "name": self.name,
            "version": str(self.version),
            "data": data_digest(self, jnp.integer),
            "batch_size": str(self.batch_size),
            "steps": str(self.steps),
        }

    def _checked_data(self) -> Dataset:
        """The data set; raises ValueError if `load` returns something else, or a split is empty."""
        data = self.load()
        _check(f"load of {self.name}", data, isinstance(data, Dataset), "a function that returns a Dataset")
        for field in ("select_on", "report_on"):
            split = getattr(self, field)
            if not len(getattr(data, split).targets):
                raise ValueError(
                    f"{field} of {self.name} must be a split with examples, got {split!r} of {data!r}"
                )
        return data


@cache  # MNIST takes a tenth of a second, and each unit of work has an identity
def data_digest(problem: Problem, dtypes: Any = jnp.generic) -> str:
    """The digest of all arrays in the data set of a problem that have one of the dtypes."""
    data = problem._checked_data()
    arrays = [array for split in (data.train, data.validation, data.test) for array in split]
    return digest(*(array for array in arrays if jnp.issubdtype(array.dtype, dtypes)))


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check(name: str, value: Any, is_valid: bool, requirement: str) -> None:
    if not is_valid:
        raise ValueError(f"{name} must be {requirement}, got {value!r}")
