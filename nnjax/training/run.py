"""The result of `fit`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from nnjax.training.history import History
from nnjax.training.step import TrainState


class Divergence(NamedTuple):
    """The epoch and the step (both from 0) in which a run diverged, and what is not finite then.

    In a run with `steps`, `epoch` is the row of the history, and `step` counts from the previous evaluation.
    `path` is the path of the first parameter that is not finite, such as `params[0].w`, or `cost`.
    """

    epoch: int
    step: int
    path: str


@dataclass(frozen=True, repr=False)
class Run:
    """The result of `fit`, and the argument of its callback.

    Attributes:
      state: the training state after the last step.
      history: costs, counts, times and watched values of the finished epochs.
      divergence: the divergence, if the run diverged and `locate_nan` was set; else None.
      restored: the number of rows of the history that were restored from a checkpoint.
    """

    state: TrainState
    history: History
    divergence: Divergence | None = None
    restored: int = 0

    def __repr__(self) -> str:
        name = "test_cost" if self.history.test_correct is None else "test_accuracy"
        values = getattr(self.history, name)
        result = "" if values is None else f", {name}={values[-1]:.4f}"
        length = (
            f"steps={self.history.step[-1]}" if self.history.unit == "step" else f"epochs={len(self.history)}"
        )
        return f"Run({length}{result})"

    @property
    def params(self) -> Any:
        """The parameters after the last epoch; with `ema_decay`, their average."""
        return self.state.eval_params
