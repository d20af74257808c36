"""What a training on the command line has reached: seen epoch by epoch, and told at the end."""

from collections.abc import Callable
from pathlib import Path

from nnjax.cli.console import console, format_accuracy
from nnjax.cli.signals import StopRequest
from nnjax.data import Dataset
from nnjax.training._fit import Run

DIVERGED = 4


class TrainingOutcome:
    """The run after its last epoch, and after the last one from which all was finite."""

    def __init__(self, show: Callable[[Run], None], ending: StopRequest, folder: Path | None):
        self._show, self._ending, self._folder = show, ending, folder
        self.run: Run | None = None
        self.good: Run | None = None

    def see(self, run: Run) -> bool:
        """The callback of `fit`: whether it is to end."""
        if self.run is None and len(run.history) > 1:
            console.print(f"going on after epoch {len(run.history)} from {self._folder}")
        self.run = run
        if run.history.diverged_at < 0:
            self.good = run
        self._show(run)
        return self._ending.signal is not None

    def told(self, data: Dataset, epochs: int, go_on: str) -> int:
        """Say what was reached and, where it ended early, how to `go_on`; return the exit code."""
        assert self.run is not None
        history = self.run.history
        if self.good:
            best = self.good.history
            console.print(
                f"validation: {format_accuracy(best.validation_correct[-1], len(data.validation.targets))}"
            )
            console.print(f"test: {format_accuracy(best.test_correct[-1], len(data.test.targets))}")
        console.print(
            f"{len(history)} epoch{'s' * (len(history) != 1)} in {history.seconds.sum():.1f} s of training"
        )
        if history.diverged_at >= 0:
            where = f"epoch {history.diverged_at + 1}"
            if found := self.run.divergence:
                where += f", step {found.step + 1}: {found.path} is not finite"
            good = (
                f"the model is that of epoch {len(self.good.history)}" if self.good else "there is no model"
            )
            console.print(f"diverged in {where}; {good}. A smaller learning rate usually helps.")
            return DIVERGED
        if len(history) < epochs:
            console.print(f"interrupted after {len(history)} of {epochs} epochs; {go_on}")
            return self._ending.code
        return 0
