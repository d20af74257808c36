"""Which features and splits of a data set of tensorflow-datasets are loaded."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nnjax.runtime.checks import lookup

SHARE = 6  # a missing split is 1 / SHARE of the training examples, as the 10,000 of 60,000 in the book


def choose_splits(name: str, sizes: Mapping[str, int]) -> dict[str, str]:
    """The slices of tensorflow-datasets for training, validation and testing.

    Args:
      name: the name of the data set, for the error message.
      sizes: the number of examples of each split.

    Returns:
      A slice for each of "train", "validation" and "test".

    Raises:
      ValueError: there are several splits, and none is called train.

    >>> choose_splits("tfds:mnist", {"train": 60_000, "test": 10_000})
    {'train': 'train[0:50000]', 'validation': 'train[50000:60000]', 'test': 'test'}
    """
    first = next(iter(sizes)) if len(sizes) == 1 else "train"
    if first not in sizes:
        raise ValueError(f"{name} must have a split 'train', or only one split, got {', '.join(sizes)}")
    chosen, end = {}, sizes[first]
    for split in ("test", "validation"):
        if split in sizes and split != first:
            chosen[split] = split
        else:
            start = end - sizes[first] // SHARE
            chosen[split], end = f"{first}[{start}:{end}]", start
    train = first if end == sizes[first] else f"{first}[0:{end}]"
    return {"train": train, "validation": chosen["validation"], "test": chosen["test"]}


def choose_keys(
    name: str,
    features: Mapping[str, Any],
    supervised_keys: Any,
    image_key: str | None,
    label_key: str | None,
) -> tuple[str, str]:
    """The names of the features with the images and the labels; raises ValueError if they are ambiguous."""
    import tensorflow_datasets as tfds

    types: Any = tfds.features  # pyright does not know the names in this module

    def is_image(feature: Any) -> bool:
        if not isinstance(feature, types.Image | types.Tensor):
            return False
        return len(feature.shape) in (2, 3) and feature.np_dtype == np.uint8

    images = [key for key, feature in features.items() if is_image(feature)]
    labels = [key for key, feature in features.items() if isinstance(feature, types.ClassLabel)]
    if not images or not labels:
        raise ValueError(
            f"{name} must have uint8 images and class labels, got the features "
            f"{', '.join(features) or 'none'}"
        )
    by_default = supervised_keys if isinstance(supervised_keys, tuple) else ()
    return (
        _choose_key(name, "image_key", image_key, images, by_default[:1]),
        _choose_key(name, "label_key", label_key, labels, by_default[1:2]),
    )


def _choose_key(
    name: str, argument: str, key: str | None, choices: list[str], by_default: Iterable[Any]
) -> str:
    if key is not None:
        return lookup(f"{argument} of {name}", key, {choice: choice for choice in choices})
    for choice in (*by_default, *(choices if len(choices) == 1 else ())):
        if choice in choices:
            return choice
    raise ValueError(
        f"{argument} of {name} must be one of {', '.join(choices)}, got none: pass it to nnjax.load"
    )
