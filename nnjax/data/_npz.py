"""Your own arrays in an .npz file, as `np.savez` writes it."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nnjax.data.dataset import Dataset

SPLITS = ("train", "validation", "test")
# The names of a split's arrays: those of this package, and those of Keras.
ARRAY_NAMES = (("{}_inputs", "{}_targets"), ("x_{}", "y_{}"))


def load_npz(path: Path) -> Dataset:
    """The data set in an .npz file with the arrays train_inputs, train_targets, and optionally test_inputs...

    The names x_train, y_train, x_test and so on are accepted too, and `num_classes`, a number. The name of
    the data set is the path.

    Raises:
      ValueError: not such a file, or arrays that `Dataset.from_arrays` does not accept.
    """
    try:
        arrays = _read(path)
    except FileNotFoundError:
        raise ValueError(f"data set must be an existing file, got {str(path)!r}") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"data set must be an .npz file of arrays, got {str(path)!r}: {error}") from error
    train, validation, test = (_take(arrays, split) for split in SPLITS)
    num_classes: Any = arrays.pop("num_classes", None)
    if train is None or arrays:
        found = ", ".join(sorted(arrays)) if arrays else "none"
        raise ValueError(
            f"{path} must contain the arrays train_inputs and train_targets, and may contain those of "
            f"validation and test, and num_classes; got {found}"
        )
    try:
        return Dataset.from_arrays(train, validation, test, name=str(path), num_classes=num_classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _take(arrays: dict[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Removes the arrays of a split and returns them; None if they are not there."""
    for names in ARRAY_NAMES:
        inputs, targets = (name.format(split) for name in names)
        if inputs in arrays and targets in arrays:
            return arrays.pop(inputs), arrays.pop(targets)
    return None


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name. Arrays of Python objects raise ValueError, because reading them can run code."""
    with zipfile.ZipFile(path) as archive:
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as file:
                arrays[name.removesuffix(".npy")] = np.lib.format.read_array(file)
    return arrays
