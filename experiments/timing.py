"""What an epoch of one network costs when it is trained alone."""

from typing import Any

import jax
import numpy as np

import nnjax

EPOCHS = 5


def seconds_alone(
    keys: tuple[jax.Array, jax.Array],
    data: nnjax.Dataset,
    hidden: int,
    initial_weights: Any = nnjax.gaussian,
    **settings: Any,
) -> float:
    """The median seconds of an epoch of `fit`, for the network that `Grid.keys` draws; without compiling."""
    init_key, fit_key = keys
    params = nnjax.init(init_key, (data.train.images.shape[1], hidden, data.num_classes), initial_weights)
    alone = nnjax.fit(fit_key, params, data, epochs=EPOCHS, **settings)
    return float(np.median(alone.history.seconds))
