"""The shape and dtype of an array of NumPy that does not exist."""

import math
from typing import NamedTuple

import numpy as np


class HostShape(NamedTuple):
    """A shape and a dtype. Unlike `jax.ShapeDtypeStruct`, it has float64 also without `jax_enable_x64`."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)
