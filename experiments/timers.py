"""The seconds of an experiment, and of an epoch of one network that is trained alone."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

import nnjax

TIMED_EPOCHS = 5


def seconds_per_epoch_alone(
    keys: tuple[jax.Array, jax.Array], config: nnjax.TrainConfig, data: nnjax.Dataset
) -> float:
    """The median seconds of an epoch of one network, without compilation.

    Args:
      keys: the keys of the initial parameters and of `fit`, as `Grid.rng_keys` returns them.
      config: how the network is built and trained; `TIMED_EPOCHS` epochs are trained.
      data: a data set.
    """
    init_key, fit_key = keys
    params = config.init_fn(data)(init_key)
    run = nnjax.fit(fit_key, params, data, **replace(config, epochs=TIMED_EPOCHS).fit_kwargs(data))
    return float(np.median(run.history.seconds))


class Stopwatch:
    """The seconds that work takes, including those before it was interrupted.

    Args:
      path: the file that stores the seconds.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            earlier = float(path.read_text())
        except (OSError, ValueError):
            earlier = 0.0
        self._start = time.perf_counter() - earlier

    def seconds(self) -> float:
        """The seconds until now."""
        return time.perf_counter() - self._start

    def save_on_progress(self, on_progress: Callable[[str], None] | None) -> Callable[[str], None]:
        """A function that stores the seconds and calls `on_progress`."""

        def save(message: str) -> None:
            self._path.write_text(str(self.seconds()))
            if on_progress:
                on_progress(message)

        return save
