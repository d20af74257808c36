"""The embedded data set: scikit-learn's 1,797 handwritten digits of 8x8 pixels.

Real digits, from the test set of E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten
Digits*, UCI (1998); they come with the package, so they need no connection and no preparation.
"""

import numpy as np

from nnjax.data.dataset import Dataset

_SIXTHS = {"train": (0, 1, 2, 3), "validation": (4,), "test": (5,)}


def load_digits() -> Dataset:
    """The digits as uint8 images, 0..16 rescaled to 0..255, in a fixed stratified split.

    Of each digit's examples, in their order, four of every six are for training, the fifth is for
    validation and the sixth for testing: 1,204 / 297 / 296.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    pixels, labels = sklearn_digits(return_X_y=True)
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    rank = np.empty(len(labels), int)
    for digit in range(10):
        rank[labels == digit] = np.arange(np.sum(labels == digit))
    chosen = {which: np.isin(rank % 6, sixths) for which, sixths in _SIXTHS.items()}
    splits = {which: (images[mask], labels[mask]) for which, mask in chosen.items()}
    return Dataset.from_arrays(**splits, name="digits", num_classes=10)
