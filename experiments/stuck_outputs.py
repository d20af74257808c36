"""Output neurons that are stuck near 0: their digit is hardly ever recognized."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

# A network has a stuck output if the recall of some digit is below this fraction.
MIN_RECALL = 0.5


def recall(matrix: Int[np.ndarray, "classes classes"]) -> Float[np.ndarray, " classes"]:
    """The fraction of each class's images that are classified correctly, from a confusion matrix.

    >>> recall(np.array([[3, 1], [0, 4]])).tolist()
    [0.75, 1.0]
    """
    return np.diagonal(matrix) / np.sum(matrix, axis=1)


def has_stuck_output(recalls: Sequence[Sequence[float]] | np.ndarray) -> Bool[np.ndarray, " networks"]:
    """Whether each network recognizes less than half of the images of some digit.

    Args:
      recalls: (networks, classes).
    """
    return np.min(recalls, axis=1) < MIN_RECALL
