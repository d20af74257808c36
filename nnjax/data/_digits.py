"""The embedded data set: scikit-learn's 1,797 handwritten digits of 8x8 pixels, which need no download.

They are the test set of E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI (1998).
"""

import numpy as np

from nnjax.data.dataset import Dataset

# The positions of each split in every six examples of a digit.
_SPLIT_POSITIONS = {"train": (0, 1, 2, 3), "validation": (4,), "test": (5,)}


def load_digits() -> Dataset:
    """The digits as uint8 images, rescaled from 0..16 to 0..255, in a fixed stratified split.

    In every six examples of a digit, in their order, the first four are for training, the fifth is for
    validation and the sixth for testing: 1,204 / 297 / 296.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    pixels, labels = sklearn_digits(return_X_y=True)
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    rank = np.empty(len(labels), int)
    for digit in range(10):
        rank[labels == digit] = np.arange(np.sum(labels == digit))
    masks = {split: np.isin(rank % 6, positions) for split, positions in _SPLIT_POSITIONS.items()}
    splits = {split: (images[mask], labels[mask]) for split, mask in masks.items()}
    return Dataset.from_arrays(**splits, name="digits", num_classes=10)
