"""A data set in memory: images and labels, split for training, validation and testing."""

import math
import operator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer, UInt8

AnyArray = np.ndarray | jax.Array
Images = UInt8[AnyArray, "n pixels"] | Float[AnyArray, "n pixels"]
Labels = Integer[AnyArray, " n"] | Float[AnyArray, "n n_out"]


class Split(NamedTuple):
    """Examples: `images` (n, pixels), uint8 0..255 or float; `labels` (n,), integers, or targets."""

    inputs: Images
    targets: Labels


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images to train on, to choose on (`validation`), and to report on (`test`).

    Attributes:
      name: what runs and model files call it.
      image_shape: the shape of one image before it was flattened, as in (28, 28).
      num_classes: how many labels there are, 0 to num_classes - 1.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    train: Split
    validation: Split
    test: Split

    def __repr__(self) -> str:
        sizes = [len(s.targets) for s in (self.train, self.validation, self.test)]
        return (
            f"Dataset({self.name!r}, image_shape={self.input_shape}, num_classes={self.num_classes},"
            " train={}, validation={}, test={})".format(*sizes)
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
        """A data set of arrays of your own, checked.

        Args:
          train, validation, test: pairs (images, labels). Images are (n, ...): uint8, which
            training scales to [0, 1], or floats, used as they are; each is flattened. Labels are
            (n,) whole numbers from 0, or (n, n_out) targets. Without validation or test
            examples, their counts are of none.
          name: what records call it.
          num_classes: the number of labels; by default one more than the largest, and with
            targets their width.

        Raises:
          ValueError: shapes, dtypes or values that are wrong, empty training data.

        >>> Dataset.from_arrays((np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 1])))
        Dataset('arrays', image_shape=(2, 2), num_classes=2, train=3, validation=0, test=0)
        """
        first = _checked("train", *_pair("train", train))
        if not len(first.targets):
            raise ValueError("train has no examples")
        image_shape = first.inputs.shape[1:]
        splits = [first]
        for which, given in (("validation", validation), ("test", test)):
            if given is None:
                splits.append(Split(first.inputs[:0], first.targets[:0]))
                continue
            split = _checked(which, *_pair(which, given))
            if split.inputs.shape[1:] != image_shape:
                raise ValueError(
                    f"{which} images have the shape {split.inputs.shape[1:]}, "
                    f"but those of train {image_shape}"
                )
            splits.append(split)
        num_classes = _num_classes(splits, num_classes)
        flat = [Split(s.inputs.reshape(len(s.inputs), math.prod(image_shape)), s.targets) for s in splits]
        return cls(name, image_shape, num_classes, *flat)


def _pair(which: str, given: tuple) -> tuple:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ValueError(f"{which} must be a pair (images, labels), not {type(given).__name__}")
    return tuple(a if isinstance(a, jax.Array) else np.asarray(a) for a in given)


def _checked(which: str, inputs, targets) -> Split:
    """The split of these arrays, labels as int32; a ValueError for what training cannot use."""
    if inputs.ndim < 2:
        raise ValueError(f"{which} images must be (n, ...), one row an image, not {inputs.shape}")
    is_float = jnp.issubdtype(inputs.dtype, jnp.floating)
    if not is_float and inputs.dtype != np.uint8:
        raise ValueError(f"{which} images must be uint8 (0 to 255) or floats, not {inputs.dtype}")
    if is_float and not jnp.isfinite(inputs).all():
        raise ValueError(f"{which} images hold NaN or infinity")
    if targets.ndim not in (1, 2) or len(targets) != len(inputs):
        raise ValueError(
            f"{which} labels must be (n,) whole numbers or (n, n_out) targets, one for each of the "
            f"{len(inputs)} images, not of the shape {targets.shape}"
        )
    return Split(inputs, _checked_labels(which, targets) if targets.ndim == 1 else _targets(which, targets))


def _checked_labels(which: str, targets):
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(f"{which} labels must be whole numbers, not {targets.dtype}")
    if len(targets) and not 0 <= targets.min() <= targets.max() < 2**31 - 1:
        raise ValueError(f"{which} labels must be 0 or more, not {targets.min()} to {targets.max()}")
    return targets.astype(np.int32)


def _targets(which: str, targets):
    if not jnp.isfinite(targets).all():
        raise ValueError(f"{which} targets hold NaN or infinity")
    return targets if jnp.issubdtype(targets.dtype, jnp.floating) else targets.astype(np.float32)


def _num_classes(splits: list[Split], given: int | None) -> int:
    """The number of labels: found, or given and checked."""
    most = [
        int(s.targets.max()) + 1 if s.targets.ndim == 1 else s.targets.shape[1]
        for s in splits
        if len(s.targets)
    ]
    if given is None:
        return max(most)
    try:
        given = operator.index(given)
    except TypeError:
        raise ValueError(f"num_classes must be a whole number, not {given!r}") from None
    if max(most) > given:
        raise ValueError(f"num_classes is {given}, but there is a label {max(most) - 1}")
    return given
