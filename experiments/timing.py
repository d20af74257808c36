"""Seconds: of an experiment, stopped or not, and of an epoch of one network that is trained alone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import nnjax

EPOCHS = 5


def seconds_alone(
    keys: tuple[jax.Array, jax.Array],
    data: nnjax.Dataset,
    hidden: int,
    initial_weights: Any = nnjax.standard_normal,
    **settings: Any,
) -> float:
    """The median seconds of an epoch of `fit`, for the network that `Grid.keys` draws; without compiling."""
    init_key, fit_key = keys
    params = nnjax.init(init_key, (data.train.inputs.shape[1], hidden, data.num_classes), initial_weights)
    alone = nnjax.fit(fit_key, params, data, epochs=EPOCHS, **settings)
    return float(np.median(alone.history.seconds))


class Stopwatch:
    """Seconds that work has taken, those before it was stopped and started again included."""

    def __init__(self, path: Path):
        self._path = path
        try:
            before = float(path.read_text())
        except (OSError, ValueError):
            before = 0.0
        self._began = time.perf_counter() - before

    def seconds(self) -> float:
        """What has passed so far."""
        return time.perf_counter() - self._began

    def seen_by(self, tell: Callable[[str], None] | None) -> Callable[[str], None]:
        """`tell`, and each time it is told the seconds are kept."""

        def told(what: str) -> None:
            self._path.write_text(str(self.seconds()))
            if tell:
                tell(what)

        return told
