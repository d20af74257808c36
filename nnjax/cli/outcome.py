"""The outcome of a training on the command line: collected epoch by epoch, reported at the end."""

import signal
import warnings
from collections.abc import Callable
from pathlib import Path

from nnjax.cli.console import console, split_result
from nnjax.cli.signals import StopRequest
from nnjax.training import Run

DIVERGED = 4


class TrainingOutcome:
    """The run after its last epoch, and after the last epoch in which everything was finite.

    Attributes:
      run: the run after the last epoch; None before the first one.
      last_finite: the run after the last finite epoch; None if there is none.
    """

    def __init__(self, show: Callable[[Run], None], stop: StopRequest, checkpoint_dir: Path | None = None):
        self._show, self._stop, self._checkpoint_dir = show, stop, checkpoint_dir
        self.run: Run | None = None
        self.last_finite: Run | None = None

    def on_epoch(self, run: Run) -> bool:
        """The callback of `fit`: records and prints the epoch, and returns whether training stops."""
        resumed = len(run.history) == run.restored
        self.run = run
        if run.history.diverged_at < 0:
            self.last_finite = run
        try:
            if resumed:
                console.print(f"resuming after epoch {len(run.history)} from {self._checkpoint_dir}")
            self._show(run)
        except BrokenPipeError:  # the reader of the pipe has exited: stop and save, as after Ctrl-C
            self._stop.signal = self._stop.signal or signal.SIGINT
        except OSError as error:
            warnings.warn(f"training continues, but its output cannot be printed: {error}", stacklevel=2)
            console.quiet = True
        return self._stop.signal is not None

    def report(self, epochs: int, resume_hint: str) -> int:
        """Prints the result and, if training stopped early, `resume_hint`; returns the exit code."""
        assert self.run is not None
        history = self.run.history
        if self.last_finite:
            for split in ("validation", "test"):
                if result := split_result(self.last_finite.history, split):
                    console.print(f"{split}: {result}")
        plural = "" if len(history) == 1 else "s"
        console.print(f"{len(history)} epoch{plural} in {history.seconds.sum():.1f} s of training")
        if history.diverged_at >= 0:
            console.print(self._divergence())
            return DIVERGED
        if len(history) < epochs:
            console.print(f"interrupted after {len(history)} of {epochs} epochs; {resume_hint}")
            return self._stop.code
        return 0

    def _divergence(self) -> str:
        assert self.run is not None
        where = f"epoch {self.run.history.diverged_at + 1}"
        if divergence := self.run.divergence:
            where += f", step {divergence.step + 1}: {divergence.path} is not finite"
        model = "there is no model"
        if self.last_finite:
            model = f"the model is that of epoch {len(self.last_finite.history)}"
        return f"diverged in {where}; {model}. A smaller learning rate usually helps."
