"""The probability that an image shows one whole digit, from a small convolutional network.

A network that was trained on digits is confident about letters, halves of digits and two digits in one image,
too. This network was also trained on such images, and sees the strokes around them, because a vertical stroke
can be a one or a part of a four. Its file is part of the package; `python -m experiments.digit_detector`
creates it.
"""

from functools import cache, partial
from importlib.resources import as_file, files

import numpy as np
from jaxtyping import Float, UInt8

from nnjax.nn.metrics import outputs
from nnjax.recognition.calibration import in_batches
from nnjax.storage import Model, load_model

NO_DIGIT = 10  # the label of images that are not one whole digit; 0 to 9 are the digits


def digit_probability(
    images: UInt8[np.ndarray, "n 28 28 2"], detector: Model | None = None
) -> Float[np.ndarray, " n"]:
    """The probability of the most likely digit of each image, a lower bound of that of one whole digit.

    Args:
      images: channel 0 is the candidate, channel 1 the strokes around it.
      detector: another detector than that of the package.
    """
    model = detector or load_detector()
    p = in_batches(partial(outputs, model.params, objective=model.objective), images)
    return p[:, :NO_DIGIT].max(axis=1)


@cache
def load_detector() -> Model:
    """The network of the package: its outputs are the probabilities of the ten digits and of `NO_DIGIT`."""
    with as_file(files("nnjax.recognition").joinpath("digit_detector.safetensors")) as path:
        return load_model(path)
