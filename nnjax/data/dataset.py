"""A data set in memory: inputs and targets, split for training, validation and testing."""

import math
import operator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer, UInt8

AnyArray = np.ndarray | jax.Array
Inputs = UInt8[AnyArray, "n pixels"] | Float[AnyArray, "n pixels"]
Targets = Integer[AnyArray, " n"] | Float[AnyArray, "n n_out"]

MAX_LABEL = 2**31 - 2  # the number of labels must fit in int32


class Split(NamedTuple):
    """Examples: `inputs` (n, pixels), uint8 0..255 or float; `targets` (n,) integer labels, or (n, n_out)."""

    inputs: Inputs
    targets: Targets


@dataclass(frozen=True, repr=False)
class Dataset:
    """Examples to train on, to choose settings on (`validation`), and to report results on (`test`).

    Attributes:
      name: the name in records and model files.
      input_shape: the shape of one input before it was flattened, such as (28, 28).
      num_classes: the number of labels, which are 0 to num_classes - 1.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    train: Split
    validation: Split
    test: Split

    def __repr__(self) -> str:
        train, validation, test = (len(split.targets) for split in (self.train, self.validation, self.test))
        return (
            f"Dataset({self.name!r}, input_shape={self.input_shape}, num_classes={self.num_classes}, "
            f"train={train}, validation={validation}, test={test})"
        )

    @classmethod
    def from_arrays(
        cls,
        train: tuple,
        validation: tuple | None = None,
        test: tuple | None = None,
        *,
        name: str = "arrays",
        num_classes: int | None = None,
    ) -> "Dataset":
        """Makes a data set from your arrays, after checking them.

        Args:
          train, validation, test: pairs (inputs, targets). Inputs are (n, ...) and are flattened: uint8,
            which training scales to [0, 1], or floats, which are used as they are. Targets are (n,)
            integer labels from 0, or (n, n_out) target vectors. Without validation or test examples,
            these splits are empty.
          name: the name in records and model files.
          num_classes: the number of labels; by default one more than the largest label, or the length of
            the target vectors.

        Raises:
          ValueError: wrong shapes, dtypes or values, or no training examples.

        >>> Dataset.from_arrays((np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 1])))
        Dataset('arrays', input_shape=(2, 2), num_classes=2, train=3, validation=0, test=0)
        """
        first = _checked_split("train", train)
        if not len(first.targets):
            raise ValueError("train must have at least one example, got none")
        input_shape = first.inputs.shape[1:]
        splits = [first]
        for which, pair in (("validation", validation), ("test", test)):
            if pair is None:
                splits.append(Split(first.inputs[:0], first.targets[:0]))
                continue
            split = _checked_split(which, pair)
            if (shape := split.inputs.shape[1:]) != input_shape:
                raise ValueError(
                    f"{which} inputs must have the shape {input_shape}, like those of train, got {shape}"
                )
            splits.append(split)
        num_classes = _checked_num_classes(splits, num_classes)
        flat = [Split(s.inputs.reshape(len(s.inputs), math.prod(input_shape)), s.targets) for s in splits]
        return cls(name, input_shape, num_classes, *flat)


def _checked_split(which: str, pair: tuple) -> Split:
    """The split of a pair of arrays, with labels as int32; raises ValueError if training cannot use it."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{which} must be a pair (inputs, targets), got {type(pair).__name__}")
    inputs, targets = (array if isinstance(array, jax.Array) else np.asarray(array) for array in pair)
    if inputs.ndim < 2:
        raise ValueError(
            f"{which} inputs must be (n, ...), one row per example, got the shape {inputs.shape}"
        )
    is_float = jnp.issubdtype(inputs.dtype, jnp.floating)
    if not is_float and inputs.dtype != np.uint8:
        raise ValueError(f"{which} inputs must be uint8 (0 to 255) or floats, got {inputs.dtype}")
    if is_float and not jnp.isfinite(inputs).all():
        raise ValueError(f"{which} inputs must be finite, got NaN or infinity")
    if targets.ndim not in (1, 2) or len(targets) != len(inputs):
        raise ValueError(
            f"{which} targets must be integer labels of the shape ({len(inputs)},) or target vectors of the "
            f"shape ({len(inputs)}, n_out), one for each input, got the shape {targets.shape}"
        )
    check = _checked_labels if targets.ndim == 1 else _checked_target_vectors
    return Split(inputs, check(which, targets))


def _checked_labels(which: str, labels):
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"{which} labels must be integers, got {labels.dtype}")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= MAX_LABEL:
        raise ValueError(
            f"{which} labels must be from 0 to {MAX_LABEL}, got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int32)


def _checked_target_vectors(which: str, targets):
    if not jnp.isfinite(targets).all():
        raise ValueError(f"{which} targets must be finite, got NaN or infinity")
    return targets if jnp.issubdtype(targets.dtype, jnp.floating) else targets.astype(np.float32)


def _checked_num_classes(splits: list[Split], num_classes: int | None) -> int:
    """The number of labels: the smallest possible one, or a larger one if it is passed."""
    minimum = max(
        int(split.targets.max()) + 1 if split.targets.ndim == 1 else split.targets.shape[1]
        for split in splits
        if len(split.targets)
    )
    if num_classes is None:
        return minimum
    try:
        num_classes = operator.index(num_classes)
    except TypeError:
        raise ValueError(f"num_classes must be an integer, got {num_classes!r}") from None
    if num_classes < minimum:
        raise ValueError(f"num_classes must be at least {minimum} for these targets, got {num_classes}")
    return num_classes
