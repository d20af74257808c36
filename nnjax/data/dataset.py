"""A data set in memory: inputs and targets, split for training, validation and testing."""

import operator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer, UInt8

AnyArray = np.ndarray | jax.Array
Inputs = UInt8[AnyArray, "n ..."] | Float[AnyArray, "n ..."] | Integer[AnyArray, "n ..."]
Targets = Integer[AnyArray, "n ..."] | Float[AnyArray, "n ..."]

MAX_LABEL = 2**31 - 2  # the number of labels must fit in int32


class DatasetUnavailable(OSError):
    """The data set is not on disk, and cannot be downloaded or prepared."""


class Split(NamedTuple):
    """Examples.

    Attributes:
      inputs: (n, ...): uint8, which training scales from 0..255 to [0, 1]; floats, which are used unchanged;
        or int32, such as tokens, which are used unchanged.
      targets: (n,) int32 labels; or (n, ...) target arrays, for which the same dtypes have the same meaning.
    """

    inputs: Inputs
    targets: Targets


@dataclass(frozen=True, repr=False)
class Dataset:
    """Examples to train on, to choose settings on (`validation`), and to report results on (`test`).

    Attributes:
      name: the name in records and model files.
      num_classes: the number of labels, which are 0 to num_classes - 1; None if there are no classes.
      description: the features and splits that `load` chose in a data set of tensorflow-datasets; else "".
    """

    name: str
    num_classes: int | None
    train: Split
    validation: Split
    test: Split
    description: str = ""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, such as (28, 28)."""
        return self.train.inputs.shape[1:]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of one target: () for labels."""
        return self.train.targets.shape[1:]

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
          train, validation, test: pairs (inputs, targets), as in `Split`. Integers are converted to int32.
            Without validation or test examples, these splits are empty.
          name: the name in records and model files.
          num_classes: the number of labels; by default one more than the largest label. For target arrays
            there are no classes, unless you pass their number: then an output code decodes them.

        Raises:
          ValueError: wrong shapes, dtypes or values, or no training examples.

        >>> Dataset.from_arrays((np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 1])))
        Dataset('arrays', input_shape=(2, 2), num_classes=2, train=3, validation=0, test=0)
        """
        first = _checked_split("train", train)
        if not len(first.targets):
            raise ValueError("train must have at least one example, got none")
        splits = [first]
        for which, pair in (("validation", validation), ("test", test)):
            if pair is None:
                splits.append(Split(first.inputs[:0], first.targets[:0]))
                continue
            split = _checked_split(which, pair)
            for part, like, array in zip(Split._fields, first, split, strict=True):
                # One split may have labels and another one arrays that an output code decodes.
                are_labels = part == "targets" and 1 in (like.ndim, array.ndim)
                if array.shape[1:] != like.shape[1:] and not are_labels:
                    raise ValueError(
                        f"{which} {part} must have the shape {like.shape[1:]}, like those of train, got "
                        f"{array.shape[1:]}"
                    )
            splits.append(split)
        return cls(name, _checked_num_classes(splits, num_classes), splits[0], splits[1], splits[2])


def _checked_split(which: str, pair: tuple) -> Split:
    """The split of a pair of arrays; raises ValueError if training cannot use it."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{which} must be a pair (inputs, targets), got {type(pair).__name__}")
    inputs, targets = (array if isinstance(array, jax.Array) else np.asarray(array) for array in pair)
    if inputs.ndim < 2:
        raise ValueError(
            f"{which} inputs must be (n, ...), one row per example, got the shape {inputs.shape}"
        )
    if targets.ndim < 1 or len(targets) != len(inputs):
        raise ValueError(
            f"{which} targets must be integer labels of the shape ({len(inputs)},) or target arrays of the "
            f"shape ({len(inputs)}, ...), one for each input, got the shape {targets.shape}"
        )
    is_label = targets.ndim == 1 and jnp.issubdtype(targets.dtype, jnp.integer)
    inputs = _checked_array(f"{which} inputs", inputs)
    return Split(inputs, (_checked_labels if is_label else _checked_array)(f"{which} targets", targets))


def _checked_array(what: str, array: Any) -> Any:
    """uint8 or finite floats as they are, other integers as int32."""
    if array.dtype == np.uint8:
        return array
    if jnp.issubdtype(array.dtype, jnp.floating):
        if not jnp.isfinite(array).all():
            raise ValueError(f"{what} must be finite, got NaN or infinity")
        return array
    if not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer)):
        raise ValueError(f"{what} must be uint8, integers or floats, got {array.dtype}")
    limits = np.iinfo(np.int32)
    if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise ValueError(f"{what} must fit in int32, got {array.min()} to {array.max()}")
    return array.astype(np.int32)


def _checked_labels(what: str, labels: Any) -> Any:
    if len(labels) and not 0 <= labels.min() <= labels.max() <= MAX_LABEL:
        raise ValueError(f"{what} must be labels from 0 to {MAX_LABEL}, got {labels.min()} to {labels.max()}")
    return labels.astype(np.int32)


def _checked_num_classes(splits: list[Split], num_classes: int | None) -> int | None:
    """The number of labels: the smallest possible one, or a larger one if it is passed; None for arrays."""
    labels = [s.targets for s in splits if s.targets.ndim == 1 and s.targets.dtype == np.int32]
    minimum = max((int(array.max()) + 1 for array in labels if len(array)), default=None)
    if num_classes is None:
        return minimum
    try:
        num_classes = operator.index(num_classes)
    except TypeError:
        raise ValueError(f"num_classes must be an integer, got {num_classes!r}") from None
    if num_classes < (minimum or 1):
        raise ValueError(f"num_classes must be at least {minimum or 1} for these targets, got {num_classes}")
    return num_classes
