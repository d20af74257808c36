"""The probability that an image shows one whole digit, from a small convolutional network.

A network that was trained on digits is confident about letters, halves of digits and two digits in one image,
too. This network was also trained on such images. Its file is part of the package;
`python -m experiments.digit_detector` creates it.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nnjax.nn.metrics import outputs
from nnjax.recognition.calibration import padded
from nnjax.recognition.digit_layout import to_mnist
from nnjax.recognition.ink import Ink
from nnjax.storage import Model, load_model


def digit_probability(inks: Sequence[Ink]) -> Float[np.ndarray, " n"]:
    """The probability that each ink, cropped and from 0 to 1, is one whole digit."""
    detector, images = load_detector(), padded(np.stack(list(map(to_mnist, inks))))
    return np.asarray(_activations(detector.params, images, detector.objective))[: len(inks), 1]


_activations = jax.jit(lambda params, images, objective: outputs(params, jnp.asarray(images), objective))


@cache
def load_detector() -> Model:
    """The network: output 1 is the probability of a digit."""
    with as_file(files("nnjax.recognition").joinpath("digit_detector.safetensors")) as path:
        return load_model(path)
