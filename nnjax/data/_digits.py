"""The embedded data set: the 1,797 handwritten digits of 8x8 pixels that are also in scikit-learn.

They are the test set of E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI (1998),
https://doi.org/10.24432/C50P49, license CC BY 4.0.
"""

from importlib.resources import files

import numpy as np

from nnjax.data._archives import read_idx
from nnjax.data.dataset import Dataset

_FILES = ("digits-images-idx3-ubyte.gz", "digits-labels-idx1-ubyte.gz")

# The positions of each split in every six examples of a digit.
_SPLIT_POSITIONS = {"train": (0, 1, 2, 3), "validation": (4,), "test": (5,)}


def load_digits() -> Dataset:
    """The digits as uint8 images, rescaled from 0..16 to 0..255, in a fixed stratified split.

    In every six examples of a digit, in their order, the first four are for training, the fifth is for
    validation and the sixth for testing: 1,204 / 297 / 296.
    """
    folder = files("nnjax.data")
    pixels, labels = (read_idx((folder / name).read_bytes()) for name in _FILES)
    images = np.round(pixels * (255 / 16)).astype(np.uint8)
    rank = np.empty(len(labels), int)
    for digit in range(10):
        rank[labels == digit] = np.arange(np.sum(labels == digit))
    masks = {split: np.isin(rank % 6, positions) for split, positions in _SPLIT_POSITIONS.items()}
    splits = {split: (images[mask], labels[mask]) for split, mask in masks.items()}
    return Dataset.from_arrays(**splits, name="digits", num_classes=10)
